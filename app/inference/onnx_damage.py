"""Detects damaged ONNX files, for which the messages of the runtimes are not helpful."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Iterator

EMPTY = "the file is empty; download or copy it again"
INCOMPLETE = "not an ONNX file, or incomplete; download or copy it again"

_GRAPH = 7
_NUMBER, _COUNTED_BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Bytes of fields with a fixed length, by kind."""
_MAX_NUMBER_BYTES = 10


def damage_of(path: Path) -> str:
    """What is wrong with the file; empty if its format is valid, even if its network is not."""
    size = path.stat().st_size
    if not size:
        return EMPTY
    try:
        with path.open("rb") as file:
            return "" if _GRAPH in set(_fields(file, size)) else INCOMPLETE
    except ValueError:
        return INCOMPLETE


def _fields(file: BinaryIO, size: int) -> Iterator[int]:
    """The numbers of the top-level fields in the Protocol Buffers format. Raises ValueError if it is invalid."""
    while file.tell() < size:
        key = _number(file)
        field, kind = key >> 3, key & 7
        if not field:
            raise ValueError("field numbers start at 1")
        if kind == _NUMBER:
            _number(file)
            length = 0
        elif kind == _COUNTED_BYTES:
            length = _number(file)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError("unknown kind of field")
        end = file.tell() + length
        if end > size:
            raise ValueError("the last field is truncated")
        file.seek(end)
        yield field


def _number(file: BinaryIO) -> int:
    """A number of variable length (varint)."""
    value = 0
    for row, byte in enumerate(file.read(1) for _ in range(_MAX_NUMBER_BYTES)):
        if not byte:
            raise ValueError("the last field is truncated")
        value |= (byte[0] & 0x7F) << 7 * row
        if byte[0] < 0x80:
            return value
    raise ValueError("number too long")
