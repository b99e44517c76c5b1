"""Words that change with their number."""

from __future__ import annotations

from typing import Optional


def counted(number: int, noun: str, plural: Optional[str] = None) -> str:
    """`1 face`, `2 faces`, `1 person`, `2 people`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"
