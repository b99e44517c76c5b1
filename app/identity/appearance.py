"""Whether a track is still the same person: its embeddings and thumbnails, compared with those of a new face."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from app.types import Match

MAX_UNCLEAR = 3
"""Comparisons without a clear verdict after which the face counts as another person's."""
_CONTRADICTION = 0.15
"""An embedding contradicts if its similarity is this far below the threshold."""
_CERTAIN = 0.2
"""An embedding this far above the threshold is the same person, even if the gallery names another one."""
_MIN_CORRELATION = 0.8
"""Of two thumbnails. Of one person in two frames after another nearly all are above it, of two people few."""
_MIN_CORRELATION_AFTER_GAP = 0.85
"""The same after a gap, in which people can take each other's place unseen."""
_GAP_S = 0.25
_MEMORY = 10.0
"""Maximum weight of earlier embeddings in the mean, so that it follows a face that turns or approaches."""


class Verdict(enum.Enum):
    """Whether a face belongs to the person of a track."""

    SAME = enum.auto()
    OTHER = enum.auto()
    UNCLEAR = enum.auto()


@dataclass(frozen=True, eq=False)
class Appearance:
    """What the face of a track looked like when it was compared."""

    mean: np.ndarray
    """Weighted mean of its embeddings, of unit length."""
    latest: np.ndarray
    """The latest embedding."""
    weight: float
    thumbnail: Optional[np.ndarray] = None
    """Of the latest comparison (`Continuity.thumbnails`)."""

    @classmethod
    def first(cls, embedding: np.ndarray, clarity: float, thumbnail: Optional[np.ndarray]) -> Appearance:
        return cls(embedding, embedding, clarity, thumbnail)

    def with_embedding(self, embedding: np.ndarray, clarity: float, thumbnail: Optional[np.ndarray]) -> Appearance:
        mean = self.weight * self.mean + clarity * embedding
        length = float(np.linalg.norm(mean))
        mean = mean / length if length > 0 else embedding
        return replace(
            self,
            mean=mean,
            latest=embedding,
            weight=min(self.weight + clarity, _MEMORY),
            thumbnail=thumbnail,
        )

    def seen_again(self, embedding: np.ndarray, thumbnail: Optional[np.ndarray]) -> Appearance:
        """The same person, not clearly enough to count: in a dissolve, each picture resembles the one before it."""
        return replace(self, latest=embedding, thumbnail=thumbnail)

    def similarity(self, embedding: np.ndarray, clear: bool) -> float:
        """The cosine with the mean; for a face that is not clear, such as one that turns away, or with the latest."""
        similarity = float(self.mean @ embedding)
        return similarity if clear else max(similarity, float(self.latest @ embedding))

    def resembles(self, thumbnail: Optional[np.ndarray], elapsed_s: float = 0.0) -> bool:
        """Whether a face looks as it did at the latest comparison; without thumbnails it does.

        `elapsed_s` is the time since the face was seen, in an earlier frame.
        """
        if thumbnail is None or self.thumbnail is None:
            return True
        required = _MIN_CORRELATION if elapsed_s < _GAP_S else _MIN_CORRELATION_AFTER_GAP
        return float(self.thumbnail @ thumbnail) >= required


def remembered(
    known: Optional[Appearance], embedding: np.ndarray, weight: float, thumbnail: Optional[np.ndarray]
) -> Appearance:
    """What is known of a track after one more comparison; with a weight of 0 it does not count."""
    if known is None:
        return Appearance.first(embedding, weight, thumbnail)
    if weight:
        return known.with_embedding(embedding, weight, thumbnail)
    return known.seen_again(embedding, thumbnail)


def verdict(
    known: Appearance, published: Match, embedding: np.ndarray, match: Match, threshold: float, clear: bool = True
) -> Verdict:
    """Whether a face with this embedding and comparison is the person of a track, published as `published`.

    `clear`: whether the face is seen so clearly that its embedding is reliable.
    """
    similarity = known.similarity(embedding, clear)
    if match.name is not None and match.name == published.name:
        return Verdict.SAME
    if match.name is not None and published.name is not None:
        return Verdict.UNCLEAR if similarity >= threshold + _CERTAIN else Verdict.OTHER
    if similarity >= threshold:
        return Verdict.SAME
    return Verdict.OTHER if similarity < threshold - _CONTRADICTION else Verdict.UNCLEAR
