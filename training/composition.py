"""Makes training scenes: pictures with labelled faces are turned, scaled and pasted, and their labels go with them.

The teacher has looked at each source picture once; here its labels are only carried along, which is exact and cheap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

import cv2
import numpy as np

from training.teacher_detector import LabelledFaces

POSITIVE_SCORE = 0.8
"""Teacher scores from here on are faces; what scores less is neither face nor background."""
MIN_FACE_PX = 9.0
MIN_VISIBLE = 0.5
"""Faces of which less is seen are ignored, not taught."""
MIRRORED_POINTS = (1, 0, 2, 4, 3)
"""A mirrored left eye is a right eye; the same for the corners of the mouth."""


@dataclass(frozen=True)
class SceneFaces:
    """Faces of a composed scene; `certain` says which are taught, the others are left out of the loss."""

    boxes: np.ndarray
    landmarks: np.ndarray
    certain: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


def carry_points(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points (… × 2) through an affine transform (2×3)."""
    return points @ transform[:, :2].T + transform[:, 2]


def carry_boxes(boxes: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Boxes of the turned ellipses inside the boxes: a head is round, so its box does not grow when it is turned."""
    centres = carry_points((boxes[:, :2] + boxes[:, 2:]) / 2, transform)
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    extents = np.sqrt((half[:, None, :] ** 2 * transform[None, :, :2] ** 2).sum(axis=2))
    return np.concatenate([centres - extents, centres + extents], axis=1)


def carry_faces(faces: LabelledFaces, transform: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Boxes and landmarks after the transform; mirrored faces get their sides swapped."""
    landmarks = carry_points(faces.landmarks, transform)
    if np.linalg.det(transform[:, :2]) < 0:
        landmarks = landmarks[:, MIRRORED_POINTS]
    return carry_boxes(faces.boxes, transform), landmarks


def placing_transform(
    anchor: np.ndarray, target: np.ndarray, scale: float, angle: float, mirrored: bool, narrowing: float = 1.0
) -> np.ndarray:
    """Carries the source point `anchor` to `target`: narrowed as by a turn of the head, mirrored, scaled, turned."""
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[cosine, -sine], [sine, cosine]])
    linear[:, 0] *= -narrowing if mirrored else narrowing
    return np.column_stack([linear, target - linear @ anchor])


def shrink_first(picture: np.ndarray, transform: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Averages the picture down before a strong reduction, which bilinear sampling alone would turn to grit."""
    scale = float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))
    if scale >= 0.6:
        return picture, transform
    height, width = picture.shape[:2]
    smaller = cv2.resize(
        picture, (max(int(width * scale), 2), max(int(height * scale), 2)), interpolation=cv2.INTER_AREA
    )
    ratio = np.array([width / smaller.shape[1], height / smaller.shape[0]])
    return smaller, np.column_stack([transform[:, :2] * ratio, transform[:, 2]])


@dataclass
class Canvas:
    """A scene in the making: pixels, which picture each pixel comes from, and the faces so far."""

    image: np.ndarray
    owner: np.ndarray = field(init=False)
    pictures: int = 0
    boxes: List[np.ndarray] = field(default_factory=list)
    landmarks: List[np.ndarray] = field(default_factory=list)
    scores: List[np.ndarray] = field(default_factory=list)
    owners: List[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owner = np.zeros(self.image.shape[:2], np.int16)

    def add_faces(self, faces: LabelledFaces, transform: np.ndarray) -> None:
        """Faces that are already in the pixels under the present picture number."""
        boxes, landmarks = carry_faces(faces, transform)
        self.boxes.append(boxes)
        self.landmarks.append(landmarks)
        self.scores.append(faces.scores)
        self.owners.append(np.full(len(faces), self.pictures))

    def paste(
        self, picture: np.ndarray, faces: LabelledFaces, transform: np.ndarray, outline: np.ndarray, feather: float
    ) -> None:
        """Lays the picture over the canvas where `outline` (K×2, source pixels) encloses it, with a soft edge."""
        side = self.image.shape[0]
        border = carry_points(outline, transform)
        reach = int(3 * feather) + 1
        left, top = np.clip(np.floor(border.min(axis=0)).astype(int) - reach, 0, side)
        right, bottom = np.clip(np.ceil(border.max(axis=0)).astype(int) + reach, 0, side)
        if right <= left or bottom <= top:
            return
        shift = np.array([left, top])
        small, local = shrink_first(picture, transform)
        local = np.column_stack([local[:, :2], local[:, 2] - shift])
        size = (int(right - left), int(bottom - top))
        pixels = cv2.warpAffine(small, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mask = np.zeros((size[1], size[0]), np.float32)
        cv2.fillPoly(mask, [np.round((border - shift) * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
        if feather > 0.3:
            mask = cv2.GaussianBlur(mask, (0, 0), feather)
        below = self.image[top:bottom, left:right]
        below[:] = below + (pixels.astype(np.float32) - below) * mask[..., None]
        self.pictures += 1
        self.owner[top:bottom, left:right][mask > 0.5] = self.pictures
        self.add_faces(faces, transform)

    def visible_shares(self, boxes: np.ndarray, owners: np.ndarray) -> np.ndarray:
        """How much of each box lies inside the canvas and shows the picture that the face is from."""
        side = self.image.shape[0]
        shares = np.zeros(len(boxes))
        for row, (box, owner) in enumerate(zip(boxes, owners)):
            left, top, right, bottom = np.round(np.clip(box, 0, side)).astype(int)
            area = max((box[2] - box[0]) * (box[3] - box[1]), 1.0)
            shares[row] = (self.owner[top:bottom, left:right] == owner).sum() / area
        return shares

    def faces(self) -> SceneFaces:
        """What the detector is to find here."""
        if not self.boxes:
            return SceneFaces(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0, bool))
        boxes, landmarks = np.concatenate(self.boxes), np.concatenate(self.landmarks)
        scores, owners = np.concatenate(self.scores), np.concatenate(self.owners)
        visible = self.visible_shares(boxes, owners)
        smallest = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) if len(boxes) else np.zeros(0)
        certain = (scores >= POSITIVE_SCORE) & (visible >= MIN_VISIBLE) & (smallest >= MIN_FACE_PX)
        kept = visible > 0.05
        return SceneFaces(boxes[kept], landmarks[kept], certain[kept])


def rectangle_outline(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], float)


def head_outline(box: np.ndarray, rng: np.random.Generator, picture: Optional[np.ndarray] = None) -> np.ndarray:
    """An ellipse about the head, so that the straight edge of a pasted picture does not give faces away."""
    centre = (box[:2] + box[2:]) / 2
    half = (box[2:] - box[:2]) / 2 * rng.uniform(1.15, 1.9)
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    points = centre + np.column_stack([np.cos(turn), np.sin(turn)]) * half
    if picture is not None:
        points = np.clip(points, 0, (picture.shape[1], picture.shape[0]))
    return points
