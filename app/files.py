"""Files that are written whole or not at all, and checks that they can be."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Optional

from app.errors import OutputError, check_all

logger = logging.getLogger(__name__)

PROGRAM_FOLDER = Path(__file__).resolve().parent.parent
"""The folder that holds `app/`, `engines/`, `gallery/` and `config.yaml`, wherever the program is started."""


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """What stood there before stays until the new content is complete on the disk. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(mode)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


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


def claim_file(path: Path, overwrite: bool) -> None:
    """Makes sure that the file can be written, without leaving or changing anything but its missing folder."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; pass --overwrite to replace it, or choose another name")
    is_new = not path.exists()
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            logger.info("made the folder %s", path.parent)
        with path.open("ab"):
            pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose a folder that you may write to") from error
