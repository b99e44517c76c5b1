"""Negative anchors: faces that must not get a name, or not a certain one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

import numpy as np

from app.identity.strangers import StrangerBook
from app.reasons import Reason
from app.types import Match


@dataclass(frozen=True, eq=False)
class NegativeAnchors:
    """Faces that comparisons must not name."""

    ignored: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """R x D: faces of ignored strangers."""
    denied: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By name: faces that are not this person, R x D."""
    min_similarity: float = 1.0
    """From which a face is one of the ignored."""
    generation: int = 0
    """Increases with every change, like that of the gallery."""

    @classmethod
    def of(cls, book: StrangerBook, model: str, min_similarity: float, generation: int = 0) -> NegativeAnchors:
        """Those of the strangers' book whose embeddings are of this model."""
        denied = [one for one in book.denied if one.model == model]
        ignored = [
            visit.embedding
            for number in sorted(book.ignored)
            for visit in book.visits_of(number)
            if visit.model == model
        ]
        return cls(
            np.stack(ignored) if ignored else np.empty((0, 0), np.float32),
            {
                name: np.stack([one.embedding for one in denied if one.name == name])
                for name in sorted({one.name for one in denied})
            },
            min_similarity,
            generation,
        )

    def checked(self, match: Match, embedding: np.ndarray) -> Match:
        """The answer of a comparison, without a name where a negative anchor is nearer than the photos."""
        if match.reason.compared and len(self.ignored):
            similarity = float((self.ignored @ embedding).max())
            if similarity >= self.min_similarity and (match.nearest is None or similarity > match.similarity):
                return match.unnamed(Reason.IGNORED, similarity, self.min_similarity)
        denied = None if match.name is None else self.denied.get(match.name)
        similarity = -1.0 if denied is None else float((denied @ embedding).max())
        if similarity > match.similarity:
            return match.unnamed(Reason.NOT_THIS_PERSON, match.similarity, similarity)
        return match

    def same_as(self, other: NegativeAnchors) -> bool:
        return (
            np.array_equal(self.ignored, other.ignored)
            and self.denied.keys() == other.denied.keys()
            and all(np.array_equal(rows, other.denied[name]) for name, rows in self.denied.items())
        )
