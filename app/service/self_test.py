"""A picture of a face that comes with the program, to see whether the networks work."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def self_test_picture() -> bytes:
    """A JPEG of Eileen Collins (NASA, public domain), cut from the portrait that the demo uses."""
    return Path(__file__).with_name("self_test.jpg").read_bytes()
