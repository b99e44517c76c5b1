"""Files that a command writes when it is done."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Optional

from app.errors import OutputError, check_all
from app.files import write_whole


def check_writable(*paths: Optional[Path]) -> None:
    """Tells before long work that its figures could not be written."""
    check_all(*(partial(_check_writable, path) for path in paths if path is not None))


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be made a folder: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """All of it or nothing: what stood there before stays until the new text is complete on the disk."""
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"{path} cannot be written: it is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} cannot be written: it is no file, and would be replaced by one")
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path} cannot be written: no permission to write into {path.parent}")
