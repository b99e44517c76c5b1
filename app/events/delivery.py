"""Bringing a log's events to other programs: each destination has a thread and a cursor of its own.

The log on the disk is the queue. The cursor moves when the other program has acknowledged an event, so whatever
happens to either program, each event arrives at least once, in order, and always with the same key.
"""

from __future__ import annotations

import json
import logging
import random
import re
import socket
import threading
import time
from typing import Callable, NamedTuple, Optional, Protocol, Sequence

from app.errors import DeathCallback, OutputError
from app.events.cursors import Cursors
from app.events.history import History, Record
from app.events.log import EventLog
from app.events.sinks import FLUSH_S, SinkStatus
from app.events.tail import LogTail
from app.text import counted, kind_of

logger = logging.getLogger(__name__)

RETRY_FIRST_S = 1.0
LAST_PAUSE_S = 0.3
LAST_ATTEMPTS = 4
"""Once the run is over."""
ABORT_S = 2.0
"""How long the end of a run waits for a call that was aborted."""
SAVE_EVERY_S = 1.0
"""A cursor is saved this often while events flow, and at once when none is left."""


class Message(NamedTuple):
    """An event on its way."""

    key: str
    """`device/log/sequence`: the same event always has the same key, and no other event has it."""
    record: Record

    def body(self) -> bytes:
        """The event's JSON with its key."""
        content = json.dumps({"key": self.key, **self.record}, ensure_ascii=False)
        return content.encode("utf-8", "backslashreplace")


class RefusedError(OutputError):
    """The other program will never take this event: it is skipped, and counted as lost."""


class BusyError(OutputError):
    """The other program asks for a pause."""

    def __init__(self, message: str, pause_s: float) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class Destination(Protocol):
    """Another program that takes events. Used from one thread, except `abort`.

    A class that inherits from it needs `name`, `batch` and `send`, and what it wants of the others.
    """

    name: str
    """In messages, and in the file of cursors."""
    batch: int
    """How many events `send` takes at most."""
    retry_max_s: float = 30.0
    """The longest pause between two attempts; the first is RETRY_FIRST_S."""

    def send(self, messages: Sequence[Message]) -> None:
        """Returns when all of them are acknowledged. Raises OutputError or OSError when they are to come again later,
        RefusedError when one of them is not: then they come again one by one, and only that one is skipped."""
        ...

    def rest(self, history: History) -> Optional[float]:
        """Called when no event is left, with the state of the log. Returns after how many seconds it wants to be called
        again if no event comes until then. Raises OutputError or OSError."""
        return None

    def close(self) -> None:
        """Called once, at the end."""
        return

    def abort(self) -> None:
        """Makes a call that waits for the other program fail, from another thread."""
        return


Redaction = Callable[[str, Sequence[Record]], Sequence[Record]]
"""Called with the id of a log and events of it; returns them as they may leave the device."""


def as_they_are(_log: str, records: Sequence[Record]) -> Sequence[Record]:
    return records


