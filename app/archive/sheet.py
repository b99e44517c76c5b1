"""The groups of an archive as a page: who is in there, with some of the faces."""

from __future__ import annotations

import base64
import os
import re
from html import escape
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.archive.inputs import VIDEO_SUFFIXES
from app.archive.job import shown_items
from app.archive.rows import MAX_PIXELS, shown, shrunk_by
from app.archive.video import frame_at
from app.capture.pictures import decode_picture
from app.errors import SourceError
from app.text import counted, source_time

FACE_PX = 112
MARGIN = 0.35
"""Around a face, in sides of its box."""
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid #8884; padding: .8rem 0; }
h2 { margin: 0; font-size: 1.1rem; } .muted { opacity: .7; }
.faces { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: .5rem; }
figure { width: 112px; margin: 0; } figure img { border-radius: 6px; display: block; }
figure .none { height: 112px; background: #8882; border-radius: 6px; }
figcaption { font-size: 11px; overflow-wrap: anywhere; }
"""


class Shown(NamedTuple):
    """One face on the page."""

    file: str
    position_s: Optional[float]
    box: Tuple[float, float, float, float]


class Group(NamedTuple):
    """One person, probably."""

    title: str
    faces: int
    pictures: int
    moments: int
    """Of videos."""
    shown: Sequence[Shown]


def page(root: Path, groups: Sequence[Group], summary: str) -> str:
    """One HTML file with all pictures in it, no scripts, nothing from elsewhere. Faces are read from `root`."""
    images = _cut_out(root, [face for group in groups for face in group.shown])
    sections = [
        f"<section><h2>{escape(group.title)}</h2><div class='muted'>{counted(group.faces, 'face')} in "
        f"{shown_items(group.pictures, group.moments)}</div><div class='faces'>"
        f"{''.join(_figure(face, images.get(face)) for face in group.shown)}</div></section>"
        for group in groups
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><title>Who is in there</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{STYLE}</style></head><body><h1>Who is in there</h1>",
            f"<p class='muted'>{escape(shown(str(root)))}: {escape(summary)}</p>",
            *sections,
            "</body></html>",
            "",
        ]
    )


def place(file: str, position_s: Optional[float]) -> str:
    """`holiday.mp4 at 1:02.0`."""
    return file if position_s is None else f"{file} at {source_time(position_s, live=False)}"


def _figure(face: Shown, data: Optional[bytes]) -> str:
    if data is None:
        image = "<div class='none'></div>"
    else:
        image = f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}'>"
    return f"<figure>{image}<figcaption>{escape(place(face.file, face.position_s))}</figcaption></figure>"


def _cut_out(root: Path, faces: Sequence[Shown]) -> Dict[Shown, bytes]:
    """A JPEG of each face whose picture can be read; each picture is read once."""
    found: Dict[Shown, bytes] = {}
    of_picture: Dict[Tuple[str, Optional[float]], List[Shown]] = {}
    for face in faces:
        of_picture.setdefault((face.file, face.position_s), []).append(face)
    for (file, position_s), wanted in of_picture.items():
        try:
            image, scale = _image(_path(root, file), position_s)
        except (SourceError, OSError):
            continue
        for face in wanted:
            found[face] = _jpeg(image, np.array(face.box) * scale)
    return found


def _path(root: Path, file: str) -> Path:
    """Of a file as its row names it, where bytes that are not text are written as `\\xff`."""
    path = root / file
    if path.exists():
        return path
    name = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), file.encode())
    return root / os.fsdecode(name)


def _image(path: Path, position_s: Optional[float]) -> Tuple[np.ndarray, float]:
    """The picture, and by how much it is smaller than its file says."""
    if position_s is not None and path.suffix.lower() in VIDEO_SUFFIXES:
        return frame_at(path, position_s), 1.0
    data = path.read_bytes()
    image = decode_picture(data, path, MAX_PIXELS)
    return image, 1.0 / shrunk_by(data, image)


def _jpeg(image: np.ndarray, box: np.ndarray) -> bytes:
    height, width = image.shape[:2]
    x, y = (box[:2] + box[2:]) / 2
    half = max(1.0, (0.5 + MARGIN) * float(max(box[2:] - box[:2])))
    left, top = max(0, int(x - half)), max(0, int(y - half))
    cut = image[top : max(top + 1, min(height, int(y + half))), left : max(left + 1, min(width, int(x + half)))]
    resized = cv2.resize(cut, (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", resized, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes())
