"""Everything that is remembered of one channel: who is followed, and who they were taken for."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, List, Sequence, Tuple

import numpy as np

from app.identity.tracker import Assignment, TrackerState, afresh, step
from app.identity.votes import NEVER_LOOKED, TrackLooks, needs_look, record_look
from app.settings import RecognitionSettings, TrackingSettings
from app.types import NO_ATTRIBUTES, NO_TRACK, FaceAttributes, Match, Reason, Track

TOO_SMALL = Match(name=None, reason=Reason.TOO_SMALL)


class ChannelTracker:
    """Follows the faces of one channel and steadies their names. Used by one thread.

    For each frame, in this order: `update`, `faces_to_look_at`, `record_look` for each face that was compared, and
    then the answers: `matches`, `track_ids` and `attributes`, one a face of that frame, and `tracks`.
    """

    def __init__(self, tracking: TrackingSettings, recognition: RecognitionSettings) -> None:
        self._tracking = tracking
        self._recognition = recognition
        self._state = TrackerState()
        self._assignment = Assignment(np.empty(0, np.int64), np.empty(0, np.bool_))
        self._small = np.empty(0, np.bool_)
        self._looks: Dict[int, TrackLooks] = {}
        self._attributes: Dict[int, FaceAttributes] = {}
        self._pictures_continue = True

    def update(self, boxes: np.ndarray, time: float, continues: bool = True) -> None:
        """A new frame with faces at `boxes` (N x 4).

        A picture that does not continue the one before starts afresh: what is seen there is present at once, and one
        look is enough, for there will not be a second one.
        """
        state, tracking = self._state, self._tracking
        if not (continues and self._pictures_continue):
            state = afresh(state)
        if not continues:
            tracking = replace(tracking, min_hits=1)
        self._pictures_continue = continues
        self._state, self._assignment = step(state, boxes, time, tracking)
        alive = self._state.keys.tolist()
        self._looks = {key: self._looks[key] for key in alive if key in self._looks}
        self._attributes = {key: self._attributes[key] for key in alive if key in self._attributes}
        self._small = _less_side(self._state.boxes) < self._recognition.min_face_px

    def faces_to_look_at(self, generation: int) -> List[int]:
        """Faces of this frame to compare with the gallery of that generation.

        All but those too small to tell anything and those whose answer is settled; a face that was hidden a moment
        ago is looked at again, for it may be somebody else's.
        """
        rules = self._rules()
        chosen = []
        for face, row in enumerate(self._assignment.rows.tolist()):
            if not self._small[row]:
                looks = self._looks.get(int(self._state.keys[row]), NEVER_LOOKED)
                if self._assignment.returned[face] or needs_look(looks, self._state.time, generation, rules):
                    chosen.append(face)
        return chosen

    def record_look(self, face: int, match: Match, generation: int) -> None:
        """What comparing a face of this frame with the gallery of that generation gave."""
        key = int(self._state.keys[self._assignment.rows[face]])
        before = self._looks.get(key, NEVER_LOOKED)
        self._looks[key] = record_look(before, match, self._state.time, generation, self._rules())

    def record_attributes(self, attributes: Sequence[FaceAttributes]) -> None:
        """What was told of each face of this frame."""
        for key, of_face in zip(self._state.keys[self._assignment.rows].tolist(), attributes):
            self._attributes[key] = of_face

    def attributes(self) -> Tuple[FaceAttributes, ...]:
        """What is known of each face of this frame besides who it is."""
        keys = self._state.keys[self._assignment.rows].tolist()
        return tuple(self._attributes.get(key, NO_ATTRIBUTES) for key in keys)

    def matches(self) -> Tuple[Match, ...]:
        """Who each face of this frame is, as far as the looks at its track agree."""
        return tuple(self._match(row) for row in self._assignment.rows.tolist())

    def track_ids(self) -> Tuple[int, ...]:
        """The track of each face of this frame; NO_TRACK while it is not confirmed."""
        return tuple(self._state.ids[self._assignment.rows].tolist())

    def tracks(self) -> Tuple[Track, ...]:
        """All confirmed tracks that are alive, also those whose face is hidden in this frame."""
        state = self._state
        return tuple(
            Track(
                id=int(state.ids[row]),
                box=state.boxes[row].astype(np.float32),
                match=self._match(row),
                first_seen=float(state.first_seen[row]),
                last_seen=float(state.last_seen[row]),
                attributes=self._attributes.get(int(state.keys[row]), NO_ATTRIBUTES),
            )
            for row in np.flatnonzero(state.ids != NO_TRACK).tolist()
        )

    def _match(self, row: int) -> Match:
        looks = self._looks.get(int(self._state.keys[row]), NEVER_LOOKED)
        return TOO_SMALL if looks.last_look is None and self._small[row] else looks.published

    def _rules(self) -> RecognitionSettings:
        if self._pictures_continue:
            return self._recognition
        return replace(self._recognition, looks=1, min_agreeing_looks=1)


def _less_side(boxes: np.ndarray) -> np.ndarray:
    sides: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    return sides
