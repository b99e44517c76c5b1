"""Following faces from frame to frame by where they are. Pure: the state goes in, the next state comes out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Tuple

import numpy as np

from app.settings import TrackingSettings
from app.types import NO_TRACK

_VELOCITY_INERTIA = 0.5
"""Share of the old velocity that is kept when a new one is measured: the boxes of detectors jitter."""
_MAX_PREDICTION_S = 0.5
"""Hidden people are not assumed to keep their direction for longer than this."""
_SLOW_FRAMES = 1.5
"""A track survives this many frame intervals of its channel, however long they are."""
_TINY = 1e-9


def _zeros(shape: Tuple[int, ...], kind: Any) -> Any:
    return field(default_factory=lambda: np.zeros(shape, kind))


@dataclass(frozen=True, eq=False)
class TrackerState:
    """All tracks of one channel as parallel arrays, the oldest first. The arrays are never written to."""

    boxes: np.ndarray = _zeros((0, 4), np.float64)
    """Where each face was last seen."""
    velocities: np.ndarray = _zeros((0, 2), np.float64)
    """Of the centre of the box, in pixels per second."""
    keys: np.ndarray = _zeros((0,), np.int64)
    """Assigned in the first frame, never reused."""
    ids: np.ndarray = _zeros((0,), np.int64)
    """Public ids: NO_TRACK until confirmed, then 1, 2, 3 … without gaps, never reused."""
    hits: np.ndarray = _zeros((0,), np.int64)
    """Of an unconfirmed track: frames with the face minus frames without it."""
    hidden: np.ndarray = _zeros((0,), np.bool_)
    """Whether the face was missing in the last frame."""
    first_seen: np.ndarray = _zeros((0,), np.float64)
    last_seen: np.ndarray = _zeros((0,), np.float64)
    next_key: int = 1
    next_id: int = 1
    time: float = float("-inf")
    """Of the last frame."""
    intervals: Tuple[float, float] = (0.0, 0.0)
    """Seconds between the last frames, the newest last."""

    def __len__(self) -> int:
        return len(self.keys)

    def chosen(self, rows: np.ndarray) -> TrackerState:
        """The state with only these tracks; `rows` is a mask or indices."""
        arrays = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return replace(self, **arrays)


_COLUMNS = ("boxes", "velocities", "keys", "ids", "hits", "hidden", "first_seen", "last_seen")


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which track each face of the frame belongs to."""

    rows: np.ndarray
    """One per face: its row in the new state."""
    returned: np.ndarray
    """One per face: whether its track was hidden before, so that it may be another person who stepped out."""


