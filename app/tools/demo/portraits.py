"""The demo's three people: their portraits, the photos with which two are enrolled, and pictures of many faces.

The pictures come with PyPI packages: those of Eileen Collins and Grace Hopper are in the public domain, the stranger is
the photographer of scikit-image's sample picture `camera`. The enrolment photos differ from what the video shows: they
are cropped and mirrored, or rotated and brighter.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence, Tuple

import cv2
import numpy as np

from app.errors import AppError
from app.output.video_encoders import open_video_writer
from app.tools.machine import require_packages

CROWD_WIDTH, CROWD_HEIGHT, CROWD_FPS = 1280, 720, 25
COLUMNS, ROWS = 4, 2


@dataclass(frozen=True)
class Portrait:
    """One person's picture."""

    name: str
    image: np.ndarray
    face: Tuple[float, float]
    """Centre of the face, as a share of width and height."""
    enrolled: bool


def load_portraits() -> Tuple[Portrait, Portrait, Portrait]:
    """Collins, Hopper and the stranger."""
    require_packages("the demo", "scikit-image", "matplotlib")
    import matplotlib

    data: Any = importlib.import_module("skimage.data")
    collins = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    stranger = cv2.cvtColor(data.camera(), cv2.COLOR_GRAY2BGR)
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    hopper = cv2.imread(str(path))
    if hopper is None:
        raise AppError(f"{path}: this sample picture of matplotlib cannot be read")
    return (
        Portrait("Eileen Collins", collins, (0.44, 0.23), enrolled=True),
        Portrait("Grace Hopper", hopper, (0.53, 0.36), enrolled=True),
        Portrait("a stranger", stranger, (0.44, 0.30), enrolled=False),
    )


def load_backdrops() -> Tuple[np.ndarray, ...]:
    """Textures for the walls on which the portraits hang."""
    data: Any = importlib.import_module("skimage.data")
    return tuple(np.asarray(picture) for picture in (data.brick(), data.gravel(), data.grass()))


def write_enrolment_photos(folder: Path, portraits: Sequence[Portrait]) -> None:
    """Two photos of each enrolled person, `NAME_1.jpg` and `NAME_2.jpg`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for portrait in portraits:
            if not portrait.enrolled:
                continue
            height, width = portrait.image.shape[:2]
            upper = portrait.image[: int(height * 0.8), int(width * 0.08) : int(width * 0.92)]
            mirrored = np.ascontiguousarray(upper[:, ::-1])
            centre = (portrait.face[0] * width, portrait.face[1] * height)
            rotation = cv2.getRotationMatrix2D(centre, 7, 0.95)
            rotated = cv2.warpAffine(portrait.image, rotation, (width, height), borderMode=cv2.BORDER_REPLICATE)
            brighter = cv2.convertScaleAbs(rotated, alpha=1.12, beta=8)
            for number, photo in enumerate((mirrored, brighter), 1):
                encoded = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
                (folder / f"{portrait.name}_{number}.jpg").write_bytes(encoded.tobytes())
    except OSError as error:
        raise AppError(f"the demo cannot write to {folder}: {error.strerror}; run it in a folder of yours") from error


def write_crowd_video(path: Path, portraits: Sequence[Portrait], faces: int, frames: int) -> None:
    """A video of `faces` portraits in a grid, each moving a little, to measure speed without a recording."""
    heads = heads_of(portraits)
    video = open_video_writer(path, (CROWD_WIDTH, CROWD_HEIGHT), 23, CROWD_FPS)
    try:
        for index in range(frames):
            video.write(_crowd(heads, faces, index), index / CROWD_FPS)
    finally:
        video.close(1 / CROWD_FPS)


def crowd_picture(portraits: Sequence[Portrait], faces: int) -> np.ndarray:
    """The first frame of the crowd video."""
    return _crowd(heads_of(portraits), faces, 0)


def _crowd(heads: Sequence[np.ndarray], faces: int, index: int) -> np.ndarray:
    cell_height, cell_width = heads[0].shape[:2]
    picture = np.full((CROWD_HEIGHT, CROWD_WIDTH, 3), 96, np.uint8)
    for cell in range(faces):
        left, top = cell % COLUMNS * cell_width, cell // COLUMNS * cell_height
        sway = np.array([[1, 0, 8 * np.sin(index / 9 + cell)], [0, 1, 6 * np.cos(index / 7 + 2 * cell)]])
        head = heads[cell % len(heads)]
        head = cv2.warpAffine(head, sway, (cell_width, cell_height), borderMode=cv2.BORDER_REFLECT)
        picture[top : top + cell_height, left : left + cell_width] = head
    return picture


def heads_of(portraits: Sequence[Portrait]) -> Sequence[np.ndarray]:
    """The part of each portrait around the face, in the size of a cell of the grid."""
    width, height = CROWD_WIDTH // COLUMNS, CROWD_HEIGHT // ROWS
    heads = []
    for portrait in portraits:
        full_height, full_width = portrait.image.shape[:2]
        x, y = portrait.face[0] * full_width, portrait.face[1] * full_height
        half = min(x, y, full_width - x, 0.27 * full_width)
        left, right = round(x - half), round(x + half)
        top, bottom = max(0, round(y - half * height / width)), round(y + half * height / width)
        head = portrait.image[top:bottom, left:right]
        heads.append(np.asarray(cv2.resize(head, (width, height), interpolation=cv2.INTER_AREA)))
    return heads
