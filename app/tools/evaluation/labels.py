"""Labelled pictures and their text formats: WIDER's, FDDB's, and RetinaFace's with five landmarks.

WIDER: a line with the path, a line with the number of faces, then `x y w h blur expression illumination invalid
occlusion pose` for each; a picture without faces has the number 0 and often one line of zeros. RetinaFace: a line
`# path`, then `x y w h` for each face, followed by five times `x y flag` and a score, or by nothing. FDDB: a line with
the path without its suffix, a line with the number of faces, then `radius radius angle x y 1` for each ellipse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from app.errors import SourceError
from app.tools.evaluation.pairs import first_lines, read_lines
from app.types import Faces

WIDER_INVALID = 7
"""Index of the value `invalid` in a WIDER line: the face is ignored."""

LANDMARKED_VALUES = 4 + 5 * 3

FDDB_ENDING = "ellipseList.txt"
FDDB_SUFFIX = ".jpg"
"""FDDB's lists name pictures without it."""


@dataclass(frozen=True)
class LabelledPicture:
    """One picture and its labelled faces: parallel arrays, row i of each is face i."""

    file: str
    """Path relative to the folder of the pictures."""
    boxes: np.ndarray
    """N x 4: x1 y1 x2 y2 in the picture's own pixels."""
    landmarks: np.ndarray
    """N x 5 x 2, NaN for faces without landmarks."""
    ignored: np.ndarray
    """N, bool: not counted, whether found or not."""
    crowds: np.ndarray
    """N, bool: ignored boxes around any number of faces."""
    where: str
    """The line of the label file, for messages."""

    @property
    def has_no_face(self) -> bool:
        """Not even an ignored one: every detection is a false positive."""
        return len(self.boxes) == 0


@dataclass(frozen=True)
class LabelledFace:
    """One label as read from a file."""

    x: float
    y: float
    width: float
    height: float
    ignored: bool = False
    crowd: bool = False
    landmarks: Optional[Sequence[Tuple[float, float]]] = None


def labelled_picture(file: str, faces: Sequence[LabelledFace], where: str) -> LabelledPicture:
    boxes = np.array([(f.x, f.y, f.x + f.width, f.y + f.height) for f in faces], np.float64).reshape(-1, 4)
    landmarks = np.full((len(faces), 5, 2), np.nan)
    for row, face in zip(landmarks, faces):
        if face.landmarks is not None:
            row[:] = face.landmarks
    # A box without area cannot be found.
    empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    ignored = np.array([face.ignored or face.crowd for face in faces], bool).reshape(-1) | empty
    crowds = np.array([face.crowd for face in faces], bool).reshape(-1)
    return LabelledPicture(file, boxes, landmarks, ignored, crowds, where)


def pictures_without_faces(files: Iterable[str]) -> List[LabelledPicture]:
    return [labelled_picture(file, [], file) for file in files]


