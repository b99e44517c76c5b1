"""Face labels in COCO's JSON: images, annotations with `bbox`, and optionally five keypoints."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from app.errors import SourceError
from app.tools.evaluation.labels import LabelledFace, LabelledPicture, checked_labels, labelled_picture, no_labels

FIVE_KEYPOINTS = 5 * 3
MAX_COORDINATE = 1e9
"""Larger than any picture; the limit also excludes NaN and infinity."""

_IDS = ("id", "image_id")


def read_coco(path: Path) -> List[LabelledPicture]:
    """Boxes with `iscrowd` or `ignore` are ignored. If there are several categories, one must have the name `face`."""
    content = _load(path)
    wanted = _face_category(path, content)
    faces: Dict[Any, List[LabelledFace]] = defaultdict(list)
    images = _rows(path, content, "images", ("id", "file_name"))
    known = Counter(image["id"] for image in images)
    twice = [number for number, count in known.items() if count > 1]
    if twice:
        raise SourceError(f"{path}: duplicate image id {twice[0]!r}")
    for number, row in enumerate(_rows(path, content, "annotations", ("image_id", "bbox")), 1):
        where = f"{path}: annotation {row.get('id', f'number {number}')}"
        if row["image_id"] not in known:
            raise SourceError(f"{where}: no image with the id {row['image_id']!r}")
        if wanted is None or row.get("category_id") == wanted:
            faces[row["image_id"]].append(_face(row, where))
    pictures = [
        labelled_picture(str(image["file_name"]), faces[image["id"]], f"{path}: image {image['id']}")
        for image in images
    ]
    return checked_labels(path, pictures)


def _load(path: Path) -> Dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if not text.strip():
            raise no_labels(path)
        content = json.loads(text)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise SourceError(f"{path}:{error.lineno}: invalid JSON: {error.msg}") from error
    if not isinstance(content, dict):
        raise SourceError(f"{path}: expected an object with images and annotations, as in COCO's format")
    return content


def _rows(path: Path, content: Dict[str, Any], key: str, needed: Tuple[str, ...]) -> List[Dict[str, Any]]:
    rows = content.get(key)
    if not isinstance(rows, list):
        raise SourceError(f"{path}: expected a list {key!r}, as in COCO's format")
    for number, row in enumerate(rows, 1):
        missing = [name for name in needed if not isinstance(row, dict) or name not in row]
        if missing:
            raise SourceError(f"{path}: {key}, number {number}: {', '.join(missing)} is missing")
        # NaN does not equal itself.
        ids = {name: row[name] for name in needed if name in _IDS}
        wrong = [name for name, value in ids.items() if not isinstance(value, (int, float, str)) or value != value]
        if wrong:
            raise SourceError(f"{path}: {key}, number {number}: {wrong[0]} must be a number or a string")
    return rows


def _face_category(path: Path, content: Dict[str, Any]) -> Optional[Any]:
    """The id of the category of faces, or None if all annotations are faces."""
    if not content.get("categories"):
        return None
    categories = _rows(path, content, "categories", ("id", "name"))
    if len(categories) == 1:
        return None
    for category in categories:
        if str(category["name"]).lower() == "face":
            return category["id"]
    names = ", ".join(str(category["name"]) for category in categories)
    raise SourceError(f"{path}: no category has the name 'face': {names}")


def _face(row: Dict[str, Any], where: str) -> LabelledFace:
    x, y, width, height = _numbers(row["bbox"], 4, f"{where}: bbox")
    keypoints = row.get("keypoints") or []
    if not isinstance(keypoints, list):
        raise SourceError(f"{where}: keypoints: expected a list, not {keypoints!r}")
    landmarks = None
    # Other numbers of keypoints belong to bodies or face meshes, which our detectors do not predict.
    if len(keypoints) == FIVE_KEYPOINTS:
        points = np.reshape(_numbers(keypoints, FIVE_KEYPOINTS, f"{where}: keypoints"), (5, 3))
        if (points[:, 2] > 0).all():
            landmarks = [(float(px), float(py)) for px, py, _ in points]
    ignored, crowd = bool(row.get("ignore")), bool(row.get("iscrowd"))
    return LabelledFace(x, y, width, height, ignored=ignored, crowd=crowd, landmarks=landmarks)


def _numbers(values: Any, count: int, what: str) -> List[float]:
    fits = isinstance(values, list) and len(values) == count
    if not fits or not all(isinstance(value, (int, float)) and abs(value) < MAX_COORDINATE for value in values):
        raise SourceError(f"{what}: expected {count} numbers, not {values!r}")
    return [float(value) for value in values]
