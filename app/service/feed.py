"""The events of a run as they happen, and again from where a client has left off."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import AsyncIterator, Callable, Deque, Iterator, List, NamedTuple, Optional, TypeVar

from app.events.event import Event
from app.events.history import HEADER, Record
from app.events.pipe import is_pipe
from app.events.reading import newest_first
from app.gallery.forgetting import ForgottenLines
from app.service.streams import Signal

MAX_REMEMBERED = 1000
_LOG = ""
"""All that is remembered is of one log, whose id is not needed."""
MAX_REPLAYED = 10_000
"""Events that a client gets which was away for long: the newest ones."""


class Position(NamedTuple):
    """Where a client is: it has every event up to this number."""

    sequence: int
    from_log: bool = False
    """Whether events after it may be in the log only."""


class Replay(NamedTuple):
    """What a log says about the time before."""

    records: List[Record]
    newest: int
    """The number of its last event."""


T = TypeVar("T")


class EventFeed:
    """What happened last. `add` is called by the loop, everything else by the event loop or its pool."""

    def __init__(self, log: Optional[Path] = None) -> None:
        """`log` is the setting `output.events`."""
        self.log = None if log is None or is_pipe(log) else log
        self.changed = Signal()
        self.is_closed = False
        self._lock = threading.Lock()
        self._reading = ThreadPoolExecutor(1, "event log")
        self._recent: Deque[Record] = deque(maxlen=MAX_REMEMBERED)
        self._forgotten: List[Callable[[Record], Record]] = []
        """What removes people who were deleted from an event."""
        # Numbers go on in a log, but begin again in a run without one.
        self._run = "" if self.log is not None else f"{secrets.token_hex(4)}-"

    def add(self, event: Event) -> None:
        record = event.as_json()
        with self._lock:
            for removed in self._forgotten:
                record = removed(record)
            self._recent.append(record)
        self.changed.give()

    def forget(self, lines: ForgottenLines) -> None:
        """Somebody was deleted: events say nothing about the person any more, also those to come of visits that are
        open. It may remove too much, never too little: visits of another log may have the same numbers."""
        with self._lock:
            visits = lines.person.visits((_LOG, record) for record in self._recent).get(_LOG, set())
            visits = visits.union(*lines.visits.values())
            newest = self._recent[-1]["sequence"] if self._recent else 0
            here = ForgottenLines(lines.person, {_LOG: frozenset(visits)}, {_LOG: newest})
            self._forgotten.append(partial(here.without, _LOG))
            self._recent = deque(map(self._forgotten[-1], self._recent), maxlen=MAX_REMEMBERED)

    def close(self) -> None:
        self.is_closed = True
        self.changed.give()

    def id_of(self, record: Record) -> str:
        return f"{self._run}{record['sequence']}"

    def position(self, last_id: Optional[str]) -> Position:
        """Where to go on after the event with this id. None: only with what happens from now on.

        An id of another run is followed by everything that is remembered.
        """
        with self._lock:
            oldest = self._recent[0]["sequence"] if self._recent else None
            newest = self._recent[-1]["sequence"] if self._recent else 0
        if last_id is None:
            return Position(newest)
        run, number = last_id[: len(self._run)], last_id[len(self._run) :]
        if run != self._run or not (number.isascii() and number.isdigit() and len(number) < 16):
            return Position(0)
        sequence = int(number)
        if oldest is not None and sequence >= oldest - 1:
            return Position(sequence if sequence <= newest else 0)
        return Position(sequence, from_log=self.log is not None)

    def after(self, sequence: int) -> List[Record]:
        """What is remembered after this event."""
        with self._lock:
            return [record for record in self._recent if record["sequence"] > sequence]

    async def read(self, work: Callable[[], T]) -> T:
        """Does work with the log in a thread, one after the other: a long log must not cost the video its share."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, work)

    async def follow(self, start: Position, idle_s: float) -> AsyncIterator[List[Record]]:
        """The events from there on, and those to come; an empty list after `idle_s` without one."""
        sequence, from_log = start
        if from_log:
            replayed = await self.read(lambda: self._replayed(sequence))
            sequence = replayed.newest
            yield replayed.records
        while not self.is_closed:
            seen = self.changed.count
            found = self.after(sequence)
            if not found:
                await self.changed.wait(seen, idle_s)
                found = self.after(sequence)
            if found:
                sequence = found[-1]["sequence"]
            yield found

    def _replayed(self, after: int) -> Replay:
        """Reads files. Raises AppError."""
        found: List[Record] = []
        newest = 0
        for record in logged(self.log):
            newest = newest or record["sequence"]
            if record["sequence"] <= after or len(found) >= MAX_REPLAYED:
                break
            found.append(record)
        return Replay(found[::-1], newest)


def logged(log: Optional[Path]) -> Iterator[Record]:
    """The events of a log, the last one first. Raises AppError."""
    if log is not None:
        yield from (record for record in newest_first(log) if record["event"] != HEADER)
