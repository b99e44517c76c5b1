"""A frame's faces on their way through `FaceTracker`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Set, Tuple

import numpy as np

from app.identity.tracker import Pairs, TrackerState
from app.identity.votes import NO_VOTES, TrackVotes
from app.types import NO_ATTRIBUTES, NO_TRACK, FaceAttributes, Faces, Match, Track


@dataclass(frozen=True, eq=False)
class PendingFaces:
    """A frame's faces, assigned to tracks and waiting for their comparisons; `FaceTracker.record` takes it back."""

    rows: Tuple[int, ...]
    """Faces to embed and compare in this frame."""
    attributes: Tuple[FaceAttributes, ...]
    """One per face: the attributes known from earlier frames."""
    unverified: Tuple[int, ...] = ()
    """Those of `rows` of which it is not known yet whether they are faces."""
    settled: Tuple[int, ...] = ()
    """Those of `rows` whose answer is settled: this comparison confirms it, or is the first one against it."""


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

    def followed_by(self, later: TrackedFaces) -> TrackedFaces:
        """These faces and those of `later`, with the tracks of `later`."""
        return TrackedFaces(
            self.matches + later.matches,
            self.track_ids + later.track_ids,
            later.tracks,
            self.attributes + later.attributes,
            self.clarities + later.clarities,
        )


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
    looked_at: Optional[np.ndarray] = None
    """A mask of the tracks whose faces would have been found; None: all."""

    def thumbnail(self, face: int) -> Optional[np.ndarray]:
        return None if self.thumbnails is None else self.thumbnails[face]


def tracks_of(
    state: TrackerState,
    unseen: np.ndarray,
    expected: np.ndarray,
    shown: Mapping[int, Match],
    votes: Mapping[int, TrackVotes],
    attributes: Mapping[int, FaceAttributes],
) -> Tuple[Track, ...]:
    """All confirmed tracks of a state, with what is known of each by its key.

    The `unseen` ones (rows) were not found in this frame, and are `expected` (a box for each track) somewhere.
    """
    tracks, missing = [], set(unseen.tolist())
    for row, key in enumerate(state.keys.tolist()):
        if state.ids[row] == NO_TRACK:
            continue
        first_seen, known = float(state.first_seen[row]), votes.get(key, NO_VOTES)
        track = Track(
            id=int(state.ids[row]),
            box=state.boxes[row].astype(np.float32),
            match=shown[key],
            first_seen=first_seen,
            last_seen=float(state.last_seen[row]),
            attributes=attributes.get(key, NO_ATTRIBUTES),
            votes=known.count,
            time_to_first_name=None if known.named_at is None else max(0.0, known.named_at - first_seen),
            expected_box=expected[row].astype(np.float32) if row in missing else None,
        )
        tracks.append(track)
    return tuple(tracks)
