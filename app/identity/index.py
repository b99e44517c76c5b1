"""Comparing faces with the enrolled people: the nearest two, and the name that follows from them."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from app.errors import GalleryError
from app.identity.anchors import NegativeAnchors
from app.identity.calibration import Calibration, Certainty
from app.text import install_hint
from app.types import NOT_COMPARED_YET, Candidate, Match, Reason

NEAREST = 3
"""People who are named as candidates."""


@dataclass(frozen=True)
class Candidates:
    """The two people nearest to one face, each by their most similar photo."""

    person: Optional[str] = None
    """None: there is no one to compare with."""
    similarity: float = 0.0
    """Cosine, -1..1; NaN if the face has no embedding."""
    photo: Optional[str] = None
    """The person's best photo, as a path inside the gallery."""
    runner_up: Optional[str] = None
    runner_up_similarity: float = 0.0
    nearest: Tuple[Candidate, ...] = ()
    """These two people and the third."""


NO_CANDIDATE = Candidates()
NO_EMBEDDING = Candidates(similarity=float("nan"))


class PersonIndex:
    """Exact inner-product search over all photos of a gallery.

    Immutable, so that threads can share it; a changed gallery gets a new index.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        people: Sequence[str],
        photos: Sequence[str],
        generation: int = 0,
        calibration: Optional[Calibration] = None,
        threshold: Optional[float] = None,
    ) -> None:
        """`people` and `photos` are the person and the file of each row of `embeddings` (R x D, unit length).

        `generation` increases with every change of the gallery, so that faces are compared again after it.
        `calibration` gives matches their confidence; `threshold` is the one of this gallery, if it has one of its own.
        """
        if not len(embeddings) == len(people) == len(photos):
            raise ValueError(
                f"PersonIndex needs one person and one photo for each of {len(embeddings)} rows, "
                f"not {len(people)} and {len(photos)}"
            )
        try:
            import faiss
        except ImportError as error:
            raise GalleryError(
                f"FAISS, which compares faces, cannot be imported ({error}): {install_hint('faiss-cpu')}"
            ) from error
        self._faiss: Any = faiss
        self.generation = generation
        self.calibration = calibration
        self.threshold = threshold
        self.anchors = NegativeAnchors()
        """Faces that must not get a name; `recognizer.identify` asks them."""
        self._dimension = embeddings.shape[1]
        self._photos = list(photos)
        self._people_of_rows = list(people)
        # All photos of the best two people may precede the first one of the third.
        most_photos = sorted(Counter(self._people_of_rows).values())[1 - NEAREST :]
        self._depth = min(sum(most_photos) + 1, len(self._photos))
        self._index = self._faiss.IndexFlatIP(self._dimension) if self._photos else None
        if self._index is not None:
            self._index.add(embeddings)

    def with_anchors(self, anchors: NegativeAnchors) -> PersonIndex:
        """The same people with these negative anchors."""
        index = copy.copy(self)
        index.anchors = anchors
        index.generation = self.generation + anchors.generation
        return index

    def __len__(self) -> int:
        """The number of photos."""
        return len(self._photos)

    def search(self, embeddings: np.ndarray) -> List[Candidates]:
        """The nearest person and the runner-up for each row of `embeddings` (N x D, unit length)."""
        if embeddings.ndim != 2:
            raise ValueError(f"embeddings must have the shape N x D, not {embeddings.shape}")
        comparable = np.isfinite(embeddings).all(axis=1)
        found = [NO_CANDIDATE if row else NO_EMBEDDING for row in comparable]
        if self._index is None or not comparable.any():
            return found
        if embeddings.shape[1] != self._dimension:
            raise ValueError(
                f"embeddings must have {self._dimension} columns like the gallery's, not {embeddings.shape[1]}"
            )
        queries = np.ascontiguousarray(embeddings[comparable], dtype=np.float32)
        # For a few faces it is not worth waking other cores, which then spin while they are needed for video.
        self._faiss.omp_set_num_threads(1)
        similarities, rows = self._index.search(queries, self._depth)
        for face, scores, photos in zip(np.flatnonzero(comparable), similarities.tolist(), rows.tolist()):
            nearest: Dict[str, Candidate] = {}
            for score, photo in zip(scores, photos):
                name = self._people_of_rows[photo]
                if name not in nearest:
                    nearest[name] = Candidate(name, score, self._photos[photo])
                    if len(nearest) == NEAREST:
                        break
            first, *others = nearest.values()
            runner_up, second = (others[0].name, others[0].similarity) if others else (None, 0.0)
            found[face] = Candidates(
                first.name, first.similarity, first.photo, runner_up, second, tuple(nearest.values())
            )
        return found


def decide(candidates: Candidates, threshold: float, margin: float, certainty: Optional[Certainty] = None) -> Match:
    """The answer of one comparison: the nearest person, if similar enough and clearly nearer than the runner-up.

    Two people at exactly the same distance are never distinguished, even with a margin of 0.
    """
    similarity, lead = candidates.similarity, candidates.similarity - candidates.runner_up_similarity
    if similarity != similarity:
        return NOT_COMPARED_YET
    if candidates.person is None:
        return Match(name=None, reason=Reason.NO_ONE_ENROLLED)
    name, reason, measured, limit = None, Reason.BELOW_THRESHOLD, similarity, threshold
    if similarity >= threshold:
        if candidates.runner_up is None or (lead >= margin and lead > 0):
            name, reason = candidates.person, Reason.MATCHED
        else:
            reason, measured, limit = Reason.AMBIGUOUS, lead, margin
    confidence = None
    if certainty is not None:
        runner_up = -1.0 if candidates.runner_up is None else candidates.runner_up_similarity
        confidence = certainty.probability(similarity, runner_up)
    return Match(
        name=name,
        reason=reason,
        similarity=similarity,
        nearest=candidates.person,
        photo=candidates.photo,
        runner_up=candidates.runner_up,
        runner_up_similarity=candidates.runner_up_similarity,
        measured=measured,
        limit=limit,
        candidates=candidates.nearest,
        confidence=confidence,
    )
