"""A frame's faces on their way through `FaceTracker`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Set, Tuple

import numpy as np

from app.identity.tracker import Pairs, TrackerState
from app.types import FaceAttributes, Faces, Match, Track


@dataclass(frozen=True, eq=False)
class PendingFaces:
    """A frame's faces, assigned to tracks and waiting for their comparisons; `FaceTracker.record` takes it back."""

    rows: Tuple[int, ...]
    """Faces to embed and compare in this frame."""
    attributes: Tuple[FaceAttributes, ...]
    """One per face: the attributes known from earlier frames."""
    unverified: Tuple[int, ...] = ()
    """Those of `rows` of which it is not known yet whether they are faces."""


@dataclass(frozen=True, eq=False)
class TrackedFaces:
    """A frame's faces with everything their tracks know."""

    matches: Tuple[Match, ...]
    """One per face: the answer of its track."""
    track_ids: Tuple[int, ...]
    """One per face; NO_TRACK until its track is confirmed."""
    tracks: Tuple[Track, ...]
    """All confirmed tracks of the channel, including those whose face is hidden in this frame."""
    attributes: Tuple[FaceAttributes, ...]
    """One per face; empty when no attributes were read."""
    clarities: Tuple[float, ...] = ()
    """One per face: how clearly it is seen, 0.1 to 1."""


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame between `update` and `record`."""

    faces: Faces
    clarities: np.ndarray
    thumbnails: Optional[np.ndarray]
    before: TrackerState
    """The tracks before the faces of this frame were added, at its time."""
    pairs: Pairs
    clear: np.ndarray
    """Faces that are reported even if they are seen only once."""
    returned: Set[int]
    """Faces whose track was hidden before. They keep its name until they are compared."""

    def thumbnail(self, face: int) -> Optional[np.ndarray]:
        return None if self.thumbnails is None else self.thumbnails[face]
