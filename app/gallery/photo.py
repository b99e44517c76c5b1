"""Examining one enrolment photo: which face it is about, and whether that face is good enough."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

import cv2
import numpy as np

from app.errors import GalleryError
from app.files import write_whole
from app.gallery.people import PhotoFinding
from app.gallery.upright import Upright, find_upright
from app.identity.gates import Rejection, rejections
from app.recognizer import Recognizer
from app.settings import QualityLimits
from app.types import Reason
from app.vision.quality import prominence

CLEAR_LEAD = 1.5
"""How many times as prominent as any other face the one must be that a photo is about."""

UNUSUAL_NON_FACE = 0.38
"""From this similarity with non-faces on, a face that is used is remarked upon: only 1 % of people's have it."""

CROP_MARGIN = 1.0
"""Around a chosen face, in sides of its box, as far as there is no other face."""

_ADVICE = {
    Reason.LOW_SCORE: "no clear face; use a sharp photo from the front, or lower quality.photo_min_score",
    Reason.TOO_SMALL: "use a larger picture of the face, or lower quality.photo_min_face_px",
    Reason.IMPLAUSIBLE: "possibly no face; use a photo from the front",
    Reason.TURNED_AWAY: "use a photo from the front, or raise quality.photo_max_yaw_deg",
    Reason.TILTED: "turn the photo upright",
    Reason.CUT_OFF: "use a photo that shows the whole face",
    Reason.TOO_DARK: "use a brighter photo, or lower quality.min_exposure",
    Reason.TOO_BRIGHT: "use a darker photo, or raise quality.max_exposure",
    Reason.TOO_BLURRED: "use a sharper photo, or lower quality.photo_min_sharpness",
    Reason.NOT_A_FACE: "it would match things that are no faces; use a photo of the face from the front",
}
"""What to do about a photo that a gate rejects."""


def examine_photo(
    picture: np.ndarray,
    recognizer: Recognizer,
    limits: QualityLimits,
    rotated_by_exif: bool = False,
    must_be_clear: bool = True,
) -> PhotoFinding:
    """What can be found in a photo (H x W x 3, uint8, BGR).

    A photo of several people is rejected, unless one of them is clearly meant; without `must_be_clear`, the most
    prominent one is taken.
    """
    found = find_upright(picture, recognizer, limits)
    if found is None:
        return PhotoFinding(Reason.NO_FACE, message="use a sharp photo that shows the face from the front")
    verdicts = rejections(found.quality, limits)
    people = _people(found, verdicts)
    weights = prominence(found.faces, (found.picture.shape[1], found.picture.shape[0]))
    main = _main_face(found, people)
    rivals = [row for row in people if row != main and CLEAR_LEAD * weights[row] > weights[main]]
    rejection = verdicts[main]
    if rivals and must_be_clear:
        message = (
            f"{len(people)} faces, and none is clearly meant; crop the photo, or choose one with `people add NAME "
            "PHOTO --face N` (`--preview FILE.jpg` shows the numbers)"
        )
        return _finding(
            found, main, people, Rejection(Reason.SEVERAL_FACES, len(rivals) + 1, 1), message, rotated_by_exif
        )
    message = ""
    if rejection is not None:
        message = _ADVICE[rejection.reason]
    elif len(people) > 1:
        message = f"face {main + 1} of {len(found.faces)} from the left is used: {_merits(found, main, people)}"
    elif found.quality.non_face[main] > UNUSUAL_NON_FACE:
        message = "it hardly looks like a face to the embedder; better use another photo"
    return _finding(found, main, people, rejection, message, rotated_by_exif)


def aligned_face(picture: np.ndarray, recognizer: Recognizer, limits: QualityLimits) -> Optional[np.ndarray]:
    """The face that a photo is about, as it is embedded (112 x 112 x 3, uint8, BGR); None without a face."""
    found = find_upright(picture, recognizer, limits)
    if found is None:
        return None
    main = _main_face(found, _people(found, rejections(found.quality, limits)))
    return np.asarray(recognizer.crops(found.picture, found.faces[[main]])[0])