def step(
    state: TrackerState, boxes: np.ndarray, time: float, settings: TrackingSettings
) -> Tuple[TrackerState, Assignment]:
    """The state after a frame in which faces were found at `boxes` (N x 4).

    A face belongs to the track whose last or predicted position it overlaps most; a face without one starts a track.
    A track gets its id when it was seen in `min_hits` more frames than it was missed in. It is forgotten when it was
    not seen for `forget_after_s`, or, without an id, when it was missed as often as seen. The clock may jump back: what
    was seen "later" counts as seen now.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    state = _with_time(state, time, settings.forget_after_s)
    faces, tracks = _pair(_overlaps(state, boxes), settings.min_iou)
    returned = np.zeros(len(boxes), np.bool_)
    returned[faces] = state.hidden[tracks]
    seen = _with_seen(state, boxes[faces], tracks)
    kept = ~seen.hidden | (seen.ids != NO_TRACK) | (seen.hits > 0)
    row_now = np.cumsum(kept) - 1
    new = np.ones(len(boxes), np.bool_)
    new[faces] = False
    rows = np.empty(len(boxes), np.int64)
    rows[faces] = row_now[tracks]
    survivors = seen.chosen(kept)
    rows[new] = len(survivors) + np.arange(np.count_nonzero(new))
    state = _with_new(survivors, boxes[new])
    due = (state.ids == NO_TRACK) & (state.hits >= settings.min_hits)
    if due.any():
        ids = state.ids.copy()
        ids[due] = state.next_id + np.arange(np.count_nonzero(due))
        state = replace(state, ids=ids, next_id=int(ids.max()) + 1)
    return state, Assignment(rows, returned)


def restarted(state: TrackerState) -> TrackerState:
    """A state without tracks whose ids continue: for a picture that is unrelated to the one before."""
    return TrackerState(next_key=state.next_key, next_id=state.next_id)


def _with_time(state: TrackerState, time: float, forget_after_s: float) -> TrackerState:
    """The state at the time of a new frame, without the tracks that are too old."""
    interval = max(0.0, time - state.time) if np.isfinite(state.time) else 0.0
    intervals = (state.intervals[1], interval)
    # The shorter of two intervals: a single gap in the stream does not make it a slow one.
    forget_after_s = max(forget_after_s, _SLOW_FRAMES * min(intervals))
    last_seen = np.minimum(state.last_seen, time)
    first_seen = np.minimum(state.first_seen, time)
    state = replace(state, time=time, intervals=intervals, last_seen=last_seen, first_seen=first_seen)
    alive = time - last_seen <= forget_after_s
    return state if alive.all() else state.chosen(alive)


def _overlaps(state: TrackerState, boxes: np.ndarray) -> np.ndarray:
    """Faces x tracks: the larger of the overlaps with the last and with the predicted position."""
    if not len(state) or not len(boxes):
        return np.zeros((len(boxes), len(state)))
    ahead_s = np.minimum(state.time - state.last_seen, _MAX_PREDICTION_S)[:, None]
    predicted = state.boxes + np.tile(state.velocities * ahead_s, 2)
    both = iou(boxes, np.concatenate([state.boxes, predicted]))
    best: np.ndarray = np.maximum(both[:, : len(state)], both[:, len(state) :])
    return best


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with each other one, N x M; 0 where a box is empty or not finite."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    width, height = np.moveaxis(np.maximum(high - low, 0), 2, 0)
    shared: np.ndarray = width * height
    total = _areas(boxes)[:, None] + _areas(others)[None, :] - shared
    overlap: np.ndarray = shared / np.maximum(total, _TINY)
    overlap[~(overlap <= 1)] = 0
    return overlap


def _areas(boxes: np.ndarray) -> np.ndarray:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas: np.ndarray = sides[:, 0] * sides[:, 1]
    return areas


def _pair(overlaps: np.ndarray, min_iou: float) -> Tuple[np.ndarray, np.ndarray]:
    """Faces and their tracks: the largest overlap first; of equal ones the earlier face, then the older track."""
    near_faces, near_tracks = np.nonzero(overlaps >= min_iou)
    order = np.argsort(-overlaps[near_faces, near_tracks], kind="stable")
    faces: List[int] = []
    tracks: List[int] = []
    taken = set()
    paired = set()
    for face, track in zip(near_faces[order].tolist(), near_tracks[order].tolist()):
        if face not in paired and track not in taken:
            paired.add(face)
            taken.add(track)
            faces.append(face)
            tracks.append(track)
    return np.array(faces, np.int64), np.array(tracks, np.int64)


def _with_seen(state: TrackerState, boxes: np.ndarray, tracks: np.ndarray) -> TrackerState:
    """The state after `tracks` were seen at `boxes`, and no others."""
    hidden = np.ones(len(state), np.bool_)
    hidden[tracks] = False
    elapsed = (state.time - state.last_seen[tracks])[:, None]
    moved = (boxes[:, :2] + boxes[:, 2:] - state.boxes[tracks, :2] - state.boxes[tracks, 2:]) / 2
    measured = np.where(elapsed > _TINY, moved / np.maximum(elapsed, _TINY), state.velocities[tracks])
    all_boxes, velocities, last_seen = state.boxes.copy(), state.velocities.copy(), state.last_seen.copy()
    velocities[tracks] = _VELOCITY_INERTIA * velocities[tracks] + (1 - _VELOCITY_INERTIA) * measured
    all_boxes[tracks] = boxes
    last_seen[tracks] = state.time
    hits = state.hits + np.where(hidden, -1, 1)
    return replace(state, boxes=all_boxes, velocities=velocities, last_seen=last_seen, hidden=hidden, hits=hits)


def _with_new(state: TrackerState, boxes: np.ndarray) -> TrackerState:
    count = len(boxes)
    if not count:
        return state
    now = np.full(count, state.time)
    begun = {
        "boxes": boxes,
        "velocities": np.zeros((count, 2)),
        "keys": np.arange(state.next_key, state.next_key + count),
        "ids": np.full(count, NO_TRACK),
        "hits": np.ones(count, np.int64),
        "hidden": np.zeros(count, np.bool_),
        "first_seen": now,
        "last_seen": now,
    }
    joined: Dict[str, Any] = {name: np.concatenate([getattr(state, name), column]) for name, column in begun.items()}
    return replace(state, next_key=state.next_key + count, **joined)
