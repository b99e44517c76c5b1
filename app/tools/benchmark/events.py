"""How many events a second reach a database or broker from many simulated cameras, and how soon."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from app.database.connection import connected
from app.errors import OutputError, SettingsError
from app.events.cursors import Cursors
from app.events.delivery import Delivery, Destination, Message
from app.events.history import History
from app.events.log import EventLog
from app.events.opening import open_destinations, wake
from app.events.sinks import EventPublisher
from app.events.stream import EventStream
from app.settings import MqttSettings, Settings, WebhookSettings
from app.text import parse_time
from app.types import Candidate, Faces, Frame, FrameResult, Match, Reason, Track

VISIT_S = 3
"""Each visit makes three events, so a camera makes one a second."""
TICKS_PER_S = 20
_PHOTO = "Ann/1.jpg"
_NEAREST = Candidate("Ann", 0.67, _PHOTO)
_ANN = Match("Ann", Reason.MATCHED, 0.67, "Ann", _PHOTO, "Eve", 0.31, 0.67, 0.42, 0.998, (_NEAREST,))


@dataclass(frozen=True)
class EventLoad:
    """What is measured."""

    devices: int
    cameras: int
    """Of all devices together."""
    seconds: float
    backlog: int
    """Events of each device that were written while it was offline."""


@dataclass(frozen=True)
class EventFigures:
    """Of one destination, over all devices."""

    destination: str
    caught_up: int
    catch_up_s: float
    live: int
    live_s: float
    lags_s: Tuple[float, ...]
    """From each event to its acknowledgement, in order of size."""

    def lag_s(self, share: float) -> float:
        return self.lags_s[min(len(self.lags_s) - 1, int(share * len(self.lags_s)))]


def measure(settings: Settings, load: EventLoad) -> List[EventFigures]:
    """Raises SettingsError without a destination, and OutputError when a device could not deliver."""
    # Those two are for people, and would show the simulated ones.
    settings = replace(settings, mqtt=MqttSettings(), webhook=WebhookSettings())
    prefix = f"bench-{os.getpid()}"
    destinations = open_destinations(settings, prefix)  # what cannot work is refused here
    for destination in destinations:
        destination.close()
    if not destinations:
        raise SettingsError("no receiver of events; set fleet.database, kafka.servers (--kafka) or nats.url (--nats)")
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for number in range(load.devices):
        mine, other = context.Pipe()
        # Not as daemons: an interrupted run closes the pipes, and then they end.
        process = context.Process(target=_device, args=(settings, load, f"{prefix}-{number}", number, other))
        process.start()
        other.close()
        pipes.append(mine)
        processes.append(process)
    try:
        parts = _phases(pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join()
        _clean(settings, prefix)
    return [_figures(name, [part[name] for part in parts]) for name in parts[0]]


@dataclass
class _Part:
    """What one device measured of one destination."""

    begun: float = 0.0
    caught_up_at: float = 0.0
    caught_up: int = 0
    live_begun: float = 0.0
    ended: float = 0.0
    live: int = 0
    lags_s: Tuple[float, ...] = ()


def _phases(pipes: Sequence[Connection]) -> List[Dict[str, _Part]]:
    """All devices begin each phase together."""
    try:
        for _ in ("catch up", "live"):
            for pipe in pipes:
                pipe.recv()
            for pipe in pipes:
                pipe.send(None)
        parts = [pipe.recv() for pipe in pipes]
    except (EOFError, OSError) as error:
        raise OutputError("the process of a simulated device has ended; it says above why") from error
    for part in parts:
        if isinstance(part, str):
            raise OutputError(part)
    return parts


def _figures(name: str, parts: Sequence[_Part]) -> EventFigures:
    return EventFigures(
        name,
        sum(part.caught_up for part in parts),
        max(part.caught_up_at for part in parts) - min(part.begun for part in parts),
        sum(part.live for part in parts),
        max(part.ended for part in parts) - min(part.live_begun for part in parts),
        tuple(sorted(lag for part in parts for lag in part.lags_s)),
    )


def _clean(settings: Settings, prefix: str) -> None:
    """Rows can be deleted again; what brokers and web servers got cannot."""
    if settings.fleet.database is not None:
        with connected(settings.fleet) as connection:
            connection.execute("delete from event where device like %s", [f"{prefix}-%"])


class _Timed(Destination):
    """Notes how long after an event it was acknowledged."""

    def __init__(self, inner: Destination) -> None:
        self.name, self.batch, self.retry_max_s = inner.name, inner.batch, 1.0
        self.lags_s: List[float] = []
        self._inner = inner

    def send(self, messages: Sequence[Message]) -> None:
        self._inner.send(messages)
        now = time.time()
        # The time of `left` is when the person was last seen.
        self.lags_s += [now - parse_time(one.record["time"]) for one in messages if one.record["event"] != "left"]

    def rest(self, history: History) -> Optional[float]:
        return self._inner.rest(history)

    def close(self) -> None:
        self._inner.close()

    def abort(self) -> None:
        self._inner.abort()


def _device(settings: Settings, load: EventLoad, name: str, number: int, pipe: Connection) -> None:
    """A process: what one device with its share of the cameras does."""
    channels = [f"camera-{at}" for at in range(number, load.cameras, load.devices)]
    with contextlib.suppress(EOFError, BrokenPipeError), tempfile.TemporaryDirectory() as folder:
        log = EventLog(Path(folder) / "events.jsonl")
        stream, visits = EventStream(log.sequence, 0.0), _visits(channels)
        while log.last < load.backlog:
            for event in stream.handle(next(visits)):
                log.write(event)
        timed = [_Timed(one) for one in open_destinations(settings, name)]
        cursors = Cursors(log)
        deliveries = [Delivery(one, log, cursors, name) for one in timed]
        pipe.send(None)
        pipe.recv()
        parts = {one.name: _Part(begun=time.time(), caught_up=log.last) for one in timed}
        for delivery in deliveries:
            delivery.start()
        pending = list(deliveries)
        while pending:
            if pipe.poll(0.005):
                pipe.recv()  # nothing is sent now: the benchmark is gone, and this raises EOFError
            for delivery in [one for one in pending if not one.status().waiting]:
                parts[delivery.destination.name].caught_up_at = time.time()
                pending.remove(delivery)
        pipe.send(None)
        pipe.recv()
        for one in timed:
            one.lags_s.clear()
        before, begun = log.last, time.time()
        log.on_written = partial(wake, deliveries)
        publisher = EventPublisher([log], stream, deliveries=deliveries)
        _play(publisher, visits, len(channels), load.seconds)
        publisher.close()
        if publisher.lost or any(delivery.status().waiting for delivery in deliveries):
            pipe.send("; ".join(publisher.lost) or f"{name}: the events were not delivered within the time of a run")
            return
        for one in timed:
            part = parts[one.name]
            part.live_begun, part.ended, part.live = begun, time.time(), log.last - before
            part.lags_s = tuple(one.lags_s)
        pipe.send(parts)


def _play(publisher: EventPublisher, visits: Iterator[FrameResult], channels: int, seconds: float) -> None:
    """A person comes and goes every 3 s in front of each camera, spread over time."""
    begun, shown = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        # Two results a visit, one with the person and one without.
        while shown < passed * channels * 2 / VISIT_S:
            publisher.handle(next(visits))
            shown += 1
        time.sleep(1 / TICKS_PER_S)


def _visits(channels: Sequence[str]) -> Iterator[FrameResult]:
    image, box = np.zeros((1, 1, 3), np.uint8), np.array([512, 180, 604, 297], np.float32)
    index = 0
    while True:
        index += 1
        for tracks in ((Track(index, box, _ANN, time.time(), time.time(), votes=2),), ()):
            for channel in channels:
                frame = Frame(image, channel, index, time.time(), live=True)
                yield FrameResult(frame, Faces.empty(), tracks=tracks)
