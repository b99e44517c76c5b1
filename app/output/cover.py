"""Hides faces before a result reaches any output: blurred, pixelated, or under a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterator, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from app.errors import OutputError
from app.settings import OutputSettings
from app.types import FrameResult, Match, Reason, Track

ALL = "all"
STRANGERS = "strangers"

_WIDTH, _HEIGHT = 1.4, 1.5
"""Of the ellipse over a face, in sides of its box, which leaves out the hair and the ears."""
_BLOCKS = 7
"""Pixels that are left across the ellipse: too few for a face to be recognized, by people or by a network."""
_HIDDEN_MARGIN = 0.3
"""By how much the box of a face that was not found in this frame grows on each side."""
_MAX_PICTURE_PX = 1024


class Region(NamedTuple):
    """The ellipse that covers a face, in pixels of the frame."""

    center: Tuple[float, float]
    size: Tuple[float, float]
    """Width and height before it is turned."""
    angle_deg: float
    """Positive: clockwise, as the viewer sees it."""


@dataclass(frozen=True, eq=False)
class FaceCover:
    """Covers the faces of some people in every frame."""

    who: str
    """STRANGERS, ALL, or the name of a person."""
    pixelate: bool = False
    picture: Optional[np.ndarray] = None
    """H x W x 4, uint8: drawn over each face, turned and scaled to it. Where it is transparent, the face is blurred."""

    @classmethod
    def from_settings(cls, settings: OutputSettings) -> Optional[FaceCover]:
        """None if no faces are to be covered. Raises OutputError if the picture cannot be read."""
        if settings.cover is None:
            return None
        picture = None if settings.cover_with is None else _read_picture(settings.cover_with)
        return cls(settings.cover, pixelate=settings.cover_style == "pixelate", picture=picture)

    def apply(self, result: FrameResult) -> FrameResult:
        """The result with covered faces in a copy of its frame; the same result if there is nothing to cover."""
        regions = list(self._regions(result))
        if not regions:
            return result
        image = result.frame.image.copy()
        for region in regions:
            _coarsen(image, region, cv2.INTER_NEAREST if self.pixelate else cv2.INTER_LINEAR)
            if self.picture is not None:
                _draw_picture(image, self.picture, region)
        return replace(result, frame=replace(result.frame, image=image))

    def _regions(self, result: FrameResult) -> Iterator[Region]:
        faces = result.faces
        for box, landmarks, match in zip(faces.boxes, faces.landmarks, result.matches):
            if must_cover(match, self.who):
                yield region_of(box, landmarks)
        for track in result.tracks:
            if track.id not in result.track_ids and must_cover(track.match, self.who):
                yield region_of(hidden_box(track))


def blur_face(image: np.ndarray, box: np.ndarray, landmarks: np.ndarray) -> None:
    """Blurs a face in the picture itself."""
    _coarsen(image, region_of(box, landmarks), cv2.INTER_LINEAR)


def must_cover(match: Match, who: str) -> bool:
    """Whether a face is covered.

    In doubt it is: a face that is not compared may be anyone, and an unknown face whose nearest person is `who`, or one
    of two between whom it is not decided, may be that person.
    """
    if who == ALL or (match.name is None and who == STRANGERS):
        return True
    if match.name is None:
        is_between_two = match.reason in (Reason.AMBIGUOUS, Reason.VOTES_DISAGREE)
        possible = (match.nearest, match.runner_up) if is_between_two else (match.nearest,)
        return not match.reason.compared or match.reason is Reason.NO_ONE_ENROLLED or who in possible
    return match.name == who


def hidden_box(track: Track) -> np.ndarray:
    """Where the face of a track may be that was not found in this frame: from its last to its expected place."""
    boxes = np.stack([track.box, track.box if track.expected_box is None else track.expected_box])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = _HIDDEN_MARGIN * (track.box[2:] - track.box[:2])
    return np.concatenate([low - margin, high + margin])


def region_of(box: np.ndarray, landmarks: Optional[np.ndarray] = None) -> Region:
    """Upright without landmarks, or else turned like the line from between the eyes to the middle of the mouth."""
    (x1, y1, x2, y2), angle = box.tolist(), 0.0
    if landmarks is not None:
        across, down = (landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)).tolist()
        if np.isfinite((across, down)).all():
            angle = float(np.degrees(np.arctan2(-across, down)))
    return Region(((x1 + x2) / 2, (y1 + y2) / 2), (_WIDTH * (x2 - x1), _HEIGHT * (y2 - y1)), angle)


def _coarsen(image: np.ndarray, region: Region, interpolation: int) -> None:
    """Leaves only a few large blocks of the ellipse, smoothed or not."""
    reach = np.hypot(*region.size) / 2
    low = np.floor(np.array(region.center) - reach).astype(int).clip(0)
    high = np.ceil(np.array(region.center) + reach).astype(int).clip(0)
    part = image[low[1] : high[1], low[0] : high[0]]
    if not part.size:
        return
    block = max(1.0, min(region.size) / _BLOCKS)
    height, width = part.shape[:2]
    few = (max(1, round(width / block)), max(1, round(height / block)))
    coarse = cv2.resize(
        cv2.resize(part, few, interpolation=cv2.INTER_AREA), (width, height), interpolation=interpolation
    )
    mask = np.zeros((height, width), np.uint8)
    center = (region.center[0] - float(low[0]), region.center[1] - float(low[1]))
    cv2.ellipse(mask, (center, region.size, region.angle_deg), 255, -1)
    cv2.copyTo(coarse, mask, part)


def _draw_picture(image: np.ndarray, picture: np.ndarray, region: Region) -> None:
    """The picture over the ellipse, as large as is needed to fill its width and height."""
    height, width = picture.shape[:2]
    scale = max(region.size[0] / width, region.size[1] / height)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    # OpenCV turns anticlockwise.
    transform = cv2.getRotationMatrix2D((width / 2, height / 2), -region.angle_deg, 1.0)
    transform[:, 2] += np.array(region.center) - (width / 2, height / 2)
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ transform.T
    low = np.floor(corners.min(axis=0)).astype(int).clip(0)
    high = np.ceil(corners.max(axis=0)).astype(int).clip(0)
    part = image[low[1] : high[1], low[0] : high[0]]
    if not part.size:
        return
    transform[:, 2] -= low
    drawn = cv2.warpAffine(picture, transform, (part.shape[1], part.shape[0]))
    alpha = drawn[..., 3:].astype(np.float32) / 255
    part[:] = np.rint(drawn[..., :3] * alpha + part * (1 - alpha))


def _read_picture(path: Path) -> np.ndarray:
    """BGRA; opaque if the file has no transparency. A large picture is shrunk."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise OutputError(f"{path}: the picture to cover faces with cannot be read: {error.strerror}") from error
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if picture is None or picture.dtype != np.uint8:
        raise OutputError(f"{path}: this is not a picture with 8 bits per colour; a PNG with transparency works best")
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGRA)
    elif picture.shape[2] == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
    scale = _MAX_PICTURE_PX / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return picture
