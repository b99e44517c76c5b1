"""What is known of a track besides its name: its good looks, and which stranger it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Optional

import numpy as np

from app.identity.strangers import StrangerBook, Visit
from app.reasons import Reason
from app.types import Match

MIN_QUALITY = 0.4
"""Clarity from which a look is good: a frontal face of 40 pixels."""
_CONTRADICTION = 0.15
"""A look that resembles the earlier ones this much less than the threshold is another person's."""
_UNKNOWN = frozenset({Reason.BELOW_THRESHOLD, Reason.NO_ONE_ENROLLED, Reason.NOT_THIS_PERSON})
"""Reasons of a face that is nobody's. Other reasons may still become a name."""


@dataclass(eq=False)
class TrackLooks:
    """The good looks of one track so far."""

    id: str
    channel: str
    track: int
    first_seen: float
    last_seen: float
    position: Optional[float] = None
    file: Optional[str] = None
    weight: float = 0.0
    looks: int = 0
    sum: Optional[np.ndarray] = None
    crop: Optional[str] = None
    crop_quality: float = 0.0
    stranger: Optional[int] = None
    name: Optional[str] = None
    """The track's latest name."""

    @property
    def embedding(self) -> np.ndarray:
        """Mean of the looks, of unit length."""
        assert self.sum is not None
        return np.asarray(self.sum / np.linalg.norm(self.sum), np.float32)

    def add(self, embedding: np.ndarray, quality: float, threshold: float) -> bool:
        """Adds a look, unless it is unclear or contradicts the earlier ones. `threshold`: of two faces of a person."""
        if quality < MIN_QUALITY:
            return False
        if self.sum is not None and float(self.embedding @ embedding) < threshold - _CONTRADICTION:
            return False
        self.sum = quality * embedding if self.sum is None else self.sum + quality * embedding
        self.weight += quality
        self.looks += 1
        return True

    def visit(self, model: str, name: Optional[str]) -> Visit:
        unnamed = name is None
        return Visit(
            id=self.id,
            channel=self.channel,
            track=self.track,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            model=model,
            embedding=self.embedding,
            weight=round(self.weight, 3),
            looks=self.looks,
            crop=self.crop if unnamed else None,
            crop_quality=round(self.crop_quality, 3) if unnamed else 0.0,
            position=self.position,
            file=self.file,
            stranger=self.stranger if unnamed else None,
            name=name,
        )


def is_unknown(match: Match) -> bool:
    """Whether a track with this answer may be a stranger."""
    return match.name is None and match.reason in _UNKNOWN


def stranger_of(
    looks: TrackLooks, book: StrangerBook, model: str, similarity: float, taken: Iterable[int]
) -> Optional[int]:
    """The stranger whom a track resembles enough, or None: it is a new one.

    `taken` are those whom other faces in the picture are: nobody is there twice.
    """
    nearest = book.nearest(looks.embedding, model, without=taken)
    return nearest[0].stranger if nearest and nearest[0].similarity >= similarity else None
