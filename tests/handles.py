"""What this process holds, to find what is left behind."""

import os
import threading
from pathlib import Path

from waiting import until

from app.tools.soak.usage import descendants


def held():
    """Open files, threads, and processes, dead ones too."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), len(descendants(os.getpid()))


def require_no_more_than(before):
    """Waits until nothing is held that was not held before. It may be less: what an earlier test used ends at any
    time."""
    until(lambda: all(now <= then for now, then in zip(held(), before)))
