"""Writing files so that a reader, or a run that is killed, never meets half of one."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Iterator


@contextmanager
def replace_atomically(target: Path) -> Iterator[BinaryIO]:
    """Writes to a neighbour file and renames it over `target` once everything is on disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(target)
    finally:
        if partial.exists():
            partial.unlink()
