"""What is wrong with an ONNX file before it comes to networks: the runtimes' own words for it help nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Tuple

EMPTY = "it is empty: download or copy it again"
NOT_WHOLE = "this is no ONNX file, or a part of it is missing: download or copy it again"

_GRAPH = 7
_NUMBER, _EIGHT_BYTES, _COUNTED_BYTES, _FOUR_BYTES = 0, 1, 2, 5


def damage_of(path: Path) -> str:
    """Empty where the file is whole, whatever network it holds."""
    content = path.read_bytes()
    if not content:
        return EMPTY
    try:
        return "" if _GRAPH in list(_fields(content)) else NOT_WHOLE
    except (IndexError, ValueError):
        return NOT_WHOLE


def _fields(content: bytes) -> Iterator[int]:
    """The numbers of the outermost fields, as Protocol Buffers write them; raises where the file ends too early."""
    at = 0
    while at < len(content):
        key, at = _number(content, at)
        kind = key & 7
        if kind == _NUMBER:
            _, at = _number(content, at)
        elif kind == _COUNTED_BYTES:
            length, at = _number(content, at)
            at += length
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            at += 4 if kind == _FOUR_BYTES else 8
        else:
            raise ValueError("no field of this kind exists")
        if at > len(content):
            raise IndexError("the last field is cut off")
        yield key >> 3


def _number(content: bytes, at: int) -> Tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
