"""The size, orientation and completeness of a picture file, read from its headers before it is decoded.

Written by hand because OpenCV cannot report the size without decoding, because OpenCV 4.1 honours the EXIF orientation
only in JPEG, and because libjpeg silently fills the missing part of a truncated file with grey.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Iterator, List, Optional, Tuple

UPRIGHT = 1
_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""Not a stuffed zero, a restart or a fill byte, which the data of the pixels is full of."""
_ORIENTATION_TAG = 0x0112
_BITS_TAG, _SAMPLES_TAG = 258, 277


@dataclass(frozen=True)
class PictureHeader:
    """The facts about a picture that are known before it is decoded."""

    format: str
    width: int
    height: int
    orientation: int = UPRIGHT
    """EXIF's 1..8; 1 also if the decoder itself rotates the picture (TIFF)."""
    complete: bool = True
    """False if the file ends before the picture does."""
    bytes_per_pixel: int = 7
    """What decoding and converting it needs, measured with OpenCV."""
    progressive: bool = False
    """Whether a JPEG is complete only after several passes over all of it, which are kept in memory."""

    @property
    def upright_size(self) -> Tuple[int, int]:
        """Width and height as the picture is shown."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_header(data: bytes) -> Optional[PictureHeader]:
    """The header of a JPEG, PNG, WebP, BMP, TIFF, PPM, PGM or GIF file; None for anything else or a garbled header."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"BM"):
            (header_length,) = struct.unpack_from("<I", data, 14)
            width, height = struct.unpack_from("<HH" if header_length == 12 else "<ii", data, 18)
            return PictureHeader("BMP", width, abs(height))
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return PictureHeader("GIF", *struct.unpack_from("<HH", data, 6))
        if data[:4] in (b"II*\0", b"MM\0*"):
            widths, heights = ([value for tag, value in _tiff_tags(data) if tag == size] for size in (256, 257))
            # A tag that is repeated may be read in two ways, and one of them could fill the memory.
            if not len(widths) == len(heights) == 1:
                return None
            return PictureHeader("TIFF", widths[0], heights[0], bytes_per_pixel=_tiff_bytes_per_pixel(data))
        netpbm = re.match(rb"P[2356](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s", data)
        if netpbm is not None:
            return PictureHeader("PNM", int(netpbm[1]), int(netpbm[2]), bytes_per_pixel=11)
    except (struct.error, IndexError):
        return None
    return None


def _jpeg(data: bytes) -> Optional[PictureHeader]:
    size: Optional[Tuple[int, int]] = None
    orientation = UPRIGHT
    complete = progressive = False
    for marker, start, end in _jpeg_segments(data):
        if marker == 0xD9:
            complete = True
        elif marker in _JPEG_SIZE_MARKERS and size is None:
            height, width = struct.unpack_from(">HH", data, start + 1)
            size = (width, height)
            progressive = marker & 0x03 == 0x02
        elif marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            orientation = _exif_orientation(data[start + 6 : end])
    return (
        None
        if size is None
        else PictureHeader("JPEG", *size, orientation, complete, 9 if progressive else 5, progressive)
    )


def _jpeg_segments(data: bytes) -> Iterator[Tuple[int, int, int]]:
    """Marker, start and end of each segment up to the end of the picture. Thumbnails inside a segment are skipped."""
    at = 2
    while True:
        found = _JPEG_MARKER.search(data, at)
        if found is None:
            return
        at, marker = found.start(), data[found.start() + 1]
        if marker == 0xD9:
            yield marker, at + 2, at + 2
            return
        if at + 4 > len(data):
            return
        end = at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        yield marker, at + 4, end
        at = end


def _png(data: bytes) -> Optional[PictureHeader]:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    orientation, complete, at = UPRIGHT, False, 8
    while at + 12 <= len(data) and not complete:
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind == b"eXIf":
            orientation = _exif_orientation(data[at + 8 : at + 8 + length])
        complete = kind == b"IEND"
        at += 12 + length
    has_16_bits = data[24] == 16
    return PictureHeader("PNG", width, height, orientation, complete, bytes_per_pixel=15 if has_16_bits else 7)


def _webp(data: bytes) -> Optional[PictureHeader]:
    size: Optional[Tuple[int, int]] = None
    orientation = UPRIGHT
    end = 8 + int(struct.unpack_from("<I", data, 4)[0])
    at = 12
    while at + 8 <= min(end, len(data)):
        kind, length = data[at : at + 4], int(struct.unpack_from("<I", data, at + 4)[0])
        body = at + 8
        if kind == b"EXIF":
            exif = data[body : body + length]
            orientation = _exif_orientation(exif[6:] if exif.startswith(b"Exif\0\0") else exif)
        elif size is None and kind == b"VP8X":
            low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, body + 4)
            size = (1 + low_width + (high_width << 16), 1 + low_height + (high_height << 16))
        elif size is None and kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", data, body + 6)
            size = (width & 0x3FFF, height & 0x3FFF)
        elif size is None and kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", data, body + 1)
            size = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        at = body + length + length % 2
    return None if size is None else PictureHeader("WebP", *size, orientation, len(data) >= end)


def _exif_orientation(exif: bytes) -> int:
    """EXIF is a small TIFF. If it is invalid the picture counts as upright."""
    try:
        found = dict(_tiff_tags(exif)).get(_ORIENTATION_TAG, UPRIGHT)
    except struct.error:
        return UPRIGHT
    return found if 1 <= found <= 8 else UPRIGHT


def _tiff_bytes_per_pixel(data: bytes) -> int:
    """21 if a sample has more than 16 bits, as numbers with a point have, or if that is not certain."""
    samples = [value for tag, value in _tiff_tags(data) if tag == _SAMPLES_TAG]
    bits = _tiff_bits(data)
    return 21 if len(bits) != 1 or len(samples) > 1 or bits[0] > 16 else 11 if bits[0] > 8 else 7


def _tiff_bits(data: bytes) -> List[int]:
    """What the tags for the bits of a sample say; they have a value per channel, of which the first one counts."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    bits = []
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, amount = struct.unpack_from(order + "HHI", data, entry)
        if tag == _BITS_TAG and kind == 3:
            at = entry + 8 if amount <= 2 else int(struct.unpack_from(order + "I", data, entry + 8)[0])
            bits.append(int(struct.unpack_from(order + "H", data, at)[0]))
    return bits


def _tiff_tags(data: bytes) -> Iterator[Tuple[int, int]]:
    """Tag and value of the integers in the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, amount = struct.unpack_from(order + "HHI", data, entry)
        if amount == 1 and kind in (3, 4):
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
            yield tag, value