def _main_face(found: Upright, people: List[int]) -> int:
    weights = prominence(found.faces, (found.picture.shape[1], found.picture.shape[0]))
    return max(people or range(len(found.faces)), key=lambda row: float(weights[row]))


def _people(found: Upright, verdicts: List[Optional[Rejection]]) -> List[int]:
    """The rows that are faces, whether good enough or not."""
    return [row for row, verdict in enumerate(verdicts) if verdict is None or not verdict.reason.denies_face]


def _finding(
    found: Upright, row: int, people: List[int], rejection: Optional[Rejection], message: str, rotated_by_exif: bool
) -> PhotoFinding:
    reason = rejection.reason if rejection else (Reason.MAIN_FACE_USED if len(people) > 1 else Reason.USED)
    embeddings = found.faces.embeddings
    return PhotoFinding(
        reason=reason,
        embedding=embeddings[row] if rejection is None and embeddings is not None else None,
        faces_found=len(people),
        face_px=float(found.quality.size_px[row]),
        sharpness=float(found.quality.sharpness[row]),
        rotation_fixed=found.rotated or rotated_by_exif,
        message=message,
        measured=rejection.measured if rejection else None,
        limit=rejection.limit if rejection else None,
    )


def _merits(found: Upright, row: int, people: List[int]) -> str:
    """In which way a face is the most prominent one."""
    quality, boxes = found.quality, found.faces.boxes
    middle = np.array(found.picture.shape[1::-1]) / 2
    distances = np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - middle, axis=1)
    merits = [
        words
        for words, best in (
            ("the largest", max(people, key=lambda at: quality.size_px[at])),
            ("nearest to the middle", min(people, key=lambda at: distances[at])),
            ("the clearest", max(people, key=lambda at: quality.score[at])),
        )
        if best == row
    ]
    return ", ".join(merits) or "the best of size, place and score"


def cut_out(found: Upright, row: int) -> np.ndarray:
    """The part of the photo around one face that contains no other one."""
    height, width = found.picture.shape[:2]
    boxes = np.rint(found.faces.boxes).astype(int)
    x1, y1, x2, y2 = boxes[row].tolist()
    margin = round(CROP_MARGIN * max(x2 - x1, y2 - y1))
    left, top, right, bottom = (
        max(0, x1 - margin),
        max(0, y1 - margin),
        min(width, x2 + margin),
        min(height, y2 + margin),
    )
    for at, (ox1, oy1, ox2, oy2) in enumerate(boxes.tolist()):
        gaps = {"left": x1 - ox2, "right": ox1 - x2, "top": y1 - oy2, "bottom": oy1 - y2}
        side = max(gaps, key=lambda name: gaps[name])
        if at == row or gaps[side] < 0:
            continue
        if side == "left":
            left = max(left, ox2)
        elif side == "right":
            right = min(right, ox1)
        elif side == "top":
            top = max(top, oy2)
        else:
            bottom = min(bottom, oy1)
    return np.ascontiguousarray(found.picture[top:bottom, left:right])


def write_numbered(found: Upright, path: Path) -> None:
    """Writes the photo with a numbered box around each face."""
    image = np.array(found.picture, order="C")
    line = max(2, round(max(image.shape[:2]) / 400))
    for number, (x1, y1, x2, y2) in enumerate(np.rint(found.faces.boxes).astype(int).tolist(), start=1):
        size = max(0.6, (y2 - y1) / 90)
        cv2.rectangle(image, (x1, y1), (x2, y2), (0, 159, 230), line)
        corner = (max(0, x1), max(round(24 * size), y1 - line))
        cv2.putText(image, str(number), corner, cv2.FONT_HERSHEY_SIMPLEX, size, (24, 24, 24), 3 * line, cv2.LINE_AA)
        cv2.putText(image, str(number), corner, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 200, 255), line, cv2.LINE_AA)
    try:
        coded, data = cv2.imencode(path.suffix, image)
    except cv2.error:
        coded = False
    if not coded:
        raise GalleryError(
            f"{path}: cannot be written as {path.suffix or 'a picture'}; choose a name such as faces.jpg"
        )
    try:
        write_whole(path, data.tobytes())
    except OSError as error:
        raise GalleryError(f"{path} cannot be written: {error.strerror}") from error
