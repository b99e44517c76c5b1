"""Memory, threads and temperature of this machine, as the Linux kernel says. Elsewhere nothing is known."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

PROC = Path("/proc")
THERMAL = Path("/sys/class/thermal")


class Children(NamedTuple):
    """The processes that this one has started, such as the readers of cameras."""

    number: int
    resident_bytes: int
    """With frames in shared memory, which the main process may have mapped too."""


def children(proc: Path = PROC, parent: Optional[int] = None) -> Optional[Children]:
    """None: not known on this system."""
    wanted = str(os.getpid() if parent is None else parent)
    found: List[int] = []
    if not (proc / "self" / "stat").exists():
        return None
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                # After the name, which may contain anything: the state and the parent.
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                if stat[1] == wanted:
                    pages = int((entry / "statm").read_text().split()[1])
                    found.append(pages * os.sysconf("SC_PAGE_SIZE"))
            except (OSError, IndexError):
                continue  # it has just ended
    return Children(len(found), sum(found))


def own_memory_bytes(proc: Path = PROC) -> int:
    """What this process has in memory. 0: not known on this system."""
    try:
        return int((proc / "self" / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def temperatures(folder: Path = THERMAL) -> Dict[str, float]:
    """Degrees Celsius by the name of the sensor; of several with one name the hottest."""
    found: Dict[str, float] = {}
    for zone in sorted(folder.glob("thermal_zone*")):
        try:
            name = (zone / "type").read_text(encoding="utf-8").strip()
            celsius = int((zone / "temp").read_text(encoding="utf-8")) / 1000
        except (OSError, ValueError):
            continue  # a sensor that is switched off
        found[name] = max(celsius, found.get(name, celsius))
    return found


def threads() -> int:
    """Of this process, with those that libraries have started, where that is known."""
    try:
        return sum(1 for _ in (PROC / "self" / "task").iterdir())
    except OSError:
        return threading.active_count()
