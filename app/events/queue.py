"""The queue of deliveries in a run without an event log: a log of its own, in a folder with a limited size."""

from __future__ import annotations

from typing import Optional, Sequence

from app.errors import OutputError
from app.events.delivery import Delivery
from app.events.event import Event
from app.events.log import LOCK_WAIT_S, EventLog
from app.events.tail import log_parts
from app.settings import DeliverySettings

PARTS = 10
"""Into so many files the folder's size is divided: the oldest is deleted as a whole."""


class EventQueue:
    """A sink. Deletes files whose events are delivered everywhere, and the oldest ones when the folder is full."""

    name = "event queue"

    def __init__(self, settings: DeliverySettings, sync: str) -> None:
        self._max_bytes = round(settings.queue_max_mb * 1e6)
        self.deliveries: Sequence[Delivery] = ()
        try:
            path, max_bytes = settings.queue / "events.jsonl", self._max_bytes // PARTS
            self.log = EventLog(path, sync=sync, max_bytes=max_bytes, wait_s=LOCK_WAIT_S)
        except OutputError as error:
            raise OutputError(
                f"{error}; it is the queue of what is sent to other programs (delivery.queue), which a run with "
                "--events FILE does not need"
            ) from error
        self._rotations = 0

    def write(self, event: Event) -> None:
        self.log.write(event)
        if self.log.rotations != self._rotations:
            self._rotations = self.log.rotations
            self._make_room()

    def idle(self) -> Optional[float]:
        return self.log.idle()

    def close(self) -> None:
        self.log.close()

    def _make_room(self) -> None:
        parts = log_parts(self.log.template, self.log.id)
        delivered = min((delivery.cursor.saved for delivery in self.deliveries), default=0)
        size = sum(part.path.stat().st_size for part in parts)
        for part, following in zip(parts, parts[1:]):
            if following.after <= delivered or size > self._max_bytes - self._max_bytes // PARTS:
                size -= part.path.stat().st_size
                part.path.unlink()
