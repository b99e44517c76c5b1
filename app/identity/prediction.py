"""Where tracks are expected in a frame that was not looked at, and how long each can go on like that."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from app.identity.frame_faces import Moment
from app.identity.tracker import TrackerState, box_sides, iou
from app.look import ExpectedFaces
from app.types import NO_TRACK, Faces

_KNOWN_HITS = 3
"""Looks after which the speed of a track is known."""
_CONFIRMED_HITS = 8
"""Looks after which a track that is still not confirmed is something that is no face."""
_SLOWDOWN = 2.0
"""By how much the patience with a face shrinks when it moves by one of its sides per second: to 1 / (1 + this)."""
_UNNAMED = 0.5
"""Share of the patience with a face that has no name."""
_YOUNG_S = 2.0
_UNDECIDED_S = 0.15
"""Between two looks at a face that is not decided after a while, because it is too small or turned away."""
_HIDDEN_S = 0.1
_CROWDED_S = 0.1
_CROWDED_SIDES = 0.2
"""Faces nearer to each other than this may take each other's place."""
_REACH = 0.35
_ACCELERATION = 4.0
"""In sides of the face per second squared."""
_FASTEST = 9.0
"""Sides of the face per second."""
_MAX_REACH = 2.5
_MAX_KNOWN_REACH = 1.0
"""A face that is hidden comes back about where it was, or it is found again as something that moves."""
_SIMILAR = 0.8
"""Correlation of the thumbnails of a face when it was seen last, and of the place where it is expected."""


def expected_faces(
    state: TrackerState,
    unseen_s: np.ndarray,
    urgent: np.ndarray,
    named: np.ndarray,
    undecided: np.ndarray,
    max_s: float,
) -> ExpectedFaces:
    """The tracks of a state that was advanced to the time of a frame. All arrays have one entry per track.

    `unseen_s` is the time since each was looked at; `urgent` ones are to be looked at now, and `undecided` ones have no
    settled answer yet. No track is predicted for longer than `max_s`.
    """
    sides = box_sides(state.boxes)
    speed = np.linalg.norm(state.velocities, axis=1) / sides
    known = state.hits >= _KNOWN_HITS
    patience_s = max_s * np.where(named, 1.0, _UNNAMED) / (1 + _SLOWDOWN * speed)
    young = state.time - state.first_seen < _YOUNG_S
    patience_s = np.minimum(patience_s, np.where(undecided, np.where(young, 0.0, _UNDECIDED_S), max_s))
    grown = state.boxes + _CROWDED_SIDES * sides[:, None] * np.array([-1.0, -1.0, 1.0, 1.0])
    crowded = (iou(grown, grown) > 0).sum(axis=1) > 1
    patience_s = np.minimum(patience_s, np.where(crowded, _CROWDED_S, max_s))
    patience_s = np.minimum(patience_s, np.where(state.hidden, _HIDDEN_S, max_s))
    unconfirmed = (state.ids == NO_TRACK) & (state.hits < _CONFIRMED_HITS)
    patience_s[urgent | ~known | unconfirmed] = 0
    gone_s = np.maximum(state.time - state.last_seen, 0)
    reach = _REACH + np.where(known, _ACCELERATION / 2 * gone_s**2, _FASTEST * gone_s)
    reach = np.minimum(reach, np.where(known | state.hidden, _MAX_KNOWN_REACH, _MAX_REACH))
    return ExpectedFaces(state.keys, state.boxes, unseen_s, patience_s, reach, state.hidden)


class _Seen(NamedTuple):
    """A track in the frame in which its face was last seen."""

    faces: Faces
    row: int
    clarity: float
    thumbnail: Optional[np.ndarray]


class LastLooks:
    """When each track was looked at, and what its face was like when it was last seen. By key of the track."""

    def __init__(self) -> None:
        self._looked_at: Dict[int, float] = {}
        self._seen: Dict[int, _Seen] = {}

    @property
    def kept(self) -> Tuple[Dict[int, Any], ...]:
        """From which ended tracks are to be deleted."""
        return self._looked_at, self._seen

    def remember(self, moment: Moment, keys: Sequence[int]) -> None:
        """A frame that was looked at; `keys` are the tracks of its faces."""
        before = moment.before.keys if moment.looked_at is None else moment.before.keys[moment.looked_at]
        self._looked_at.update(dict.fromkeys([*before.tolist(), *keys], moment.before.time))
        for row, key in enumerate(keys):
            self._seen[key] = _Seen(moment.faces, row, float(moment.clarities[row]), moment.thumbnail(row))

    def ages(self, state: TrackerState, time: float) -> np.ndarray:
        """Seconds since each track was looked at."""
        return np.array([max(0.0, time - self._looked_at.get(key, time)) for key in state.keys.tolist()])

    def resemble(
        self, state: TrackerState, boxes: np.ndarray, thumbnails_at: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Whether the picture looks like each face where it is expected (a mask); hidden ones are not compared."""
        visible = np.flatnonzero(~state.hidden)
        similar = np.ones(len(state), np.bool_)
        if len(visible):
            for row, key, now in zip(visible, state.keys[visible].tolist(), thumbnails_at(boxes[visible])):
                seen = self._seen.get(key)
                if seen is not None and seen.thumbnail is not None:
                    similar[row] = float(seen.thumbnail @ now) >= _SIMILAR
        return similar

    def moved(self, keys: Sequence[int], boxes: np.ndarray) -> Tuple[Faces, Tuple[float, ...]]:
        """The faces of these tracks moved to where they are expected (N x 4), and how clearly they were seen."""
        if not keys:
            return Faces.empty(), ()
        seen = [self._seen[key] for key in keys]
        before = np.stack([one.faces.boxes[one.row] for one in seen])
        scale = (boxes[:, 2:] - boxes[:, :2]) / np.maximum(before[:, 2:] - before[:, :2], 1e-6)
        landmarks = np.stack([one.faces.landmarks[one.row] for one in seen]) - before[:, None, :2]
        masks = [one.faces.mask_probabilities[one.row] for one in seen if one.faces.mask_probabilities is not None]
        faces = Faces(
            boxes=boxes.astype(np.float32),
            scores=np.array([one.faces.scores[one.row] for one in seen], np.float32),
            landmarks=(boxes[:, None, :2] + landmarks * scale[:, None]).astype(np.float32),
            mask_probabilities=np.array(masks, np.float32) if len(masks) == len(seen) else None,
        )
        return faces, tuple(one.clarity for one in seen)
