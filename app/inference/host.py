"""The machine that networks run on: its processor, and imports of runtimes that are native code."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import threading
from pathlib import Path
from typing import Iterator, List, Optional

from app.credentials import refuse_telemetry
from app.errors import ModelError
from app.text import install_hint

_BOARD = Path("/proc/device-tree/model")
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_INT8_FLAGS = frozenset(("avx_vnni", "avx512_vnni", "amx_int8"))
"""As Linux lists them. Arm processors are missing: int8 has not been measured on them."""


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
    """The name of the processor, or its architecture if the name is unknown."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def available_memory(file: Path = _MEMINFO) -> Optional[int]:
    """Bytes that programs can still take without swapping; None where the system does not say."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def has_int8_instructions(file: Path = _CPUINFO) -> bool:
    """Whether the processor multiplies int8 and adds up in 32 bits (VNNI, AMX).

    Without them, sums of two products are cut off at 16 bits, which changes results, and int8 is hardly faster.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return not _INT8_FLAGS.isdisjoint(text.split())


@contextlib.contextmanager
def importing(package: str, title: str) -> Iterator[None]:
    """Wraps the import of `package`: a failure becomes a ModelError that says what to do."""
    refuse_telemetry()
    try:
        with _ctrl_c_delayed():
            yield
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise ModelError(f"{title} is not installed ({error}); install it with: {install_hint(package)}") from error
        raise ModelError(f"{title} is installed but cannot be loaded ({error})") from error


@contextlib.contextmanager
def _ctrl_c_delayed() -> Iterator[None]:
    """Delays Ctrl-C to the end: inside native code it would look like a package that cannot be loaded."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: List[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pending:
            signal.raise_signal(signal.SIGINT)
