"""Reading a log from a number on, while it is written and rotated: deliveries to other programs are based on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Callable, List, NamedTuple, Optional, Tuple, cast

from app.events.history import HEADER, HEADER_MARK, History, Record, find_last, records
from app.events.listing import identity_of, listed, next_line, open_file


class LogTail:
    """Yields each event after `after` once, in order, also those that were written before it was opened.

    A file that is finished is left only when a newer one says that nothing is missing in between, or when nothing more
    can be read from any file (`missing`).
    """

    def __init__(self, template: Path, log: str, after: int, current: Callable[[], Path]) -> None:
        """`current` is where the log is written at the moment."""
        self.sequence = after
        """Of the last event that was read."""
        self.history = History(log, after)
        """The state of the log after that event."""
        self.missing = 0
        """Events that are in no file any more."""
        self._template = template
        self._log = log
        self._current = current
        self._file: Optional[BinaryIO] = None
        self._is_compressed = False
        self._last_line = b""
        """The line before the position in the file; empty where reading began."""
        self._is_ours = True
        self._found: List[Record] = []
        """What was read and not returned yet, as after an error."""

    def read(self, count: int) -> List[Record]:
        """The next events, at most `count`; none if no more are written yet. They are on the disk: a power failure
        cannot undo them. Raises OSError."""
        found = self._found
        self._begin_again_if_truncated()
        while len(found) < count and (self._file is not None or self._open_next()):
            assert self._file is not None
            line = next_line(self._file)
            if line.endswith(b"\n"):
                self._last_line = line
                found += filter(self._is_new, records([line]))
                continue
            self._file.seek(-len(line), os.SEEK_CUR)  # half a line will come again
            if found or not self._goes_on():
                break
        if found and self._file is not None:
            os.fsync(self._file.fileno())
        self._found = []
        return found

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _is_new(self, record: Record) -> bool:
        if record["event"] == HEADER:
            self._is_ours = record["log"] == self._log
            if self._is_ours:
                self.history.add(record)
                self.missing += max(0, record["after"] - self.sequence)
                self.sequence = max(self.sequence, record["after"])
            return False
        if not self._is_ours:
            return False
        self.history.add(record)
        if record["sequence"] <= self.sequence:
            return False
        self.missing += record["sequence"] - self.sequence - 1
        self.sequence = record["sequence"]
        return True

    def _begin_again_if_truncated(self) -> None:
        """Another program may have truncated the file, and it may be longer than before by now."""
        if self._file is None or self._is_compressed:
            return
        begin = self._file.tell() - len(self._last_line)
        if os.pread(self._file.fileno(), len(self._last_line), begin) != self._last_line:
            self._file.seek(0)
            self._last_line = b""

    def _goes_on(self) -> bool:
        """At the end of the file: whether there is more to read, there or in another file."""
        file = cast(BinaryIO, self._file)
        try:
            if os.path.samestat(self._current().stat(), os.fstat(file.fileno())):
                return False
        except FileNotFoundError:
            return False
        return self._open_next()

    def _open_next(self) -> bool:
        """Opens the file with the next event, unless it is the one that has been read to its end."""
        files = log_parts(self._template, self._log)
        begun = [at for at, part in enumerate(files) if part.after <= self.sequence]
        at = begun[-1] if begun else 0
        if self._file is not None and files and files[at].identity == identity_of(self._file):
            line = next_line(self._file)  # what was written until the next file was begun
            self._file.seek(-len(line), os.SEEK_CUR)
            if line.endswith(b"\n"):
                return True
            at += 1
        if at >= len(files):
            return False
        try:
            opened = open_file(files[at].path)
        except FileNotFoundError:
            return self._open_next()
        if identity_of(opened) != files[at].identity:  # a newer file has its name by now
            opened.close()
            return self._open_next()
        self.close()
        self._file = opened
        self._last_line = b""
        self._is_compressed = files[at].path.suffix == ".gz"
        if not self._is_compressed:
            self._file.seek(_last_header(self._file, self.sequence))
        return True


class LogPart(NamedTuple):
    """One file of a log."""

    after: int
    """The number of the last event before it."""
    path: Path
    identity: Tuple[int, int]
    """Device and inode, which it keeps when it is renamed."""


def log_parts(template: Path, log: str) -> List[LogPart]:
    """The files of this log, in order. Raises OSError."""
    parts = []
    for path, identity, first in listed(template):
        if first is not None and first.get("log", log) == log:
            after = first["after"] if first["event"] == HEADER else first["sequence"] - 1
            parts.append(LogPart(after, path, identity))
    return sorted(parts, key=lambda part: part.after)


def _last_header(file: BinaryIO, sequence: int) -> int:
    """Where the last header that is not after this event begins: the lines before it need not be read."""
    end = file.seek(0, os.SEEK_END)
    while True:
        end = find_last(file, b"\n" + HEADER_MARK, end)
        if end < 0:
            return 0
        file.seek(end + 1)
        header = next(records([file.readline()]), None)
        if header is not None and header["after"] <= sequence:
            return end + 1
