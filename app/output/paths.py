"""Names of files, and whether they may be written."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import Sequence

from app.errors import OutputError

logger = logging.getLogger(__name__)

_NOT_IN_FILE_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')


def channel_path(path: Path, channel: str, channels: Sequence[str]) -> Path:
    """The film of one of the channels: OUT.mp4 if it is the only one, else OUT-CHANNEL.mp4, never two the same."""
    if len(channels) <= 1:
        return path
    taken = set()
    for other in channels:
        suffix = safe_name(other)
        number = 2
        while suffix.lower() in taken:
            suffix = f"{safe_name(other)}-{number}"
            number += 1
        taken.add(suffix.lower())
        if other == channel:
            return path.with_name(f"{path.stem}-{suffix}{path.suffix}")
    raise ValueError(f"{channel!r} is not one of the channels {list(channels)}")


def safe_name(name: str) -> str:
    """The name without what file systems do not take."""
    return _NOT_IN_FILE_NAMES.sub("_", name).strip(" .")[:80] or "_"


def dated(path: Path, moment: float) -> Path:
    """The path with `{date}` and `{time}` in its name filled in: a run that starts every day finds a new name."""
    start = time.localtime(moment)
    name = path.name.replace("{date}", time.strftime("%Y-%m-%d", start))
    return path.with_name(name.replace("{time}", time.strftime("%H-%M-%S", start)))


def refuse_collisions(writing: Sequence[Path], reading: Sequence[Path]) -> None:
    """Nothing is written over a recording that is being read, nor twice into one file: not even with --overwrite."""
    for at, path in enumerate(writing):
        if any(_same(path, other) for other in reading):
            raise OutputError(f"{path} is the recording that is being read; choose another name for the output")
        if any(_same(path, other) for other in writing[:at]):
            raise OutputError(f"{path} is named for two outputs; choose another name for one of them")


def _same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


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
