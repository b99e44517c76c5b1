"""Following faces from frame to frame by where they are. Pure: the state goes in, the next state comes out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, Optional, Tuple

import numpy as np

from app.settings import TrackingSettings
from app.types import NO_TRACK

_VELOCITY_MEMORY_S = 0.11
"""Time constant of the mean of the measured velocities: 0.7 of the old one is kept at 25 frames/s, 0.16 at 5. The boxes
of detectors jitter, which matters the less the farther the face moves between two frames."""
_EARLY_INERTIA = 0.3
"""Share of the old velocity that a new track keeps at most, as it is a guess."""
_MAX_PREDICTION_S = 0.5
"""Hidden people are not assumed to keep their direction for longer than this."""
_SLOW_FRAMES = 1.5
"""A track survives this many frame intervals of its channel, however long they are."""
_KNOWN_HITS = 3
"""Frames after which the velocity of a track is known, and the place where it was last seen counts less."""
_STALE_PLACE = 0.6
"""Weight of the overlap with that place. It was free as soon as the face moved on, and may be another's by now."""
_HIDDEN = 0.8
"""Weight of the overlap with a hidden face: the one that was visible in the last frame is the more likely one."""
_RIVAL_IOU = 0.1
"""A pairing is doubtful if another one overlaps less than this much worse."""
_FASTEST = 12.0
"""Widths of the face per second. A person who walks past at 1.4 m/s moves 9 of them."""
_FARTHEST = 2.5
"""Widths of the face between two frames, at any frame rate."""
_MAX_GROWTH = 1.6
"""Ratio of the sides of two boxes of one face that do not overlap."""
_JITTER = 0.15
"""Share of the face by which a box may miss its predicted place or size in two frames at the same time."""
_ACCELERATION = 10.0
"""In faces per second squared: by how much more it may miss its place after some time."""
_APPROACH = 1.0
"""By how much more the size may change (natural logarithm) per second."""
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
    """Whether the face was missing when it was last looked for."""
    clear: np.ndarray = _zeros((0,), np.bool_)
    """Whether the face was ever seen so clearly that it is reported even if it was seen only once."""
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


_COLUMNS = ("boxes", "velocities", "keys", "ids", "hits", "hidden", "clear", "first_seen", "last_seen")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which faces of a frame belong to which tracks; the other faces start new ones."""

    faces: np.ndarray
    """Rows of the boxes."""
    tracks: np.ndarray
    """For each of these faces: the row of its track."""
    doubtful: np.ndarray
    """For each of these faces: whether it may belong to another person."""


def pair(state: TrackerState, boxes: np.ndarray, settings: TrackingSettings) -> Pairs:
    """Pairs the faces at `boxes` (N x 4) with the tracks of a state that was advanced to the time of the frame.

    A face belongs to the track whose last or predicted position it overlaps most. What is left over is paired by
    distance, as a person who walks past moves by more than a face between two frames at 10 frames/s. Such a pairing is
    doubtful, and so is one that has a rival, or that requires a jump.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    if not len(state) or not len(boxes):
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))
    predicted = predicted_boxes(state)
    overlaps = _overlaps(state, predicted, boxes, settings.min_iou)
    faces, tracks = _greedy(overlaps, overlaps >= settings.min_iou)
    doubtful = _have_rivals(overlaps, faces, tracks, settings.min_iou)
    doubtful |= _have_jumped(state, predicted, boxes[faces], tracks)
    if len(faces) < min(len(boxes), len(state)):
        nearness, near = _nearness(state, predicted, boxes)
        near[faces] = False
        near[:, tracks] = False
        more_faces, more_tracks = _greedy(nearness, near)
        faces, tracks = np.concatenate([faces, more_faces]), np.concatenate([tracks, more_tracks])
        doubtful = np.concatenate([doubtful, np.ones(len(more_faces), np.bool_)])
    return Pairs(faces, tracks, doubtful)


