"""What the program holds: memory, threads, open files and processes, as Linux counts them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Collection, Dict, List, NamedTuple

from app.tools.machine import read_system_file

READER = "app.capture.reader_child"
_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """At one moment."""

    seconds: float
    """Since the start of the run."""
    memory_mb: float
    """Resident memory of the program and its processes; memory that they share counts in each."""
    threads: int
    """Of the program itself, like the next."""
    handles: int
    processes: int
    """Those that the program has started."""


def can_measure() -> bool:
    return (_PROC / "self/statm").exists()


def measure(seconds: float, without: Collection[int]) -> Usage:
    """`without` are processes that do not belong to the program: the soak's cameras."""
    below = [pid for pid in descendants(os.getpid()) if pid not in without]
    return Usage(
        seconds,
        sum(map(_memory_mb, [os.getpid(), *below])),
        len(list((_PROC / "self/task").iterdir())),
        len(list((_PROC / "self/fd").iterdir())),
        len(below),
    )


def descendants(of: int) -> List[int]:
    """Processes that this one has started, and those that they have, including dead ones that nobody waited for."""
    children: Dict[int, List[int]] = {}
    for folder in _PROC.glob("[0-9]*"):
        # The name of the program, in brackets, may contain anything.
        fields = read_system_file(folder / "stat").rpartition(")")[2].split()
        if len(fields) > 1:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: List[int] = []
    waiting = [of]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def readers(of: int) -> List[int]:
    """The processes that read the sources of a program."""
    return [pid for pid in descendants(of) if READER in read_system_file(_PROC / str(pid) / "cmdline").split("\0")]


def _memory_mb(pid: int) -> float:
    fields = read_system_file(_PROC / str(pid) / "statm").split()
    return int(fields[1]) * _PAGE_BYTES / 1e6 if fields else 0.0
