"""The face of a person in one of Frigate's pictures."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

import numpy as np

from app.frigate.messages import Box
from app.identity.index import PersonIndex
from app.identity.votes import clarity
from app.recognizer import Recognizer
from app.settings import QualityLimits
from app.types import Match, Reason

MARGIN = 0.15
"""Around the person's box, as a share of its sides: people move until a picture is fetched."""
CLEAR_LEAD = 1.5
"""How much larger the face of the person must be than the next one in the box."""
SAME_SHAPE = 0.02


class Look(NamedTuple):
    match: Match
    weight: float
    """Of its vote: how clearly the face is seen."""


def person_area(size: Tuple[int, int], watched: Optional[Tuple[int, int]], box: Optional[Box]) -> Optional[Box]:
    """Where the person is in a picture of this size, if it shows all of what the camera sees in `watched` pixels.

    None where that is not known: pictures that Frigate has stored may be cropped and scaled.
    """
    if box is None or watched is None:
        return None
    across, down = size[0] / watched[0], size[1] / watched[1]
    if abs(across / down - 1) > SAME_SHAPE or box[2] > watched[0] * 1.01 or box[3] > watched[1] * 1.01:
        return None
    return (box[0] * across, box[1] * down, box[2] * across, box[3] * down)


def look_at(
    picture: np.ndarray, area: Optional[Box], recognizer: Recognizer, index: PersonIndex, limits: QualityLimits
) -> Optional[Look]:
    """Who the person in this part of a picture is; None without a face there.

    Where it is not known which part shows the person, a picture of several faces is of no use.
    """
    part, inner = _cut(picture, area)
    (faces,) = recognizer.find([part])
    rows = [row for row in range(len(faces)) if _is_inside(faces.boxes[row], inner)]
    if not rows:
        return None
    faces, rejected, _ = recognizer.embed_good(part, faces, rows, limits)
    rows = [row for row in rows if row not in rejected or not rejected[row].reason.denies_face]
    if not rows:
        return None
    sides = {row: float((faces.boxes[row, 2:] - faces.boxes[row, :2]).min()) for row in rows}
    first, *others = sorted(rows, key=lambda row: -sides[row])
    rivals = [row for row in others if area is None or CLEAR_LEAD * sides[row] > sides[first]]
    weight = float(clarity(faces)[first])
    if rivals:
        return Look(Match(None, Reason.SEVERAL_FACES, measured=len(rivals) + 1, limit=1), weight)
    if first in rejected:
        reason, measured, limit = rejected[first]
        return Look(Match(None, reason, measured=measured, limit=limit), weight)
    return Look(recognizer.identify(faces, index, [first])[0], weight)


def _cut(picture: np.ndarray, area: Optional[Box]) -> Tuple[np.ndarray, Box]:
    """The person with a margin, and where the person is in that part."""
    height, width = picture.shape[:2]
    if area is None:
        return picture, (0.0, 0.0, float(width), float(height))
    x1, y1, x2, y2 = area
    across, down = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    left, top = max(0, int(x1 - across)), max(0, int(y1 - down))
    right, bottom = min(width, round(x2 + across) + 1), min(height, round(y2 + down) + 1)
    part = np.ascontiguousarray(picture[top:bottom, left:right])
    return part, (x1 - left, y1 - top, x2 - left, y2 - top)


def _is_inside(box: np.ndarray, area: Box) -> bool:
    """Whether the middle of a face is in the box of the person."""
    corners: List[float] = box.tolist()
    x, y = (corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2
    return area[0] <= x <= area[2] and area[1] <= y <= area[3]
