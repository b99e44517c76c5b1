"""Words that change: with their number, or with how the program was started."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Optional


def counted(number: int, noun: str, plural: Optional[str] = None) -> str:
    """`1 face`, `2 faces`, `1 person`, `2 people`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def program() -> str:
    """How this program was started, for commands that people copy: another Python may lack its packages."""
    python = Path(sys.executable)
    if shutil.which(python.name) == str(python):
        return f"{python.name} -m app"
    here = Path.cwd()
    return f"{shlex.quote(str(python.relative_to(here) if here in python.parents else python))} -m app"
