"""Single pictures on request."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from app.errors import OutputError
from app.output.paths import safe_name

_JPEG_QUALITY = 95


def save_snapshot(image: np.ndarray, folder: Path, channel: str, moment: float, suffix: str = ".jpg") -> Path:
    """Writes the picture as FOLDER/CHANNEL_2026-11-21T080040.123Z.jpg (or .png) and says where it is.

    Never replaces a file: a second one of the same moment gets a number. `moment` is seconds since the epoch.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    # Encoding and writing are two steps because OpenCV's own writing fails on some systems' Unicode paths.
    encoded, content = cv2.imencode(suffix, image, options)
    if not encoded:
        raise OutputError(f"OpenCV cannot make a {suffix} picture of {image.shape}")
    stem = f"{safe_name(channel)}_{_file_time(moment)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write_anew(folder, stem, suffix, content.tobytes())
    except OSError as error:
        raise OutputError(f"cannot save the picture in {folder}: {error.strerror}") from error


def _write_anew(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    number = 1
    while True:
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        try:
            with path.open("xb") as file:
                file.write(content)
            return path
        except FileExistsError:
            number += 1


def _file_time(moment: float) -> str:
    """UTC, without the colons that some file systems refuse."""
    utc = datetime.fromtimestamp(moment, timezone.utc)
    return f"{utc:%Y-%m-%dT%H%M%S}.{utc.microsecond // 1000:03d}Z"
