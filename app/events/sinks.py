"""Where events go: sinks, each with a thread and a queue of its own.

A sink that fails is tried again with growing pauses while its events are kept in the queue. Nothing is lost until the
queue is full or the run has ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Callable, Deque, Iterable, List, Mapping, Optional, Protocol, Sequence, Tuple, runtime_checkable

from app.errors import AppError, DeathCallback, OutputError
from app.events.event import Event, EventKind, FaceEvent
from app.events.stream import EventStream
from app.text import counted, kind_of
from app.types import ChannelStatus, FrameResult, Match

logger = logging.getLogger(__name__)

CAPACITY = 100_000
"""Events that may wait for a sink: hours of a busy entrance, some 100 MB."""
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 30.0
FLUSH_S = 5.0
"""How long the end of a run waits for a sink that is slow or failing."""


class SinkGoneError(AppError):
    """Raised by a sink that will never take an event again, such as standard output without its reader."""


class EventSink(Protocol):
    """Something that takes events, one after the other, from one thread.

    Example:
        >>> class Console:
        ...     name = "console"
        ...     def write(self, event: Event) -> None:
        ...         print(event.kind, event.channel)
        ...     def close(self) -> None:
        ...         pass
        >>> publisher = EventPublisher([Console()])
        >>> publisher.close()
    """

    @property
    def name(self) -> str:
        """The name in messages."""
        ...

    def write(self, event: Event) -> None:
        """Takes one event. Raises OutputError or OSError when it cannot; the same event then comes again later.
        After SinkGoneError none comes."""
        ...

    def close(self) -> None:
        """Called once, after the last event, also when that could not be written."""
        ...


@runtime_checkable
class FileSink(EventSink, Protocol):
    """A sink that writes a file, which the summary names at the end."""

    @property
    def path(self) -> Path: ...


@runtime_checkable
class IdleSink(EventSink, Protocol):
    """A sink that has something to do when no event comes."""

    def idle(self) -> Optional[float]:
        """Called after each write, and again after the number of seconds that it returns, if no event came until then.
        None: not before the next event."""
        ...


@runtime_checkable
class AbortableSink(EventSink, Protocol):
    """A sink that may wait for something."""

    def abort(self) -> None:
        """Called from another thread when the time is up: `write` returns or raises soon."""


@dataclass(frozen=True)
class SinkStatus:
    """A snapshot of what takes events."""

    kind: str
    """Such as `event_log`: unlike the name, without a path."""
    waiting: int
    done: int
    lost: int
    is_working: bool


class SinkQueue:
    """Runs one sink in a thread of its own. `put` never blocks and never raises.

    `written + lost` is the number of events put, once it is closed.
    """

    def __init__(
        self,
        sink: EventSink,
        *,
        capacity: int = CAPACITY,
        retry_first_s: float = RETRY_FIRST_S,
        retry_max_s: float = RETRY_MAX_S,
        flush_s: float = FLUSH_S,
        on_death: Optional[DeathCallback] = None,
    ) -> None:
        """`on_death` hears of bugs of the sink, which gets the event again then; without it, no event any more."""
        self.sink = sink
        self.written = 0
        self.lost = 0
        """Events that found the queue full, or that could not be written before the end."""
        self.error: Optional[Exception] = None
        """Why the sink takes no events at the moment."""
        self._capacity = capacity
        self._retry_first_s = retry_first_s
        self._retry_max_s = retry_max_s
        self._flush_s = flush_s
        self._on_death = on_death
        self._waiting: Deque[Event] = deque()
        self._changed = threading.Condition()
        self._is_broken = False
        """A sink with a bug, or one that is gone, is not tried again: it would fail in the same way forever."""
        self._overflow_reported = False
        self._close_by: Optional[float] = None
        """On the monotonic clock; None while the run goes on."""
        self._thread = threading.Thread(target=self._work, name=f"events {sink.name}", daemon=True)
        self._thread.start()

    def status(self) -> SinkStatus:
        with self._changed:
            return SinkStatus(kind_of(self.sink), len(self._waiting), self.written, self.lost, self.error is None)

    def put(self, event: Event) -> None:
        with self._changed:
            if self._is_broken:
                self.lost += 1
            elif len(self._waiting) < self._capacity:
                self._waiting.append(event)
                self._changed.notify_all()
            else:
                self.lost += 1
                if not self._overflow_reported:
                    self._overflow_reported = True
                    logger.error(
                        "%s: the queue is full (%d events); new events are lost until the sink takes some again",
                        self.sink.name,
                        self._capacity,
                    )

    def begin_close(self) -> None:
        """No more events will come. Those in the queue are still written, within a bounded time."""
        with self._changed:
            self._close_by = time.monotonic() + self._flush_s
            self._changed.notify_all()

    def close(self) -> None:
        """Waits until everything is written or the time is up."""
        if self._close_by is None:
            self.begin_close()
        if isinstance(self.sink, AbortableSink):
            self._thread.join(self._flush_s)
            if self._thread.is_alive():
                self.sink.abort()
        self._thread.join(2 * self._flush_s)
        with self._changed:
            if self._thread.is_alive():
                self.error = self.error or OutputError(f"it did not finish within {2 * self._flush_s:g} s")
            self.lost += len(self._waiting)
            self._waiting.clear()

    @property
    def problem(self) -> Optional[str]:
        """Why not every event was written; None when all were. Final once it is closed."""
        reason = self.error or OutputError("its queue was full")
        if self.lost:
            return f"{self.sink.name}: {counted(self.lost, 'event')} lost: {reason}"
        return f"{self.sink.name}: {reason}" if self.error else None

    def _work(self) -> None:
        """The root of the thread: every error of the sink ends here."""
        while True:
            try:
                self._deliver()
                break
            except Exception as error:  # thread root
                bug = None if isinstance(error, SinkGoneError) else error
                shown = f"no more events are written: {error}" if bug is None else f"failed by a bug: {bug!r}"
                logger.error("%s: %s", self.sink.name, shown, exc_info=bug)
                if bug is not None and self._on_death is not None:
                    self._on_death(self.sink.name, repr(error))
                    if self._pause(error, self._retry_first_s):
                        continue
                with self._changed:
                    self._is_broken, self.error = True, error
                break
        try:
            self.sink.close()
        except Exception as error:  # noqa: BLE001 - thread root
            with self._changed:
                self.error = self.error or error

    def _deliver(self) -> None:
        failures = 0
        while True:
            event = self._next()
            if event is None:
                return
            try:
                self.sink.write(event)
            except (OutputError, OSError) as error:
                if not failures:
                    logger.warning("%s: %s; events are kept and written when it works again", self.sink.name, error)
                if not self._pause(error, min(self._retry_max_s, self._retry_first_s * 2.0 ** min(failures, 60))):
                    return
                failures += 1
                continue
            with self._changed:
                if not self._waiting:
                    return  # close() did not wait any longer
                self._waiting.popleft()
                self.written += 1
                self.error, self._overflow_reported = None, False
                if failures:
                    logger.log(
                        logging.WARNING if self.lost else logging.INFO,
                        "%s: works again; %d events were kept, %d lost",
                        self.sink.name,
                        len(self._waiting) + 1,
                        self.lost,
                    )
            failures = 0

    def _next(self) -> Optional[Event]:
        """The oldest event, which stays in the queue until it is written; None at the end."""
        while True:
            pause_s = self._idle()
            with self._changed:
                if self._changed.wait_for(lambda: self._waiting or self._close_by is not None, pause_s):
                    time_is_up = self._close_by is not None and time.monotonic() >= self._close_by
                    return self._waiting[0] if self._waiting and not time_is_up else None

    def _idle(self) -> Optional[float]:
        if not isinstance(self.sink, IdleSink):
            return None
        try:
            return self.sink.idle()
        except (OutputError, OSError) as error:
            if self.error is None:
                logger.warning("%s: %s", self.sink.name, error)
            self.error = error
            return self._retry_max_s

    def _pause(self, error: Exception, pause_s: float) -> bool:
        """Waits before the next attempt, but not beyond the end; False if there is no time for another."""
        with self._changed:
            self.error = error
            if self._close_by is None:
                self._changed.wait_for(lambda: self._close_by is not None, pause_s)
                return True
            left_s = self._close_by - time.monotonic()
            # Short pauses at the end: after a long one there would be no time for another attempt.
            self._changed.wait_for(lambda: False, min(pause_s, self._retry_first_s, max(0.0, left_s)))
            return left_s > 0


class LogFollower(Protocol):
    """Something that reads the log on the disk and hands it on (`Delivery`)."""

    def begin_close(self) -> None: ...

    def close(self) -> None: ...

    def status(self) -> SinkStatus: ...

    @property
    def problem(self) -> Optional[str]: ...


class Pictures(Protocol):
    """Something that keeps a picture of each visit (`VisitPictures`)."""

    def see(self, result: FrameResult, visit_of: Callable[[int], Optional[int]]) -> None: ...

    def save(self, visit: int, match: Match, channel: str, moment: float) -> Optional[str]: ...

    def close(self) -> None: ...

    @property
    def problem(self) -> Optional[str]: ...


class EventPublisher:
    """An output that turns results into events and hands them to every sink. Costs the loop microseconds."""

    name = "events"

    def __init__(
        self,
        sinks: Sequence[EventSink],
        stream: Optional[EventStream] = None,
        *,
        flush_s: float = FLUSH_S,
        deliveries: Sequence[LogFollower] = (),
        pictures: Optional[Pictures] = None,
        on_death: Optional[DeathCallback] = None,
    ) -> None:
        """Without `stream`, numbers begin at 1. `deliveries` read a sink's log; `on_death` as in `SinkQueue`."""
        self._pictures = pictures
        self._stream = stream or EventStream()
        self._deliveries = tuple(deliveries)
        self._queues = [SinkQueue(sink, flush_s=flush_s, on_death=on_death) for sink in sinks]
        self.counts: Counter[str] = Counter()
        """Events so far, by kind."""
        self.listeners: List[Callable[[Event], None]] = []
        """Called with each event, on the thread of `handle`."""

    def handle(self, result: FrameResult) -> None:
        self._publish(self._stream.handle(result))
        if self._pictures is not None:
            self._pictures.see(result, partial(self._stream.visit_of, result.frame.source))

    def visit_of(self, channel: str, track: int) -> Optional[int]:
        """The number of the visit that a track belongs to at the moment."""
        return self._stream.visit_of(channel, track)

    def sinks(self) -> Tuple[SinkStatus, ...]:
        """A snapshot of each sink; called from any thread."""
        return tuple(queue.status() for queue in self._queues)

    def deliveries(self) -> Tuple[SinkStatus, ...]:
        """A snapshot of each delivery to another program; called from any thread."""
        return tuple(delivery.status() for delivery in self._deliveries)

    def handle_status(self, channels: Iterable[ChannelStatus], now: float, clock_s: float) -> None:
        """Called now and then, from the thread of `handle`, so that sources that are lost or back become events."""
        for status in channels:
            self._publish(self._stream.handle_status(status, now, clock_s))

    def handle_relabels(self, names: Mapping[str, Optional[str]], now: float) -> None:
        """Strangers got names: `stranger-7` -> `Eva`, or lost them. What is in the log already makes no event."""
        self._publish(self._stream.relabel(names, now))

    def handle_level(self, level: int, name: str, before: int, now: float) -> None:
        """How much is left out because the machine is too slow has changed."""
        self._publish([self._stream.level(level, name, before, now)])

    def close(self) -> None:
        self._publish(self._stream.close())
        if self._pictures is not None:
            self._pictures.close()
        for queue in self._queues:
            queue.begin_close()
        waiting = [queue for queue in self._queues if isinstance(queue.sink, AbortableSink)]
        for queue in self._queues:
            if queue not in waiting:
                queue.close()
        for delivery in self._deliveries:  # the log that they read is complete now
            delivery.begin_close()
        for part in (*waiting, *self._deliveries):
            part.close()
        for problem in self.lost:
            logger.error("%s", problem)

    @property
    def lost(self) -> Tuple[str, ...]:
        """The sinks that did not get every event, and why; final once it is closed."""
        problems = [part.problem for part in (*self._queues, *self._deliveries)]
        problems += [] if self._pictures is None else [self._pictures.problem]
        return tuple(problem for problem in problems if problem is not None)

    @property
    def written(self) -> Tuple[Path, ...]:
        """The files that hold every event, of the sinks that have a `path`; known once it is closed."""
        complete = [queue.sink for queue in self._queues if queue.written and queue.problem is None]
        return tuple(sink.path for sink in complete if isinstance(sink, FileSink))

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            self.counts[event.kind.value] += 1
            if self._pictures is not None and isinstance(event, FaceEvent) and event.kind is EventKind.LEFT:
                snapshot = self._pictures.save(event.visit, event.match, event.channel, event.time)
                event = replace(event, snapshot=snapshot)
            for queue in self._queues:
                queue.put(event)
            for listener in self.listeners:
                listener(event)
