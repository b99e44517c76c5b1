"""Still pictures: found in a folder, and read as upright BGR with 8 bits per channel."""

from __future__ import annotations

import glob
import importlib.util
import io
import re
from pathlib import Path
from typing import List, Optional, Tuple, Union

import cv2
import numpy as np

from app.capture.picture_headers import UPRIGHT, read_header
from app.capture.uri import PICTURE_SUFFIXES
from app.errors import SourceError
from app.text import install_hint

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Of the photos of phones. HEIC is read with pillow-heif."""

MAX_PICTURE_PIXELS = 50_000_000
"""Larger pictures are refused before they are decoded, because the memory they need could end the program."""
MAX_JPEG_PIXELS = 200_000_000
"""Of those that may be shrunk: a JPEG can be decoded at a part of its size."""
_MAX_BYTES = 300_000_000
"""Of the file and what decoding it needs; the program with its networks needs as much again."""
_ROWS_AT_ONCE = 256
"""Conversions are done in parts, so that they need little more memory than the picture."""


def optional_formats() -> str:
    """Those that this installation can read: what was unreadable without a package may be readable now."""
    packages = {"gif": "PIL", "heic": "pillow_heif"}
    return " ".join(name for name, package in packages.items() if importlib.util.find_spec(package) is not None)


def read_picture(path: Union[str, Path]) -> np.ndarray:
    """H x W x 3, uint8, BGR, upright. Transparent parts become white; 16 bits become 8.

    Raises `SourceError` with the file's name if it is not a picture, damaged, incomplete or too large.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}.") from error
    return decode_picture(data, path)


def decode_picture(data: bytes, name: Union[str, Path], max_pixels: Optional[int] = None) -> np.ndarray:
    """The same from a file's bytes; errors mention it by `name`. A picture of more than `max_pixels` is shrunk
    to a half or a quarter."""
    if not data:
        raise SourceError(f"{name}: the file is empty.")
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        return _as_bgr8(_decode_heic(data, name), max_pixels)
    header = read_header(data)
    if header is None:
        raise SourceError(f"{name}: not a supported picture (JPEG, PNG, WebP, BMP, TIFF, PPM, GIF, HEIC).")
    pixels = header.width * header.height
    may_be_reduced = header.format == "JPEG" and not header.progressive and max_pixels is not None
    limit = min(MAX_PICTURE_PIXELS, max(0, _MAX_BYTES - len(data)) // header.bytes_per_pixel)
    _check_size(header.width, header.height, name, MAX_JPEG_PIXELS if may_be_reduced else limit)
    if not header.complete:
        raise SourceError(f"{name}: the {header.format} file is incomplete. Copy it again.")
    if header.format == "GIF":
        return _as_bgr8(_decode_gif(data, name), max_pixels)
    # IMREAD_UNCHANGED ignores the orientation in every version of OpenCV. TIFF is the exception: libtiff rotates it.
    flags = cv2.IMREAD_UNCHANGED if header.format != "TIFF" else cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    if may_be_reduced and max_pixels is not None and pixels > max_pixels:
        half, quarter = cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_COLOR_4
        flags = (half if pixels <= 4 * max_pixels else quarter) | cv2.IMREAD_IGNORE_ORIENTATION
    reason = "the file is damaged"
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        image, reason = None, str(error).strip()
    if image is None:
        raise SourceError(f"{name}: the {header.format} picture cannot be decoded: {reason}.")
    return _upright(_as_bgr8(image, max_pixels), header.orientation)


def _check_size(width: int, height: int, name: Union[str, Path], limit: int = MAX_PICTURE_PIXELS) -> None:
    if width * height > limit:
        raise SourceError(
            f"{name}: too large, {width} x {height} pixels; the limit is {limit // 1_000_000} megapixels. "
            "Scale it down first."
        )


def _decode_heic(data: bytes, name: Union[str, Path]) -> np.ndarray:
    """BGR or BGRA, upright: rotation is part of the format."""
    try:
        import pillow_heif
    except ImportError as error:
        raise SourceError(f"{name}: HEIC pictures need pillow-heif: {install_hint('pillow-heif')}") from error
    try:
        image = pillow_heif.open_heif(data, bgr_mode=True)
        width, height = image.size
        _check_size(width, height, name)
        return np.asarray(image)
    except (ValueError, EOFError, OSError, SyntaxError, RuntimeError, IndexError) as error:
        raise SourceError(f"{name}: the HEIC picture cannot be decoded: {error}.") from error


def _decode_gif(data: bytes, name: Union[str, Path]) -> np.ndarray:
    """The first picture of an animation, as BGRA. Not every OpenCV reads GIF."""
    try:
        from PIL import Image
    except ImportError as error:
        raise SourceError(f"{name}: GIF pictures need pillow: {install_hint('pillow')}") from error
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_size(image.width, image.height, name)
            return np.asarray(image.convert("RGBA"))[:, :, [2, 1, 0, 3]]
    except (ValueError, EOFError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise SourceError(f"{name}: the GIF picture cannot be decoded: {error}.") from error


def picture_files(where: Union[str, Path]) -> List[Path]:
    """The pictures of a folder (not of its subfolders), those that match a pattern, or the one picture.

    In natural order: `2.jpg` before `10.jpg`. Hidden files are skipped.
    """
    path = Path(where)
    if path.is_dir():
        found = [entry for entry in path.iterdir() if _is_picture(entry)]
        if not found:
            raise SourceError(f"{path}: no pictures in this folder. Supported: {', '.join(PICTURE_SUFFIXES)}.")
    elif path.is_file():
        found = [path]  # named explicitly, so its content decides, not its suffix
    else:
        matches = glob.glob(str(where), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        found = [Path(entry) for entry in matches if _is_picture(Path(entry))]
        if not found:
            raise SourceError(f"{where}: no such folder or picture, and no picture matches it as a pattern.")
    return sorted(found, key=_natural_order)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _natural_order(path: Path) -> List[Tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", str(path).casefold())
    return [(0, int(part), part) if part.isdigit() and part.isascii() else (1, 0, part) for part in parts]


def _as_bgr8(image: np.ndarray, max_pixels: Optional[int]) -> np.ndarray:
    """Three channels, eight bits; halved if there are more than `max_pixels`."""
    height, width = image.shape[:2]
    step = 1 if max_pixels is None or height * width <= max_pixels else 2
    if step == 1 and image.dtype == np.uint8 and image.shape[2:] == (3,):
        return np.ascontiguousarray(image)
    converted = np.empty((max(1, height // step), max(1, width // step), 3), np.uint8)
    for row in range(0, len(converted), _ROWS_AT_ONCE):
        part = converted[row : row + _ROWS_AT_ONCE]
        rows = _rows_as_bgr8(image[row * step : (row + len(part)) * step])
        part[:] = rows if step == 1 else cv2.resize(rows, (len(part[0]), len(part)), interpolation=cv2.INTER_AREA)
    return converted


def _rows_as_bgr8(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        scale = 255.0 if image.dtype.kind == "f" else 255.0 / np.iinfo(image.dtype).max
        image = np.clip(np.nan_to_num(image.astype(np.float32)) * scale, 0, 255).round().astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    if image.shape[2] == 4:
        image, alpha = image[:, :, :3], image[:, :, 3:].astype(np.uint16)
        if alpha.min() < 255:
            # Transparent pixels are often black or garbage, and cut-out faces are meant for a white background.
            image = ((image * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return image


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes the orientation of the camera, by EXIF's eight cases: mirrored, rotated, or both."""
    if orientation == UPRIGHT:
        return image
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
