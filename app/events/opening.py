"""Opens what the settings say about events: the log, pipes, and deliveries to other programs."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Callable, List, Optional, Sequence

from app.errors import DeathCallback
from app.events.command import EventCommand
from app.events.cursors import Cursors
from app.events.delivery import Delivery, Destination, Redaction, as_they_are, device_name
from app.events.jetstream import Nats
from app.events.kafka import Kafka
from app.events.log import LOCK_WAIT_S, EventLog
from app.events.mqtt import Mqtt
from app.events.pipe import EventPipe, is_pipe
from app.events.postgres import Postgres
from app.events.queue import EventQueue
from app.events.sinks import EventPublisher, EventSink, Pictures
from app.events.stream import EventStream
from app.events.webhook import Webhook
from app.settings import Settings


def no_people_known() -> Optional[Sequence[str]]:
    return None


def open_destinations(
    settings: Settings,
    device: str,
    channels: Sequence[str] = (),
    people: Callable[[], Optional[Sequence[str]]] = no_people_known,
) -> List[Destination]:
    """The other programs that get every event. Raises SettingsError."""
    destinations: List[Destination] = []
    if settings.webhook.url is not None:
        destinations.append(Webhook(settings.webhook))
    if settings.mqtt.url is not None:
        destinations.append(Mqtt(settings.mqtt, device, channels, people))
    if settings.fleet.database is not None and settings.fleet.events:
        destinations.append(Postgres(settings.fleet, device))
    if settings.kafka.servers is not None:
        destinations.append(Kafka(settings.kafka, device))
    if settings.nats.url is not None:
        destinations.append(Nats(settings.nats, device))
    return destinations


def open_events(
    settings: Settings,
    channels: Sequence[str] = (),
    people: Callable[[], Optional[Sequence[str]]] = no_people_known,
    pictures: Optional[Pictures] = None,
    on_death: Optional[DeathCallback] = None,
    redacted: Redaction = as_they_are,
) -> Optional[EventPublisher]:
    """None if no one wants events. Raises AppError when something cannot be used; nothing is left open then.

    `people` are all that are enrolled now; None while that is not known. `on_death` as in `SinkQueue` and `Delivery`,
    `redacted` as in `Delivery`.
    """
    device = device_name(settings.delivery.device)
    destinations = open_destinations(settings, device, channels, people)
    sinks: List[EventSink] = []
    if settings.on_event.command is not None:
        sinks.append(EventCommand(settings.on_event))
    output = settings.output
    log: Optional[EventLog] = None
    queue: Optional[EventQueue] = None
    if output.events is not None and is_pipe(output.events):
        sinks.append(EventPipe(output.events))
    elif output.events is not None:
        max_bytes = None if output.events_max_mb is None else round(output.events_max_mb * 1e6)
        log = EventLog(output.events, sync=output.events_sync, max_bytes=max_bytes, wait_s=LOCK_WAIT_S)
        sinks.append(log)
    if destinations and log is None:
        queue = EventQueue(settings.delivery, output.events_sync)
        log = queue.log
        sinks.append(queue)
    sequence = 0 if log is None else log.sequence
    relabels = None if log is None else log.relabels
    stream = EventStream.from_settings(settings, sequence, relabels, "" if log is None else log.id)
    if log is None:
        return EventPublisher(sinks, stream, pictures=pictures, on_death=on_death) if sinks or pictures else None
    with contextlib.ExitStack() as stack:
        stack.callback(log.close)
        deliveries: List[Delivery] = []
        if destinations:
            cursors = Cursors(log, from_oldest=settings.delivery.new_receivers == "oldest")
            deliveries = [
                Delivery(one, log, cursors, device, redacted=redacted, on_death=on_death) for one in destinations
            ]
        stack.pop_all()
    if queue is not None:
        queue.deliveries = deliveries
    log.on_written = partial(wake, deliveries)
    for delivery in deliveries:
        delivery.start()
    return EventPublisher(sinks, stream, deliveries=deliveries, pictures=pictures, on_death=on_death)


def wake(deliveries: Sequence[Delivery]) -> None:
    """The log has new events."""
    for delivery in deliveries:
        delivery.wake()
