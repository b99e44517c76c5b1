"""Words that change: with their number, or with how the program was started."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Optional, Sequence


def counted(number: int, noun: str, plural: Optional[str] = None) -> str:
    """`1 face`, `2 faces`, `1 person`, `2 people`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def program() -> str:
    """How this program was started, for commands that people copy."""
    return f"{python()} -m app"


def install_hint(*packages: str) -> str:
    """What installs packages where this program finds them, for people to copy."""
    return f"{python()} -m pip install {' '.join(map(shlex.quote, packages))}"


def python() -> str:
    """The Python that runs this program, as a shell takes it: another one may lack its packages."""
    path = Path(sys.executable)
    return path.name if shutil.which(path.name) == str(path) else shlex.quote(str(_from_here(path)))


def _from_here(path: Path) -> Path:
    """In full where it does not lie below the current folder, or that folder is gone."""
    try:
        return path.relative_to(Path.cwd())
    except (ValueError, FileNotFoundError):
        return path


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, numbers to the right, words to the left."""
    columns = [[line[at] for line in rows] for at in range(len(header))]
    widths = [max(map(len, [title, *cells])) for title, cells in zip(header, columns)]
    numeric = [bool(cells) and all(cell[:1].isdigit() for cell in cells) for cells in columns]

    def laid_out(line: Sequence[str]) -> str:
        cells = (cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(line, widths, numeric))
        return "  ".join(cells).rstrip()

    return "\n".join([laid_out(header), laid_out(["-" * width for width in widths]), *map(laid_out, rows)])
