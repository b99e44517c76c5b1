"""Following the faces of one channel, with the votes on who they are and their attributes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, Optional, Sequence, Tuple

import numpy as np

from app.identity.tracker import Assignment, TrackerState, restarted, step
from app.identity.votes import NO_VOTES, TrackVotes, add_vote, needs_embedding
from app.settings import RecognitionSettings, TrackingSettings
from app.types import NO_ATTRIBUTES, NO_TRACK, FaceAttributes, Match, Track


@dataclass(frozen=True, eq=False)
class PendingFaces:
    """A frame's faces, assigned to tracks and waiting for their comparisons; `FaceTracker.record` takes it back."""

    rows: Tuple[int, ...]
    """Faces to embed and compare in this frame."""
    attributes: Tuple[FaceAttributes, ...]
    """One per face: the attributes known from earlier frames."""


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


class FaceTracker:
    """Follows the faces of one channel. Used by one thread.

    Two calls per frame:

        pending = tracker.update(faces.boxes, time, generation)
        ...  # compare the faces of pending.rows
        tracked = tracker.record(pending, matches)
    """

    def __init__(self, tracking: TrackingSettings, recognition: RecognitionSettings) -> None:
        self._tracking = tracking
        self._recognition = recognition
        self._state = TrackerState()
        self._votes: Dict[int, TrackVotes] = {}
        self._attributes: Dict[int, FaceAttributes] = {}
        self._pictures_continue = True
        self._generation = 0
        self._assignment = Assignment(np.empty(0, np.int64), np.empty(0, np.bool_))
        self._pending: Optional[PendingFaces] = None

    def update(self, boxes: np.ndarray, time: float, generation: int, continues: bool = True) -> PendingFaces:
        """Assigns the faces of a new frame, at `boxes` (N x 4), to tracks, and chooses those to compare.

        These are the faces whose answer is not settled, settled ones after `reembed_after_s` or with a new generation
        of the gallery, and those that were hidden, as another person may have stepped out.

        A picture that does not continue the one before starts new tracks, which are confirmed and named at once: there
        will be no second frame.
        """
        state, tracking = self._state, self._tracking
        if not (continues and self._pictures_continue):
            state = restarted(state)
        if not continues:
            tracking = replace(tracking, min_hits=1)
        self._pictures_continue = continues
        self._generation = generation
        self._state, self._assignment = step(state, boxes, time, tracking)
        alive = self._state.keys.tolist()
        self._votes = {key: self._votes[key] for key in alive if key in self._votes}
        self._attributes = {key: self._attributes[key] for key in alive if key in self._attributes}
        rules, keys = self._rules(), self._keys()
        self._pending = PendingFaces(
            rows=tuple(
                face
                for face, key in enumerate(keys)
                if self._assignment.returned[face]
                or needs_embedding(self._votes.get(key, NO_VOTES), time, generation, rules)
            ),
            attributes=tuple(self._attributes.get(key, NO_ATTRIBUTES) for key in keys),
        )
        return self._pending

    def record(
        self, pending: PendingFaces, matches: Sequence[Match], attributes: Sequence[FaceAttributes] = ()
    ) -> TrackedFaces:
        """Completes the frame: `matches` has one entry per face of `pending.rows`, `attributes` one per face or none.

        A face that a gate rejected has a match without a name and with the gate's reason.
        """
        if pending is not self._pending:
            raise ValueError("FaceTracker.record: expected the result of the latest update, and only once")
        if len(matches) != len(pending.rows):
            raise ValueError(f"FaceTracker.record: expected {len(pending.rows)} matches, got {len(matches)}")
        if attributes and len(attributes) != len(pending.attributes):
            raise ValueError(
                f"FaceTracker.record: expected {len(pending.attributes)} attributes or none, got {len(attributes)}"
            )
        self._pending = None
        state, rules, keys = self._state, self._rules(), self._keys()
        for face, match in zip(pending.rows, matches):
            before = self._votes.get(keys[face], NO_VOTES)
            self._votes[keys[face]] = add_vote(before, match, state.time, self._generation, rules)
        self._attributes.update(zip(keys, attributes))
        return TrackedFaces(
            matches=tuple(self._votes.get(key, NO_VOTES).published for key in keys),
            track_ids=tuple(state.ids[self._assignment.rows].tolist()),
            tracks=tuple(
                Track(
                    id=int(state.ids[row]),
                    box=state.boxes[row].astype(np.float32),
                    match=self._votes.get(key, NO_VOTES).published,
                    first_seen=float(state.first_seen[row]),
                    last_seen=float(state.last_seen[row]),
                    attributes=self._attributes.get(key, NO_ATTRIBUTES),
                )
                for row, key in enumerate(state.keys.tolist())
                if state.ids[row] != NO_TRACK
            ),
            attributes=tuple(attributes),
        )

    def _keys(self) -> Sequence[int]:
        """The track of each face."""
        keys: Sequence[int] = self._state.keys[self._assignment.rows].tolist()
        return keys

    def _rules(self) -> RecognitionSettings:
        if self._pictures_continue:
            return self._recognition
        return replace(self._recognition, vote_window=1, min_votes=1)
