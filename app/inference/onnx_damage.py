"""Whether an ONNX file is damaged: where one is, the runtimes' own words for it help nobody."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Iterator

EMPTY = "it is empty: download or copy it again"
NOT_WHOLE = "this is no ONNX file, or a part of it is missing: download or copy it again"

_GRAPH = 7
_NUMBER, _COUNTED_BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Kinds of fields that are so many bytes long."""
_LONGEST_NUMBER = 10


def damage_of(path: Path) -> str:
    """Empty where the file is whole, whatever network it holds."""
    size = path.stat().st_size
    if not size:
        return EMPTY
    try:
        with path.open("rb") as file:
            return "" if _GRAPH in set(_fields(file, size)) else NOT_WHOLE
    except ValueError:
        return NOT_WHOLE


def _fields(file: BinaryIO, size: int) -> Iterator[int]:
    """The numbers of the outermost fields, as Protocol Buffers write them; raises ValueError where none can be."""
    while file.tell() < size:
        key = _number(file)
        field, kind = key >> 3, key & 7
        if not field:
            raise ValueError("fields are counted from 1")
        length = _length(file, kind)
        end = file.tell() + length
        if end > size:
            raise ValueError("the last field is cut off")
        file.seek(end)
        yield field


def _length(file: BinaryIO, kind: int) -> int:
    """How many bytes of a field lie ahead; a number is read here, since nothing but its last byte tells its length."""
    if kind == _NUMBER:
        _number(file)
        return 0
    if kind == _COUNTED_BYTES:
        return _number(file)
    if kind in _FIXED:
        return _FIXED[kind]
    raise ValueError("no field of this kind exists")


def _number(file: BinaryIO) -> int:
    """A number of variable length."""
    value = 0
    for row, byte in enumerate(file.read(1) for _ in range(_LONGEST_NUMBER)):
        if not byte:
            raise ValueError("the last field is cut off")
        value |= (byte[0] & 0x7F) << 7 * row
        if byte[0] < 0x80:
            return value
    raise ValueError("no number is that long")
