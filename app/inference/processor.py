"""The processor that networks run on: its name, and how many of its cores this process may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_BOARD = Path("/proc/device-tree/model")
_CPUINFO = Path("/proc/cpuinfo")


def available_cores() -> int:
    """The cores that this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def board_model(file: Path = _BOARD) -> str:
    """The name of a single-board computer; empty on machines that have none."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def processor_name(file: Path = _CPUINFO) -> str:
    """The name of the processor, or at least its architecture."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
