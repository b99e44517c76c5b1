"""The files of a log, in order, also while it is rotated, compressed or redacted."""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from pathlib import Path
from typing import BinaryIO, Dict, List, NamedTuple, Optional, Tuple, cast

from app.events.history import HEADER, Record, log_files, records

Begin = Tuple[str, str, int]


class LogFile(NamedTuple):
    """A file of a log, as it was when the files were listed."""

    path: Path
    identity: Tuple[int, int]
    """Device and inode, which it keeps when it is renamed."""
    first: Optional[Record]
    """Its first line; None if that is damaged."""

    @property
    def begin(self) -> Begin:
        return begin_of(self.first)


def begin_of(first: Optional[Record]) -> Begin:
    """What the first line says of a file, whatever the file is called: it is kept when the file is renamed, compressed
    or redacted. In the order of time."""
    if first is None:
        return "", "", 0
    return first["time"], first.get("log", ""), first["after"] if first["event"] == HEADER else first["sequence"]


def listed(template: Path) -> List[LogFile]:
    """The files of a log that have a line, in the order of their beginning. Raises OSError.

    A name may become that of a newer file between listing and opening, and what was in the older one would be left out.
    So the files are listed again until all have kept their names meanwhile. Of a file that is being compressed or
    copied, the complete one is listed.
    """
    while True:
        with contextlib.suppress(FileNotFoundError):
            before = identities(template)
            found = [LogFile(path, before[path], first) for path in before for first in first_line(path)]
            if identities(template) == before:
                complete = {file.begin if file.first else file.path: file for file in sorted(found, key=_completeness)}
                return sorted(complete.values(), key=lambda file: file.begin)


def open_listed(file: LogFile, template: Path) -> BinaryIO:
    """The file, whatever its name is by now; nothing is in it if it was removed meanwhile. Raises OSError."""
    path: Optional[Path] = file.path
    while path is not None:
        with contextlib.suppress(FileNotFoundError):
            found = open_file(path)
            if begin_of(next(records([next_line(found)]), None)) == file.begin:
                found.seek(0)
                return found
            found.close()
        path = next((one.path for one in listed(template) if one.begin == file.begin), None)
    return open_file(Path(os.devnull))


def open_file(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def first_line(path: Path) -> List[Optional[Record]]:
    """One, or none if there is no whole line yet."""
    with open_file(path) as file:
        line = next_line(file)
        return [next(records([line]), None)] if line.endswith(b"\n") else []


def next_line(file: BinaryIO) -> bytes:
    """Without its end of line where the file ends, or where a compressed file is cut off."""
    try:
        return file.readline()
    except (EOFError, zlib.error):
        return b""


def identities(template: Path) -> Dict[Path, Tuple[int, int]]:
    """Of the files of a log, device and inode by path. Raises FileNotFoundError if one is renamed meanwhile."""
    found = {path: path.stat() for path in log_files(template)}
    return {path: (one.st_dev, one.st_ino) for path, one in found.items()}


def identity_of(file: BinaryIO) -> Tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino


def _completeness(file: LogFile) -> Tuple[bool, int]:
    """Of several files with the same lines, the one with the greatest value is read."""
    return file.path.suffix != ".gz", file.path.stat().st_size
