"""Who a face is, over the whole fleet: decided as a run decides about people, and as it recognises strangers."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from app.database.search import FleetSearch, NearPerson, NearStranger
from app.gallery.gallery import Gallery
from app.gallery.strangers import similarity_for
from app.identity.index import NEAREST, candidates_of, decide
from app.settings import Settings
from app.types import Candidate, Match


class FleetAnswer(NamedTuple):
    match: Match
    """Among the enrolled people."""
    people: Tuple[NearPerson, ...]
    strangers: Tuple[NearStranger, ...]
    stranger: Optional[NearStranger]
    """The nearest one, if similar enough."""


class Similarities(NamedTuple):
    """From which similarity on a face is somebody's."""

    person: float
    stranger: float

    @classmethod
    def of(cls, settings: Settings, gallery: Gallery) -> Similarities:
        return cls(gallery.threshold, similarity_for(settings.strangers, gallery.recognizer.threshold))


def search_fleet(
    search: FleetSearch, gallery: Gallery, faces: np.ndarray, similarities: Similarities, top: int
) -> List[FleetAnswer]:
    """One answer for each face (N x D, of unit length), with the nearest `top` people and strangers."""
    if not len(faces):
        return []
    # The second one decides whether the first one has the name.
    people = search.people(faces, max(top, NEAREST))
    strangers = search.strangers(faces, top)
    return [
        FleetAnswer(_match(gallery, face, near, similarities.person), tuple(near[:top]), tuple(unknown), nearest)
        for face, near, unknown in zip(faces, people, strangers)
        for nearest in [unknown[0] if unknown and unknown[0].similarity >= similarities.stranger else None]
    ]


def _match(gallery: Gallery, face: np.ndarray, people: Sequence[NearPerson], threshold: float) -> Match:
    nearest = [Candidate(one.name, one.similarity, one.photo) for one in people[:NEAREST]]
    return gallery.index.anchors.checked(decide(candidates_of(nearest), threshold, gallery.recognizer.margin), face)
