"""Are the faces of a picture where they are expected? Compares boxes with noses, as CompreFace's tools do.

A nose is found if it is inside a box. A box stands for one nose, so two boxes around one face are an error, and so is
one box around two faces.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from app.errors import SourceError
from app.tools.evaluation.coco import read_coco
from app.tools.evaluation.labels import LabelledPicture, read_text_labels
from app.tools.evaluation.pairs import read_lines

CSV_HEADER = ["picture", "x", "y"]

NOSE = 2
"""Index of the tip of the nose in five landmarks."""


@dataclass(frozen=True)
class Expected:
    """The faces of one picture, in its own pixels."""

    noses: np.ndarray
    """N x 2."""
    ignored: np.ndarray
    """M x 4: boxes in which other faces may be found."""


@dataclass(frozen=True)
class Verdict:
    """What differs from the annotations."""

    missed: Tuple[int, ...]
    """Noses without a box."""
    false: Tuple[int, ...]
    """Boxes without a nose of their own."""

    @property
    def errors(self) -> int:
        return len(self.missed) + len(self.false)


def compare(boxes: np.ndarray, expected: Expected) -> Verdict:
    """Gives each nose a box that contains it, so that as few as possible remain without."""
    points = expected.noses[:, None]
    inside = np.asarray(((points >= boxes[None, :, :2]) & (points <= boxes[None, :, 2:])).all(axis=2))
    nose_of: Dict[int, int] = {}

    def finds_box(nose: int, tried: List[int]) -> bool:
        for box in np.flatnonzero(inside[nose]).tolist():
            if box not in tried:
                tried.append(box)
                if box not in nose_of or finds_box(nose_of[box], tried):
                    nose_of[box] = nose
                    return True
        return False

    missed = tuple(nose for nose in range(len(expected.noses)) if not finds_box(nose, []))
    middles = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    within = ((middles >= expected.ignored[None, :, :2]) & (middles <= expected.ignored[None, :, 2:])).all(axis=2)
    allowed = set(np.flatnonzero(within.any(axis=1)).tolist())
    return Verdict(missed, tuple(box for box in range(len(boxes)) if box not in nose_of and box not in allowed))


def read_expected(path: Path) -> Dict[str, Expected]:
    """The annotations of each picture by its path: noses in CSV, or labels in a format of `evaluate detection`.

    The nose of a label is its landmark, or the middle of a box or ellipse without landmarks.
    """
    if path.suffix.lower() == ".csv":
        return _read_noses(path)
    read = read_coco if path.suffix.lower() == ".json" else read_text_labels
    return {picture.file: _expected(picture) for picture in read(path)}


def expected_of(path: Path, expected: Dict[str, Expected]) -> Optional[Expected]:
    """The annotations of the picture at this path: those for the longest end of it."""
    parts = path.absolute().parts
    ends = ("/".join(parts[start:]) for start in range(1, len(parts)))
    return next((expected[end] for end in ends if end in expected), None)


def _expected(picture: LabelledPicture) -> Expected:
    middles = (picture.boxes[:, :2] + picture.boxes[:, 2:]) / 2
    noses = picture.landmarks[:, NOSE]
    noses = np.where(np.isnan(noses), middles, noses)
    return Expected(noses[~picture.ignored], picture.boxes[picture.ignored])


def _read_noses(path: Path) -> Dict[str, Expected]:
    rows = list(csv.reader(read_lines(path)))
    if not rows or [word.strip() for word in rows[0]] != CSV_HEADER:
        raise SourceError(f"{path}:1: expected the header {','.join(CSV_HEADER)}")
    noses: Dict[str, List[Tuple[float, float]]] = {}
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(CSV_HEADER) or not row[0].strip():
            raise SourceError(f"{path}:{number}: expected picture,x,y, or picture,, without faces; not {','.join(row)}")
        of_picture = noses.setdefault(row[0].strip(), [])
        if any(word.strip() for word in row[1:]):
            of_picture.append(_point(path, number, row[1:]))
    return {
        file: Expected(np.array(points, np.float64).reshape(-1, 2), np.empty((0, 4))) for file, points in noses.items()
    }


def _point(path: Path, number: int, words: Sequence[str]) -> Tuple[float, float]:
    try:
        x, y = map(float, words)
    except ValueError:
        raise SourceError(f"{path}:{number}: expected the pixel x,y of a nose, not {','.join(words)}") from None
    return x, y
