"""Names of output files, whether they may be written, and snapshots."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Dict, Sequence

import cv2
import numpy as np

from app.errors import OutputError

_NOT_IN_FILE_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')
_JPEG_QUALITY = 95


def channel_path(path: Path, channel: str, channels: Sequence[str]) -> Path:
    """The video of a channel: OUT.mp4 if it is the only one, else OUT-CHANNEL.mp4; different for every channel."""
    return path if len(channels) <= 1 else path.with_name(f"{path.stem}-{file_names(channels)[channel]}{path.suffix}")


def file_names(channels: Sequence[str]) -> Dict[str, str]:
    """By channel: a part of a file's name, different for every channel."""
    names: Dict[str, str] = {}
    taken = set()
    for channel in channels:
        name, number = safe_name(channel), 2
        while name.lower() in taken:
            name, number = f"{safe_name(channel)}-{number}", number + 1
        taken.add(name.lower())
        names[channel] = name
    return names


def safe_name(name: str) -> str:
    """The name without characters that file systems do not allow."""
    return _NOT_IN_FILE_NAMES.sub("_", name).strip(" .")[:80] or "_"


def refuse_collisions(writing: Sequence[Path], reading: Sequence[Path]) -> None:
    """Refuses to overwrite a recording that is being read, and to write one file twice, even with --overwrite."""
    for at, path in enumerate(writing):
        if any(_same(path, other) for other in reading):
            raise OutputError(f"{path} is an input of this run; choose another name for the output")
        if any(_same(path, other) for other in writing[:at]):
            raise OutputError(f"{path} is the name of two outputs; choose another name for one of them")


def _same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


def save_snapshot(image: np.ndarray, folder: Path, channel: str, moment: float, suffix: str = ".jpg") -> Path:
    """Writes the picture as FOLDER/CHANNEL_2026-11-21T080040.123Z.jpg (or .png) and returns the path.

    Never replaces a file: a second one with the same time gets a number. `moment` is seconds since the epoch.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    # Two steps, because cv2.imwrite fails with Unicode paths on some systems.
    encoded, content = cv2.imencode(suffix, image, options)
    if not encoded:
        raise OutputError(f"OpenCV cannot encode a {suffix} picture of the shape {image.shape}")
    # UTC, without the colons that some file systems do not allow.
    utc = datetime.fromtimestamp(moment, timezone.utc)
    stem = f"{safe_name(channel)}_{utc:%Y-%m-%dT%H%M%S}.{utc.microsecond // 1000:03d}Z"
    number = 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
            try:
                with path.open("xb") as file:
                    file.write(content.tobytes())
                return path
            except FileExistsError:
                number += 1
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise OutputError(f"cannot save a picture in {folder}: {error.strerror}") from error