class Delivery:
    """Runs one destination in a thread of its own. `wake` never blocks; nothing here slows the video."""

    def __init__(
        self,
        destination: Destination,
        log: EventLog,
        cursors: Cursors,
        device: str,
        *,
        retry_first_s: float = RETRY_FIRST_S,
        flush_s: float = FLUSH_S,
        redacted: Redaction = as_they_are,
        on_death: Optional[DeathCallback] = None,
    ) -> None:
        """`redacted` removes people who were forgotten since an event was logged. `on_death` is called when the
        destination fails by a bug: then the delivery is started again, and without it it ends."""
        self.destination = destination
        self.cursor = cursors.of(destination.name)
        self.delivered = 0
        self.refused = 0
        self._log = log
        self._tail = LogTail(log.template, log.id, self.cursor.sequence, lambda: log.path)
        self._prefix = f"{device}/{log.id}"
        self._redacted = redacted
        self._retry_first_s = retry_first_s
        self._flush_s = flush_s
        self._on_death = on_death
        self._taken: Sequence[Record] = ()
        """Read from the log, and not sent yet."""
        self._one_by_one = False
        self._failures = 0
        self._error: Optional[Exception] = None
        self._missing_reported = 0
        self._saved_at = time.monotonic()
        self._save_failed = False
        self._changed = threading.Condition()
        self._has_news = True
        self._close_by: Optional[float] = None
        """On the monotonic clock; None while the run goes on."""
        self._thread = threading.Thread(target=self._work, name=f"events {destination.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """The log has new events."""
        with self._changed:
            self._has_news = True
            self._changed.notify_all()

    def begin_close(self) -> None:
        """No more events will come. Those in the log are still delivered, within a bounded time."""
        with self._changed:
            self._close_by = time.monotonic() + self._flush_s
            self._has_news = True
            self._changed.notify_all()

    def close(self) -> None:
        if self._close_by is None:
            self.begin_close()
        # The time is that of all deliveries together, which end at the same time.
        self._thread.join(max(0.0, (self._close_by or 0.0) - time.monotonic()) + 0.2)
        if self._thread.is_alive():
            self.destination.abort()
            self._thread.join(ABORT_S)
        waiting = self._log.last - self.cursor.sequence
        if waiting > 0:
            reason = f" ({self._error})" if self._error else ""
            logger.warning(
                "%s: %s not delivered yet%s; kept in %s for the next run",
                self.destination.name,
                counted(waiting, "event"),
                reason,
                self._log.path,
            )

    def status(self) -> SinkStatus:
        """A snapshot; called from any thread."""
        waiting = max(0, self._log.last - self.cursor.sequence)
        lost = self.refused + self._tail.missing
        return SinkStatus(kind_of(self.destination), waiting, self.delivered, lost, self._error is None)

    @property
    def problem(self) -> Optional[str]:
        """Why the destination did not, and will not, get every event; None while nothing is lost."""
        if self._tail.missing:
            removed = counted(self._tail.missing, "event")
            return f"{self.destination.name}: {removed} lost: removed from the log before they were delivered"
        if self.refused:
            return f"{self.destination.name}: {counted(self.refused, 'event')} refused"
        return None

    def _work(self) -> None:
        """The root of the thread: every error of the destination ends here."""
        goes_on = True
        while goes_on:
            try:
                self._deliver()
                goes_on = False
            except Exception as error:  # thread root
                if self._on_death is None:
                    self._error = error
                    logger.exception("%s: no more events are delivered; they stay in the log", self.destination.name)
                    break
                logger.exception("%s: failed by a bug", self.destination.name)
                self._on_death(self.destination.name, repr(error))
                goes_on = self._failed(error)
        for finish in (self._save, self.destination.close, self._tail.close):
            try:
                finish()
            except Exception as error:  # noqa: BLE001 - thread root
                logger.warning("%s: %s", self.destination.name, error)

    def _deliver(self) -> None:
        while not self._time_is_up():
            try:
                self._taken = self._taken or self._tail.read(self.destination.batch)
                self._report_missing()
                if self._taken:
                    self._send()
                    continue
                self._save()
                pause_s = self.destination.rest(self._tail.history)
                self._works_again()
            except (OutputError, OSError) as error:
                if not self._failed(error):
                    return
                continue
            with self._changed:
                if self._close_by is not None and not self._has_news:
                    return
                self._changed.wait_for(lambda: self._has_news, pause_s)
                self._has_news = False

    def _send(self) -> None:
        """What was taken, or only its first event after one of them was refused."""
        records = self._taken[:1] if self._one_by_one else self._taken
        try:
            self.destination.send(
                [
                    Message(f"{self._prefix}/{record['sequence']}", record)
                    for record in self._redacted(self._log.id, records)
                ]
            )
            self.delivered += len(records)
        except RefusedError as error:
            if len(records) > 1:
                self._one_by_one = True
                return
            self.refused += 1
            logger.error("%s: event %d is skipped: %s", self.destination.name, records[0]["sequence"], error)
        self._works_again()
        self._taken = self._taken[len(records) :]
        self._one_by_one = self._one_by_one and bool(self._taken)
        self.cursor.sequence = records[-1]["sequence"]
        if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            self._save()

    def _save(self) -> None:
        """A cursor that cannot be saved costs repetitions after a restart, no events."""
        self._saved_at = time.monotonic()
        try:
            self.cursor.save()
            self._save_failed = False
        except OSError as error:
            if not self._save_failed:
                logger.warning("%s cannot be written: %s; delivery continues", self.cursor.path, error.strerror)
            self._save_failed = True

    def _works_again(self) -> None:
        if self._failures:
            logger.info("%s: works again", self.destination.name)
        self._failures, self._error = 0, None

    def _failed(self, error: Exception) -> bool:
        """Waits before the next attempt; False if the run is over, so that there is none."""
        if str(error) != str(self._error):
            logger.warning("%s: %s; events are kept and delivered when it works again", self.destination.name, error)
        self._error = error
        pause_s = min(self.destination.retry_max_s, self._retry_first_s * 2.0 ** min(self._failures, 60))
        # Many devices that lost the same server do not come back in the same second.
        pause_s *= random.uniform(0.5, 1.0)
        if isinstance(error, BusyError):
            pause_s = max(pause_s, error.pause_s)
        self._failures += 1
        with self._changed:
            if self._close_by is None:
                self._changed.wait_for(lambda: self._close_by is not None, pause_s)
                return True
            if self._failures >= LAST_ATTEMPTS or self._time_is_up():
                return False
            self._changed.wait_for(lambda: False, min(pause_s, LAST_PAUSE_S))
            return True

    def _report_missing(self) -> None:
        missing = self._tail.missing - self._missing_reported
        if missing:
            self._missing_reported = self._tail.missing
            logger.error(
                "%s: %s are missing: removed from the log before they were delivered",
                self.destination.name,
                counted(missing, "event"),
            )

    def _time_is_up(self) -> bool:
        return self._close_by is not None and time.monotonic() >= self._close_by


def device_name(setting: Optional[str]) -> str:
    """What this device is called in keys and topics: letters, digits, `-` and `_`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", setting or socket.gethostname()).strip("-") or "device"
