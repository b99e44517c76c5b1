"""Names of files, and whether they may be written."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Sequence

from app.errors import OutputError

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
