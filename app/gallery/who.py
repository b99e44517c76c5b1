"""Everybody in a picture: names, as in a run over pictures, and the nearest people of each face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import numpy as np

from app.identity.index import PersonIndex
from app.recognizer import Recognizer
from app.settings import QualityLimits
from app.types import Faces, Match, Reason


@dataclass(frozen=True)
class PersonInPicture:
    """A face, who it is, and whom it resembles."""

    box: Tuple[int, int, int, int]
    """x1 y1 x2 y2 in the picture's pixels."""
    score: float
    match: Match

    def as_json(self) -> Dict[str, Any]:
        match = self.match
        compared = bool(match.candidates)
        return {
            "box": list(self.box),
            "score": round(self.score, 4),
            "name": match.name,
            "similarity": round(match.similarity, 4) if compared else None,
            "confidence": None if match.confidence is None else round(match.confidence, 4),
            "reason": str(match.reason),
            "why": match.why,
            "nearest": [
                {"name": near.name, "similarity": round(near.similarity, 4), "photo": near.photo}
                for near in match.candidates
            ],
        }


def people_in(
    picture: np.ndarray, recognizer: Recognizer, index: PersonIndex, limits: QualityLimits
) -> List[PersonInPicture]:
    """All faces of a picture (H x W x 3, uint8, BGR), from left to right."""
    faces, rows, matches = embedded_faces(picture, recognizer, limits)
    if rows:
        matches.update(zip(rows, recognizer.identify(faces, index, rows)))
    found = [
        PersonInPicture(
            box=(round(float(x1)), round(float(y1)), round(float(x2)), round(float(y2))),
            score=float(faces.scores[row]),
            match=match,
        )
        for row, match in one_face_per_name(matches).items()
        for x1, y1, x2, y2 in [faces.boxes[row].tolist()]
    ]
    return sorted(found, key=lambda person: person.box)


def embedded_faces(
    picture: np.ndarray, recognizer: Recognizer, limits: QualityLimits
) -> Tuple[Faces, List[int], Dict[int, Match]]:
    """The faces of a picture, which of them have embeddings, and why the others have none."""
    (faces,) = recognizer.find([picture])
    rows = list(range(len(faces)))
    rejected: Dict[int, Match] = {}
    if rows:
        faces, reasons, _ = recognizer.embed_good(picture, faces, rows, limits)
        for row, (reason, measured, limit) in reasons.items():
            rejected[row] = Match(None, reason, measured=measured, limit=limit)
    return faces, [row for row in rows if row not in rejected], rejected


def one_face_per_name(matches: Dict[int, Match]) -> Dict[int, Match]:
    """No one is in a picture twice: the face that resembles the person more has the name."""
    best: Dict[str, int] = {}
    for row, match in matches.items():
        if match.name is not None:
            other = best.get(match.name)
            if other is None or matches[other].similarity < match.similarity:
                best[match.name] = row
    return {
        row: match if match.name is None or best[match.name] == row else match.unnamed(Reason.NAME_TAKEN)
        for row, match in matches.items()
    }