def check_files(pictures: Sequence[LabelledPicture], folder: Path) -> None:
    """Raises a SourceError that lists the missing pictures."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder")
    missing = [
        f"{picture.where}: no picture {picture.file!r} in {folder}"
        for picture in pictures
        if not (folder / picture.file).is_file()
    ]
    if missing:
        raise SourceError(first_lines(missing))


def read_text_labels(path: Path) -> List[LabelledPicture]:
    """Reads labels in one of the text formats: FDDB by the name of the file, the others by the first line.

    A folder is read as FDDB's: all folds in it.
    """
    if path.is_dir():
        folds = sorted(path.glob(f"*{FDDB_ENDING}"))
        return checked_labels(path, [picture for fold in folds for picture in read_text_labels(fold)])
    lines = [(number, line.strip()) for number, line in enumerate(read_lines(path), 1) if line.strip()]
    if path.name.endswith(FDDB_ENDING):
        return checked_labels(path, list(_read_counted(path, lines, _fddb_face, FDDB_SUFFIX)))
    if lines and lines[0][1].startswith("#"):
        return checked_labels(path, list(_read_retinaface(path, lines)))
    return checked_labels(path, list(_read_counted(path, lines, _wider_face)))


def checked_labels(path: Path, pictures: List[LabelledPicture]) -> List[LabelledPicture]:
    """Checks labels of any format: there must be some, and each picture only once."""
    if not pictures:
        raise no_labels(path)
    seen: Dict[str, str] = {}
    for picture in pictures:
        if picture.file in seen:
            raise SourceError(f"{picture.where}: duplicate labels of {picture.file!r}, see {seen[picture.file]}")
        seen[picture.file] = picture.where
    return pictures


def no_labels(path: Path) -> SourceError:
    if path.is_dir():
        return SourceError(f"{path}: no labels in this folder; expected FDDB's files, *{FDDB_ENDING}")
    return SourceError(f"{path}: no labels in this file")


def _read_counted(
    path: Path,
    lines: Sequence[Tuple[int, str]],
    face: Callable[[Path, int, str], LabelledFace],
    suffix: str = "",
) -> Iterator[LabelledPicture]:
    """WIDER's and FDDB's structure: a path, the number of faces, and a line for each."""
    position = 0
    while position < len(lines):
        number, file = lines[position]
        where = f"{path}:{number}"
        if _numbers(file) is not None:
            raise SourceError(f"{where}: expected the path of a picture, not {file!r}; is a number of faces wrong?")
        if position + 1 == len(lines) or not lines[position + 1][1].isdecimal():
            raise SourceError(f"{where}: expected the number of faces in the line after {file!r}")
        count = int(lines[position + 1][1])
        rows = lines[position + 2 : position + 2 + count]
        if len(rows) < count:
            raise SourceError(f"{where}: expected {count} faces of {file!r}, but the file ends after {len(rows)}")
        yield labelled_picture(file + suffix, [face(path, *row) for row in rows], where)
        position += 2 + count
        # A picture without faces may have a line of zeros. A single number could be the name of the next picture.
        filler = _numbers(lines[position][1]) if count == 0 and position < len(lines) else None
        if filler is not None and len(filler) >= 4:
            position += 1


def _wider_face(path: Path, number: int, line: str) -> LabelledFace:
    values = _numbers(line)
    if values is None or len(values) < 4:
        raise SourceError(
            f"{path}:{number}: expected x y w h and six more values for a face, not {line!r}; "
            "is a number of faces wrong?"
        )
    x, y, width, height = values[:4]
    return LabelledFace(x, y, width, height, ignored=len(values) > WIDER_INVALID and values[WIDER_INVALID] == 1)


def _fddb_face(path: Path, number: int, line: str) -> LabelledFace:
    """The box around an ellipse. The angle is that of the first radius, in radians."""
    values = _numbers(line)
    if values is None or len(values) not in (5, 6):
        raise SourceError(
            f"{path}:{number}: expected 'radius radius angle x y 1' for a face, not {line!r}; "
            "is a number of faces wrong?"
        )
    major, minor, angle, x, y = values[:5]
    half_width = math.hypot(major * math.cos(angle), minor * math.sin(angle))
    half_height = math.hypot(major * math.sin(angle), minor * math.cos(angle))
    return LabelledFace(x - half_width, y - half_height, 2 * half_width, 2 * half_height)


def _read_retinaface(path: Path, lines: Sequence[Tuple[int, str]]) -> Iterator[LabelledPicture]:
    file, where = "", ""
    faces: List[LabelledFace] = []
    for number, line in lines:
        if line.startswith("#"):
            if where:
                yield labelled_picture(file, faces, where)
            file, where, faces = line[1:].strip(), f"{path}:{number}", []
            if not file:
                raise SourceError(f"{where}: expected the path of a picture after #")
        else:
            faces.append(_retinaface_face(path, number, line))
    yield labelled_picture(file, faces, where)


def _retinaface_face(path: Path, number: int, line: str) -> LabelledFace:
    values = _numbers(line)
    if values is None or not (len(values) == 4 or len(values) >= LANDMARKED_VALUES):
        raise SourceError(
            f"{path}:{number}: expected x y w h, alone or followed by five times 'x y flag' and a score, not {line!r}"
        )
    landmarks = None
    if len(values) >= LANDMARKED_VALUES:
        points = np.array(values[4:LANDMARKED_VALUES]).reshape(5, 3)
        # Unknown landmarks are written as -1 -1 -1.
        if not (points < 0).all(axis=1).any():
            landmarks = [(float(x), float(y)) for x, y, _ in points]
    x, y, width, height = values[:4]
    return LabelledFace(x, y, width, height, landmarks=landmarks)


def _numbers(line: str) -> Optional[List[float]]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def retinaface_lines(file: str, faces: Faces) -> List[str]:
    """The labels of one picture in RetinaFace's format."""
    lines = [f"# {file}"]
    for box, points, score in zip(faces.boxes, faces.landmarks, faces.scores):
        x1, y1, x2, y2 = (float(side) for side in box)
        landmarks = " ".join(f"{x:.2f} {y:.2f} 0.0" for x, y in points)
        lines.append(f"{x1:.2f} {y1:.2f} {x2 - x1:.2f} {y2 - y1:.2f} {landmarks} {score:.4f}")
    return lines
