"""Pictures of requests: judged by their header before any of their pixels is decoded."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Optional

import numpy as np

from app.capture.picture_headers import PictureHeader, read_header
from app.capture.pictures import decode_picture
from app.errors import SourceError

MAX_SIDES_RATIO = 100
MAX_SCANS = 100
"""Of a progressive JPEG: each costs as much time as decoding the whole picture."""


class BadPictureError(Exception):
    """Something that is no picture, is damaged, or is too large. The message is for the client."""


def picture_header(data: bytes, max_megapixels: float) -> PictureHeader:
    """Raises BadPictureError for what is not to be decoded."""
    header = read_header(data)
    if header is None:
        raise BadPictureError("not a supported picture (JPEG, PNG, WebP, BMP, TIFF, GIF)")
    width, height = header.width, header.height
    if width <= 0 or height <= 0:
        raise BadPictureError("the picture has no pixels")
    if width * height > max_megapixels * 1e6:
        raise BadPictureError(f"{width} x {height} pixels; the limit is {max_megapixels:g} megapixels")
    if max(width, height) > MAX_SIDES_RATIO * min(width, height):
        raise BadPictureError(f"{width} x {height} pixels: too narrow")
    if header.format == "JPEG" and data.count(b"\xff\xda") > MAX_SCANS:
        raise BadPictureError(f"a JPEG with more than {MAX_SCANS} scans")
    return header


def decode(data: bytes, max_pixels: Optional[int] = None) -> np.ndarray:
    """H x W x 3, uint8, BGR, upright, of a picture whose header is good. One of more than `max_pixels` is shrunk to a
    half or a quarter."""
    try:
        return decode_picture(data, "picture", max_pixels)
    except SourceError as error:
        raise BadPictureError(str(error).partition(": ")[2].rstrip(".")) from error


def read_below(root: Path, path: Path, max_bytes: int) -> bytes:
    """The file at `path` inside the folder `root`; nothing outside of it can be read, not even through a link."""
    inside = root.resolve()
    wanted = (inside / str(path).lstrip("/")).resolve()
    if inside not in wanted.parents:
        raise BadPictureError(f"File: '{path}' not found")
    try:
        descriptor = os.open(wanted, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
                raise BadPictureError(f"File: '{path}' is no file, or too large")
            return file.read()
    except OSError as error:
        raise BadPictureError(f"File: '{path}' not found") from error
