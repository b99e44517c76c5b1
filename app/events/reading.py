"""Reading event logs: several files in their order, compressed ones too, or one that is still being written."""

from __future__ import annotations

import contextlib
import gzip
import os
import sys
import time
import zlib
from functools import partial
from pathlib import Path
from typing import BinaryIO, Callable, Dict, Iterator, Optional, Sequence, cast

from app.errors import AppError
from app.events.history import HEADER, Record, find_last, records, relabels_of

STDIN = Path("-")
POLL_S = 0.25
_BLOCK_BYTES = 1 << 16


class LogReader:
    """Yields the records of event logs, and counts what is missing or damaged."""

    def __init__(self, paths: Sequence[Path], latest: Optional[Callable[[], Path]] = None) -> None:
        """Files of one log are read in the order of their beginning. `latest` is the file that is written now, when its
        name changes with the date; it may not exist yet."""
        self._latest = latest
        self.damaged = 0
        """Lines that cannot be read."""
        self.missing = 0
        """Events whose number was left out."""
        self._log: Optional[str] = None
        self._sequence: Optional[int] = None
        self._paths = sorted(paths, key=_begin)

    def relabels(self) -> Dict[str, str]:
        """The names that strangers got at any time, for the events before: `stranger-7` -> `Eva`."""
        found: Dict[str, str] = {}
        for path in self._paths:
            if path != STDIN:
                with _opened(path) as file:
                    found = relabels_of(records(line for line in file if b'"relabel' in line), found)
        return found

    def read(self) -> Iterator[Record]:
        for path in self._paths:
            with _opened(path) as file:
                yield from self._checked(file)

    def follow(self, wait: Callable[[float], None] = time.sleep) -> Iterator[Record]:
        """Reads everything, and then what is added to the last file. Continues in a new file of its name, or in that of
        the next day."""
        for path in self._paths[:-1]:
            with _opened(path) as file:
                yield from self._checked(file)
        path = self._paths[-1]
        while True:
            with _opened(path) as file:
                yield from self._checked(_growing_lines(file, path, wait, partial(self._next, path)))
            if not _can_grow(path):
                return
            path = self._next(path) or path
            while not path.exists():
                wait(POLL_S)

    def _next(self, path: Path) -> Optional[Path]:
        """The file in which the log continues after this one, if there is another one yet."""
        latest = None if self._latest is None else self._latest()
        return latest if latest is not None and latest != path and latest.exists() else None

    def _checked(self, lines: Iterator[bytes]) -> Iterator[Record]:
        for line in lines:
            found = False
            for record in records([line]):
                found = True
                self._count_missing(record)
                yield record
            self.damaged += not found

    def _count_missing(self, record: Record) -> None:
        if record["event"] == HEADER:
            if record["log"] != self._log:
                self._log, self._sequence = record["log"], record["after"]
            number, expected = record["after"], self._sequence
        else:
            number = record.get("sequence", 0)
            expected = number if self._sequence is None else self._sequence + 1
        if expected is not None:
            self.missing += max(0, number - expected)
        self._sequence = max(number, self._sequence or 0)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        with cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise AppError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def log_id(paths: Sequence[Path]) -> str:
    """The id of a log, which its newest file begins with. Raises AppError."""
    for path in sorted(paths, key=_begin)[-1:]:
        with _opened(path) as file:
            for record in records(file):
                return str(record.get("log", ""))
    return ""


def newest_first(paths: Sequence[Path]) -> Iterator[Record]:
    """The records of a log, the last one first: a question about today need not read a whole year.

    A line that is being written is left out. Raises AppError.
    """
    for path in sorted(paths, key=_begin, reverse=True):
        with _opened(path) as file:
            yield from records(reversed(file.readlines()) if path.suffix == ".gz" else _lines_backwards(file))


def _lines_backwards(file: BinaryIO) -> Iterator[bytes]:
    end = find_last(file, b"\n", file.seek(0, os.SEEK_END)) + 1
    rest = b""
    while end > 0:
        begin = max(0, end - _BLOCK_BYTES)
        file.seek(begin)
        # The first line may have begun in the block before.
        rest, *lines = (file.read(end - begin) + rest).split(b"\n")
        yield from filter(None, reversed(lines))
        end = begin
    if rest:
        yield rest


def _begin(path: Path) -> str:
    """The time of the first record; an empty file comes first. Raises AppError if the file is not an event log."""
    if path == STDIN:
        return ""
    with _opened(path) as file:
        for line in file:
            for record in records([line]):
                return str(record["time"])
            raise AppError(f"{path} is not an event log: its first line is not an event")
    return ""


def _growing_lines(
    file: BinaryIO, path: Path, wait: Callable[[float], None], following: Callable[[], Optional[Path]]
) -> Iterator[bytes]:
    """Whole lines as they are written, until the file is truncated or another one has its name."""
    pending = b""
    while True:
        # Before reading: nothing is added to it afterwards.
        ended = not _can_grow(path) or _is_replaced(file, path) or following() is not None
        for line in iter(file.readline, b""):
            pending += line
            if pending.endswith(b"\n"):
                yield pending
                pending = b""
        if ended:
            return
        wait(POLL_S)


def _can_grow(path: Path) -> bool:
    """Standard input ends by itself, and what is compressed is complete."""
    return path != STDIN and path.suffix != ".gz"


def _is_replaced(file: BinaryIO, path: Path) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return True
    return not os.path.samestat(now, os.fstat(file.fileno())) or now.st_size < file.tell()