def advance(
    state: TrackerState,
    boxes: np.ndarray,
    pairs: Pairs,
    settings: TrackingSettings,
    clear: Optional[np.ndarray] = None,
    looked_at: Optional[np.ndarray] = None,
) -> Tuple[TrackerState, np.ndarray]:
    """The state after a frame with faces at `boxes`, and the row of each face in it.

    A track gets its id when it was seen in `min_hits` more frames than it was missed in, here or in `confirmed`. It is
    forgotten when it was not seen for `forget_after_s`, or, without an id, when it was missed as often as seen. Then it
    gets its id after all if its face was ever among the `clear` ones (a mask), so that it is reported.

    Tracks that are not `looked_at` (a mask; None: all are) stay as they are, unless their face was found.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    clear = np.zeros(len(boxes), np.bool_) if clear is None else clear
    faces, tracks = pairs.faces, pairs.tracks
    seen = _with_seen(state, boxes[faces], tracks, clear[faces], looked_at)
    seen = _with_ids(seen, (seen.hits >= settings.min_hits) | (seen.clear & seen.hidden & (seen.hits <= 0)))
    kept = ~seen.hidden | (seen.ids != NO_TRACK) | (seen.hits > 0)
    new = np.ones(len(boxes), np.bool_)
    new[faces] = False
    survivors = seen.chosen(kept)
    rows = np.empty(len(boxes), np.int64)
    rows[faces] = (np.cumsum(kept) - 1)[tracks]
    rows[new] = len(survivors) + np.arange(np.count_nonzero(new))
    state = _with_new(survivors, boxes[new], clear[new])
    return _with_ids(state, state.hits >= settings.min_hits), rows


def confirmed(state: TrackerState, required_hits: np.ndarray) -> TrackerState:
    """The state in which each track that was seen so often (one number per track) has an id."""
    return _with_ids(state, state.hits >= required_hits)


def at_time(state: TrackerState, time: float, forget_after_s: float) -> TrackerState:
    """The state at the time of a new frame, without the tracks that are too old.

    The clock may jump back: what was seen "later" counts as seen now.
    """
    interval = max(0.0, time - state.time) if np.isfinite(state.time) else 0.0
    intervals = (state.intervals[1], interval)
    # The shorter of two intervals: a single gap in the stream does not make it a slow one.
    forget_after_s = max(forget_after_s, _SLOW_FRAMES * min(intervals))
    last_seen = np.minimum(state.last_seen, time)
    first_seen = np.minimum(state.first_seen, time)
    state = replace(state, time=time, intervals=intervals, last_seen=last_seen, first_seen=first_seen)
    alive = time - last_seen <= forget_after_s
    return state if alive.all() else state.chosen(alive)


def restarted(state: TrackerState) -> TrackerState:
    """A state without tracks whose ids continue: for a picture that is unrelated to the one before."""
    return TrackerState(next_key=state.next_key, next_id=state.next_id)


def _with_ids(state: TrackerState, due: np.ndarray) -> TrackerState:
    due = due & (state.ids == NO_TRACK)
    if not due.any():
        return state
    ids = state.ids.copy()
    ids[due] = state.next_id + np.arange(np.count_nonzero(due))
    return replace(state, ids=ids, next_id=int(ids.max()) + 1)


def predicted_boxes(state: TrackerState, time: Optional[float] = None) -> np.ndarray:
    """The boxes of all tracks, at the time of the state unless another is given."""
    ahead_s = np.minimum((state.time if time is None else time) - state.last_seen, _MAX_PREDICTION_S)[:, None]
    moved = state.velocities * ahead_s
    predicted: np.ndarray = state.boxes + np.concatenate([moved, moved], axis=1)
    return predicted


def _overlaps(state: TrackerState, predicted: np.ndarray, boxes: np.ndarray, min_iou: float) -> np.ndarray:
    """Faces x tracks: the larger of the overlaps with the last and with the predicted position."""
    both = iou(boxes, np.concatenate([state.boxes, predicted]))
    trust = np.where(state.hits >= _KNOWN_HITS, _STALE_PLACE, 1.0)
    best: np.ndarray = np.maximum(trust * both[:, : len(state)], both[:, len(state) :])
    return np.asarray(np.where(state.hidden & (best >= min_iou), np.maximum(_HIDDEN * best, min_iou), best))


def _have_rivals(overlaps: np.ndarray, faces: np.ndarray, tracks: np.ndarray, min_iou: float) -> np.ndarray:
    """For each pairing: whether its face or its track overlaps another one nearly as much."""
    own = overlaps[faces, tracks]
    near = (overlaps[faces] >= own[:, None] - _RIVAL_IOU) & (overlaps[faces] >= min_iou)
    claimed = (overlaps[:, tracks] >= own - _RIVAL_IOU) & (overlaps[:, tracks] >= min_iou)
    return np.asarray((near.sum(axis=1) > 1) | (claimed.sum(axis=0) > 1))


def _have_jumped(state: TrackerState, predicted: np.ndarray, boxes: np.ndarray, tracks: np.ndarray) -> np.ndarray:
    """For each pairing: whether the face is farther from its place, or has another size, than it can have."""
    elapsed = state.time - state.last_seen[tracks]
    last = state.boxes[tracks]
    miss = np.minimum(_distances(last, boxes), _distances(predicted[tracks], boxes))
    moved = miss > _JITTER + _ACCELERATION * elapsed**2
    scaled = np.abs(np.log(box_sides(boxes) / box_sides(last))) > _JITTER + _APPROACH * elapsed
    return np.asarray(moved | scaled)


def _nearness(state: TrackerState, predicted: np.ndarray, boxes: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Faces x tracks: how near they are (larger is nearer), and which of them a walking person could connect."""
    last = _distances(state.boxes[None], boxes[:, None])
    ahead = _distances(predicted[None], boxes[:, None])
    known = state.hits >= _KNOWN_HITS
    distance = np.minimum(ahead, np.where(known, last / _STALE_PLACE, last))
    # From one look to the next only: a face that is hidden for longer comes back about where it was.
    elapsed = state.time - state.last_seen
    elapsed = np.where(state.hidden, np.minimum(elapsed, _SLOW_FRAMES * state.intervals[1]), elapsed)
    growth = np.abs(np.log(box_sides(boxes)[:, None] / box_sides(state.boxes)[None]))
    near = (distance <= np.minimum(_FASTEST * elapsed, _FARTHEST)) & (growth <= np.log(_MAX_GROWTH))
    return -distance, near


