"""The event log: a file of JSON Lines to which every run appends, and which survives crashes and rotation."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
from collections import deque
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, Deque, NamedTuple, Optional

from app.errors import OutputError
from app.events.event import Event
from app.events.history import (
    HEADER,
    History,
    Record,
    encoded,
    log_files,
    read_history,
    repair,
    require_log,
)
from app.files import dated, make_folder, try_lock
from app.text import counted

logger = logging.getLogger(__name__)

SYNC_AFTER_S = {"event": 0.0, "second": 1.0, "never": None}
"""Values of `output.events_sync`: how long a line may be only in the memory of the operating system."""

LOCK_WAIT_S = 10.0
"""How long the start of a run waits for a command that is changing the log, such as one that deletes a person."""
LOCK_POLL_S = 0.02

HEADER_EVERY = 10_000
"""Lines after which the header is repeated, so that a restart need not read the events of a whole year."""


class EventLog:
    """A sink. Opens the file at once, so that one that cannot be written is refused before the run begins.

    Lines are appended in single writes, so a line that `write` has returned for survives the death of the program.
    `sequence` is the number after which this run continues. Before each write the name is checked: if the file was
    renamed, removed or truncated, or `{date}` has changed, the log continues in the file that has the name now. A
    header at the beginning of every file and every run repeats the state of the log.

    `on_written` is called after each write, from the thread that writes.
    """

    def __init__(
        self,
        template: Path,
        *,
        sync: str = "second",
        max_bytes: Optional[int] = None,
        clock: Callable[[], float] = time.time,
        wait_s: float = 0.0,
    ) -> None:
        """`template` may contain `{date}` and `{time}`; `{date}` alone changes at midnight. `wait_s`: for another
        program that is changing the log."""
        self._template = template
        self._clock = clock
        self._started_at = clock()
        rolls_over = "{date}" in template.name and "{time}" not in template.name
        self._last_day = _last_day(template) if rolls_over else None
        """A moment of the latest day that has a file; None where the name does not change."""
        self._sync_after_s = SYNC_AFTER_S[sync]
        self._max_bytes = max_bytes
        self._unsynced_since: Optional[float] = None
        self._event: Optional[Event] = None
        """The event of the last call of `write`, which comes again after a failure."""
        self._lines: Deque[_Line] = deque()
        """Not written yet. Of the first, `_taken` bytes may be: a full disk may take half a line."""
        self._taken = 0
        self._since_header = 0
        self.on_written: Callable[[], None] = lambda: None
        self.rotations = 0
        """How often a file reached `max_bytes` in this run."""
        self.path = self._path_now()
        if self._last_day is not None and self.path != dated(template, self._started_at):
            logger.warning("%s: the clock is behind, so the log continues here; if it is not, move the file", self.path)
        self.name = "event log"
        if not self.path.parent.exists():
            make_folder(self.path.parent)
            logger.info("created folder %s", self.path.parent)
        is_new = not self.path.exists()
        self._file = open_locked(self.path, wait_s=wait_s)
        try:
            self._history = self._earlier_runs(wait_s)
        except BaseException:
            if is_new and not self._file.seek(0, io.SEEK_END):
                self.path.unlink()  # with {time} in its name, it would stay empty for ever
            self._file.close()
            raise
        self._size = self._file.seek(0, io.SEEK_END)
        self._start_file()
        left = self._history.close_visits()
        if left:
            logger.warning("%s: closed %s of a run that was killed", self.path, counted(len(left), "visit"))
        self._lines.extend(_Line(record, encoded(record)) for record in left)
        self.sequence = self._history.sequence + len(left)
        self.relabels = dict(self._history.relabels)
        """Names of strangers that the log has already."""
        try:
            self._write_lines()
        except OSError as error:
            logger.warning(
                "%s cannot be written: %s; events are kept and written when it works again", self.path, error.strerror
            )

    @property
    def id(self) -> str:
        """Names the log in all its files and runs."""
        return self._history.log

    @property
    def template(self) -> Path:
        """The name that was given, with `{date}` and `{time}` in it."""
        return self._template

    @property
    def last(self) -> int:
        """The number of the last event that is written."""
        return self._history.sequence

    def write(self, event: Event) -> None:
        if event is not self._event:
            record = event.as_json()
            self._lines.append(_Line(record, encoded(record)))
            self._event = event
        try:
            self._follow_path()
            self._write_lines()
            self.on_written()
            self.idle()
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error

    def idle(self) -> Optional[float]:
        """Brings what is written to the disk when it is time; returns the seconds until then."""
        if self._unsynced_since is None or self._sync_after_s is None:
            return None
        left_s = self._unsynced_since + self._sync_after_s - time.monotonic()
        if left_s > 0:
            return left_s
        self._sync(self._file)
        return None

    def close(self) -> None:
        with self._file:
            self._sync(self._file)

    def _sync(self, file: io.FileIO) -> None:
        was_synced, self._unsynced_since = self._unsynced_since is None, None
        if not was_synced and self._sync_after_s is not None:
            os.fsync(file.fileno())

    def _earlier_runs(self, wait_s: float) -> History:
        """What happened before. Repairs the end of the file that was written last."""
        require_log(self._file, self.path)
        if self._file.seek(0, io.SEEK_END):
            repair(self._file, self.path)
            return read_history(self.path)
        files = [path for path in log_files(self._template) if path != self.path and path.suffix != ".gz"]
        if not files:
            return History()
        earlier = files[-1]
        with open_locked(earlier, wait_s=wait_s) as file:
            require_log(file, earlier)
            repair(file, earlier)
            return read_history(earlier)

    def _path_now(self) -> Path:
        if self._last_day is None:
            return dated(self._template, self._started_at)
        # Never back, as after a power failure on a machine whose clock goes on from some time before: the file of that
        # day ends with earlier numbers.
        self._last_day = max(self._last_day, self._clock())
        return dated(self._template, self._last_day)

    def _follow_path(self) -> None:
        """Continues in the file that has the log's name now, if that is another one."""
        path = self._path_now()
        try:
            same = path == self.path and os.path.samestat(path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            same = False
        if not same:
            before = self.path
            self._continue_in(path)
            logger.info("%s: the event log continues in %s", before, path)
        elif os.fstat(self._file.fileno()).st_size < self._size:
            logger.warning("%s: was truncated by another program; it continues there", self.path)
            self._size = self._file.seek(0, io.SEEK_END)
            self._start_file()

    def _continue_in(self, path: Path) -> None:
        file = open_locked(path)
        try:
            repair(file, path)
        except BaseException:
            file.close()
            raise
        before, self._file, self.path = self._file, file, path
        self._size = file.seek(0, io.SEEK_END)
        self._start_file()
        with before:
            self._sync(before)

    def _start_file(self) -> None:
        """A header comes first, and a line that the file before took half of comes again."""
        if self._lines and self._lines[0].record["event"] == HEADER:
            self._lines.popleft()
        self._add_header()
        self._taken = 0

    def _add_header(self) -> None:
        header = self._history.header(self._clock())
        self._lines.appendleft(_Line(header, encoded(header)))

    def _write_lines(self) -> None:
        while self._lines:
            record, content = self._lines[0]
            if self._is_too_large(len(content)) and record["event"] != HEADER and not self._taken:
                self._rotate()
                continue
            taken = self._file.write(content[self._taken :])
            self._taken += taken
            self._size += taken
            if self._unsynced_since is None:
                self._unsynced_since = time.monotonic()
            if self._taken == len(content):
                self._lines.popleft()
                self._taken = 0
                self._history.add(record)
                self._since_header = 0 if record["event"] == HEADER else self._since_header + 1
                if self._since_header == HEADER_EVERY:
                    self._add_header()

    def _is_too_large(self, more: int) -> bool:
        if self._max_bytes is None or self._size + more <= self._max_bytes:
            return False
        # A limit that is smaller than a header and a line must not make a file for every line.
        header = encoded(self._history.header(self._clock()))
        return self._size > len(header)

    def _rotate(self) -> None:
        """Gives the file a name with the time; the log continues in a new one."""
        stamp = f"{datetime.fromtimestamp(self._clock(), timezone.utc):%Y%m%dT%H%M%SZ}"
        number, target = 1, self.path.with_name(f"{self.path.stem}-{stamp}{self.path.suffix}")
        while target.exists():
            number += 1
            target = self.path.with_name(f"{self.path.stem}-{stamp}-{number}{self.path.suffix}")
        self.path.rename(target)
        self._continue_in(self.path)
        self.rotations += 1


class _Line(NamedTuple):
    record: Record
    content: bytes


def _last_day(template: Path) -> float:
    """Noon of the latest day in the names of the log's files; 0 without any."""
    begin = len(template.name.partition("{date}")[0])
    last = 0.0
    for path in log_files(template):
        with contextlib.suppress(ValueError, OverflowError):
            last = max(last, time.mktime(time.strptime(path.name[begin : begin + 10], "%Y-%m-%d")) + 43200)
    return last


def open_locked(
    path: Path,
    by: str = "another run; stop that one, or choose another name",
    create: bool = True,
    wait_s: float = 0.0,
) -> io.FileIO:
    """Opens the file for reading and appending, for this program alone. Creates it if it is missing, or without
    `create` raises FileNotFoundError.

    `by` is who writes it where another program has it for longer than `wait_s`, and what to do then.
    """
    give_up_at = time.monotonic() + wait_s
    is_waiting = False
    try:
        while True:
            file = io.FileIO(path, "a+" if create else "r+")
            if not try_lock(file.fileno()):
                file.close()
                if time.monotonic() >= give_up_at:
                    raise OutputError(f"{path} is written by {by}")
                if not is_waiting:
                    logger.info("%s: waiting up to %g s for the program that is changing it", path, wait_s)
                is_waiting = True
                time.sleep(LOCK_POLL_S)
                continue
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
            file.close()  # it was renamed before it was locked
    except IsADirectoryError:
        raise OutputError(f"{path} is a folder; expected a file") from None
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not create:
            raise
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
