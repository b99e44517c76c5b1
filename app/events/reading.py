"""Reading event logs: several files in their order, compressed ones too, or one that is still being written."""

from __future__ import annotations

import contextlib
import gzip
import os
import sys
import time
import zlib
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from app.errors import AppError
from app.events.history import HEADER, Record, find_last, records, relabels_of
from app.events.listing import Begin, LogFile, begin_of, identities, listed, open_file, open_listed

STDIN = Path("-")
POLL_S = 0.25
_BLOCK_BYTES = 1 << 16


class LogReader:
    """Yields the records of event logs, and counts what is missing or damaged."""

    def __init__(self, paths: Sequence[Path], template: Optional[Path] = None) -> None:
        """Files are read in the order of their beginning. Raises AppError."""
        self.damaged = 0
        """Lines that cannot be read."""
        self.missing = 0
        """Events whose number was left out."""
        self._log: Optional[str] = None
        self._sequence: Optional[int] = None
        self._template = template
        files = [LogFile(path, (0, 0), _first(path)) for path in paths]
        self._files = sorted(files, key=lambda file: file.begin) if template is None else _listed(template)

    @classmethod
    def of_log(cls, template: Path) -> LogReader:
        """Reads all files of a log, whatever they are called by then: it may be written and rotated meanwhile."""
        return cls((), template)

    def relabels(self) -> Dict[str, str]:
        """The names that strangers got at any time, for the events before: `stranger-7` -> `Eva`."""
        found: Dict[str, str] = {}
        for log_file in self._files:
            if log_file.path != STDIN:
                with _opened(log_file, self._template) as file:
                    found = relabels_of(records(line for line in file if b'"relabel' in line), found)
        return found

    def read(self) -> Iterator[Record]:
        for log_file in self._files:
            with _opened(log_file, self._template) as file:
                yield from self._checked(file)

    def follow(self, wait: Callable[[float], None] = time.sleep) -> Iterator[Record]:
        """Reads everything, then what is added to the last file, and then the files of the log that are begun later."""
        files, template = self._files, self._template
        new = _NewFiles(template or files[-1].path, files)
        while True:
            for log_file in files:
                new.seen.add(log_file.begin)
                is_last = log_file is files[-1] and _can_grow(log_file.path)
                with _opened(log_file, template) as file:
                    found = self._checked(_growing_lines(file, log_file.path, wait, new.any) if is_last else file)
                    for first in islice(found, 1):
                        new.seen.add(begin_of(first))
                        yield first
                    yield from found
            if files and not _can_grow(files[-1].path):
                return
            template = new.template
            files = new.list()
            while not files:
                wait(POLL_S)
                files = new.list()

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


class _NewFiles:
    """Finds files of a log that were not read yet."""

    def __init__(self, template: Path, files: Sequence[LogFile]) -> None:
        self.template = template
        self.seen: Set[Begin] = {file.begin for file in (*files, *self._listed())}
        self._known: Dict[Path, Tuple[int, int]] = {}

    def list(self) -> List[LogFile]:
        return [file for file in self._listed() if file.begin not in self.seen]

    def any(self) -> bool:
        """Often called: looks into the files only if one was added or renamed."""
        with contextlib.suppress(FileNotFoundError):
            known = identities(self.template)
            if known == self._known:
                return False
            files = self._listed()
            if len(files) == len(known):
                self._known = known
            return any(file.begin not in self.seen for file in files)
        return False

    def _listed(self) -> List[LogFile]:
        with _readable(self.template):
            return [] if self.template == STDIN else [file for file in listed(self.template) if file.first]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise AppError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


@contextlib.contextmanager
def _opened(file: LogFile, template: Optional[Path]) -> Iterator[BinaryIO]:
    if file.path == STDIN:
        yield sys.stdin.buffer
        return
    with _readable(file.path), open_file(file.path) if template is None else open_listed(file, template) as found:
        yield found


def _listed(template: Path) -> List[LogFile]:
    """Raises AppError."""
    with _readable(template):
        files = listed(template)
    for file in files:
        if file.first is None:
            raise _not_a_log(file.path)
    return files


def log_id(template: Path) -> str:
    """The id of a log, which its newest file begins with. Raises AppError."""
    return "".join(str((file.first or {}).get("log", "")) for file in _listed(template)[-1:])


def newest_first(template: Path) -> Iterator[Record]:
    """The records of a log, the last one first: a question about today need not read a whole year.

    A line that is being written is left out. Raises AppError.
    """
    for log_file in reversed(_listed(template)):
        with _opened(log_file, template) as file:
            is_compressed = isinstance(file, gzip.GzipFile)
            yield from records(reversed(file.readlines()) if is_compressed else _lines_backwards(file))


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


def _first(path: Path) -> Optional[Record]:
    """The first record; None in an empty file. Raises AppError if the file is not an event log."""
    if path == STDIN:
        return None
    with _readable(path), open_file(path) as file:
        for line in file:
            for record in records([line]):
                return record
            raise _not_a_log(path)
    return None


def _not_a_log(path: Path) -> AppError:
    return AppError(f"{path} is not an event log: its first line is not an event")


def _growing_lines(
    file: BinaryIO, path: Path, wait: Callable[[float], None], is_continued: Callable[[], bool]
) -> Iterator[bytes]:
    """Whole lines as they are written, until the file is truncated, has another name, or is continued in another."""
    pending = b""
    while True:
        # Before reading: nothing is added to it afterwards.
        ended = not _can_grow(path) or _is_replaced(file, path) or is_continued()
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