def _distances(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Between the centres, in sides of the smaller box; infinite where a box is empty or not finite."""
    offsets = (others[..., :2] + others[..., 2:] - boxes[..., :2] - boxes[..., 2:]) / 2
    distances: np.ndarray = np.linalg.norm(offsets, axis=-1) / np.minimum(box_sides(boxes), box_sides(others))
    return np.where(np.isfinite(distances), distances, np.inf)


def box_sides(boxes: np.ndarray) -> np.ndarray:
    """The side of a square of the same area; a tiny number for an empty box."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return np.asarray(np.maximum(np.sqrt(sides[..., 0] * sides[..., 1]), _TINY))


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


def _greedy(scores: np.ndarray, allowed: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Faces and their tracks: the largest score first; of equal ones the earlier face, then the older track."""
    near_faces, near_tracks = np.nonzero(allowed)
    order = np.argsort(-scores[near_faces, near_tracks], kind="stable")
    faces: Dict[int, int] = {}
    taken = set()
    for face, track in zip(near_faces[order].tolist(), near_tracks[order].tolist()):
        if face not in faces and track not in taken:
            faces[face] = track
            taken.add(track)
    return np.array(list(faces), np.int64), np.array(list(faces.values()), np.int64)


def _with_seen(
    state: TrackerState, boxes: np.ndarray, tracks: np.ndarray, clear: np.ndarray, looked_at: Optional[np.ndarray]
) -> TrackerState:
    """The state after `tracks` were seen at `boxes`, and no others of those that were looked at."""
    missed = np.ones(len(state), np.bool_) if looked_at is None else looked_at.copy()
    missed[tracks] = False
    hidden = state.hidden | missed
    hidden[tracks] = False
    elapsed = (state.time - state.last_seen[tracks])[:, None]
    moved = (boxes[:, :2] + boxes[:, 2:] - state.boxes[tracks, :2] - state.boxes[tracks, 2:]) / 2
    measured = np.where(elapsed > _TINY, moved / np.maximum(elapsed, _TINY), state.velocities[tracks])
    # Faster than anybody: the picture jumped, or another face was mistaken for this one.
    measured[np.linalg.norm(measured, axis=1) > _FASTEST * box_sides(boxes)] = 0
    all_boxes, velocities, last_seen = state.boxes.copy(), state.velocities.copy(), state.last_seen.copy()
    inertia = np.exp(-elapsed / _VELOCITY_MEMORY_S)
    inertia = np.where(state.hits[tracks][:, None] >= _KNOWN_HITS, inertia, np.minimum(inertia, _EARLY_INERTIA))
    velocities[tracks] = inertia * velocities[tracks] + (1 - inertia) * measured
    all_boxes[tracks] = boxes
    last_seen[tracks] = state.time
    hits = state.hits - missed
    hits[tracks] += 1
    all_clear = state.clear.copy()
    all_clear[tracks] |= clear
    return replace(
        state, boxes=all_boxes, velocities=velocities, last_seen=last_seen, hidden=hidden, hits=hits, clear=all_clear
    )


def _with_new(state: TrackerState, boxes: np.ndarray, clear: np.ndarray) -> TrackerState:
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
        "clear": clear,
        "first_seen": now,
        "last_seen": now,
    }
    joined: Dict[str, Any] = {name: np.concatenate([getattr(state, name), column]) for name, column in begun.items()}
    return replace(state, next_key=state.next_key + count, **joined)
