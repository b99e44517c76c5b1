"""The demo's video: a hand-held camera moves along a wall on which the portraits hang, under changing light.

The position of each face in each frame is known, so that the demo can check the names.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.errors import AppError
from app.tools.demo.portraits import Portrait
from app.types import FrameResult

WIDTH, HEIGHT, FPS = 1280, 720, 25
WALL_WIDTH, WALL_HEIGHT = 4000, 1000
FRAME_PX = 18
"""Width of the frame around each portrait."""

# Portrait number, left, top and width on the wall.
HANGING = (
    (0, 240, 160, 620),
    (1, 1010, 120, 540),
    (2, 1760, 130, 640),
    (1, 2560, 250, 380),
    (0, 3060, 200, 520),
)

# At each second, the point of the wall that the camera is aimed at, zoom, tilt in degrees, and light.
CAMERA_PATH = np.array(
    [
        # s, x, y, zoom, tilt, light
        (0.0, 560, 430, 1.30, -2.0, 0.90),
        (2.5, 860, 480, 1.00, 2.5, 1.00),
        (4.5, 1500, 470, 0.95, -1.5, 1.15),
        (6.5, 2060, 460, 1.25, 3.0, 0.80),
        (8.5, 2560, 500, 0.85, -2.0, 0.65),
        (10.5, 3020, 500, 0.90, 2.0, 1.05),
        (12.0, 3280, 440, 1.35, 0.0, 1.10),
    ]
)

TINTS = ((0.75, 0.85, 1.0), (0.95, 0.9, 0.8), (0.8, 1.0, 0.85))


@dataclass(frozen=True)
class ExpectedFace:
    """A face in one frame."""

    name: Optional[str]
    """None for the stranger, who must remain unknown."""
    x: float
    y: float


@dataclass(frozen=True)
class DemoVideo:
    """The video file, and the faces in each of its frames."""

    path: Path
    expected: Tuple[Tuple[ExpectedFace, ...], ...]


def make_video(path: Path, portraits: Sequence[Portrait], backdrops: Sequence[np.ndarray], fps: int = FPS) -> DemoVideo:
    """Writes the video, which is the same on every machine, apart from the encoder."""
    wall = _wall(portraits, backdrops)
    random = np.random.default_rng(7)
    coarse = random.integers(0, 10, (4, HEIGHT // 2, WIDTH // 2), dtype=np.uint8)
    sensor_noise = [cv2.cvtColor(cv2.resize(grain, (WIDTH, HEIGHT)), cv2.COLOR_GRAY2BGR) for grain in coarse]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise AppError(f"{path}: the demo's video cannot be written: is the folder writable, or the disk full?")
    expected: List[Tuple[ExpectedFace, ...]] = []
    try:
        for index in range(int(CAMERA_PATH[-1, 0] * fps)):
            view, light = _camera(index / fps)
            picture = cv2.warpAffine(wall, view, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
            lit = cv2.convertScaleAbs(picture, alpha=light)
            writer.write(cv2.add(lit, sensor_noise[index % len(sensor_noise)]))
            expected.append(_faces_in_view(view, portraits))
    finally:
        writer.release()
    return DemoVideo(path, tuple(expected))


def _wall(portraits: Sequence[Portrait], backdrops: Sequence[np.ndarray]) -> np.ndarray:
    panels = []
    panel_width = -(-WALL_WIDTH // len(backdrops))
    for texture, tint in zip(backdrops, TINTS):
        tiled = np.tile(texture, (WALL_HEIGHT // texture.shape[0] + 1, panel_width // texture.shape[1] + 1))
        grey = tiled[:WALL_HEIGHT, :panel_width, None].astype(np.float32)
        panels.append(grey * np.array(tint, np.float32) * 0.45 + 90)
    wall = np.concatenate(panels, axis=1)[:, :WALL_WIDTH].astype(np.uint8)
    for number, left, top, width in HANGING:
        image = portraits[number].image
        height = round(image.shape[0] * width / image.shape[1])
        corner, opposite = (left - FRAME_PX, top - FRAME_PX), (left + width + FRAME_PX, top + height + FRAME_PX)
        cv2.rectangle(wall, corner, opposite, (46, 58, 70), -1)
        wall[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return wall


def _camera(second: float) -> Tuple[np.ndarray, float]:
    """The transform from the wall to the picture at this moment, and the light."""
    x, y, zoom, tilt, light = (np.interp(second, CAMERA_PATH[:, 0], column) for column in CAMERA_PATH.T[1:])
    # Camera shake.
    x += 6 * np.sin(second * 5.1)
    y += 5 * np.sin(second * 3.7 + 1)
    view = cv2.getRotationMatrix2D((float(x), float(y)), float(tilt), float(zoom))
    view[:, 2] += (WIDTH / 2 - x, HEIGHT / 2 - y)
    return view, float(light)


def _faces_in_view(view: np.ndarray, portraits: Sequence[Portrait]) -> Tuple[ExpectedFace, ...]:
    faces = []
    for number, left, top, width in HANGING:
        portrait = portraits[number]
        height = portrait.image.shape[0] * width / portrait.image.shape[1]
        x, y = view @ (left + portrait.face[0] * width, top + portrait.face[1] * height, 1)
        if 0 <= x < WIDTH and 0 <= y < HEIGHT:
            faces.append(ExpectedFace(portrait.name if portrait.enrolled else None, float(x), float(y)))
    return tuple(faces)


class NameCheck:
    """An output of the run that compares the name of each face with what the video shows."""

    name = "the demo's check"

    def __init__(self, video: DemoVideo) -> None:
        self._expected = video.expected
        self._names: Dict[Optional[str], Counter[Optional[str]]] = {}

    def handle(self, result: FrameResult) -> None:
        for box, match in zip(result.faces.boxes, result.matches):
            for face in self._expected[result.frame.index]:
                if box[0] < face.x < box[2] and box[1] < face.y < box[3]:
                    self._names.setdefault(face.name, Counter())[match.name] += 1
                    break

    def close(self) -> None:
        """Does nothing: an output has to have it."""

    def mistakes(self) -> List[str]:
        """One sentence for each mistake."""
        found = []
        for person in sorted({face.name for faces in self._expected for face in faces}, key=str):
            names = self._names.get(person, Counter())
            for name, count in names.items():
                if name not in (person, None):
                    found.append(f"{person or 'the stranger'} was called {name} in {count} frames")
            if person is not None and names[person] == 0:
                found.append(f"{person} was never recognised")
            if person is None and not names:
                found.append("the stranger was never detected")
        return found

    def text(self) -> str:
        """For each person, the number of frames with the face, and with the right name."""
        lines = []
        for person, names in sorted(self._names.items(), key=lambda item: str(item[0])):
            verdict = "named" if person is not None else "left unknown"
            face = f"{person or 'the stranger'}: face found in {sum(names.values())} frames"
            lines.append(f"{face}, {verdict} in {names[person]}")
        return "\n".join(lines)
