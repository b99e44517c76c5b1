"""Files that a command writes when it is done."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Optional

from app.errors import OutputError


def check_writable(*paths: Optional[Path]) -> None:
    """Tells before long work that its figures could not be written."""
    for path in paths:
        if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
            raise OutputError(f"{path} cannot be written: {path.parent} is no folder that can be written to")


def write_whole(path: Path, text: str) -> None:
    """All of it or nothing: what stood there before stays until the new text is complete on the disk."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            part.chmod(0o644)
            part.replace(path)
        except BaseException:
            part.unlink()
            raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
