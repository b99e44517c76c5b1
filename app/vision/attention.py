"""Where the detector looks in the next frame of a channel. Pure: what is known goes in, a plan and the next state come
out.

A *scan* shows the whole frame to the network, shrunk: it finds faces of ordinary size. *Tiles* cover the frame in the
resolution in which the smallest faces are found; each is looked at when something moves in it, and from time to time.
*Windows* are around known faces, at a scale at which the network sees them well, and around what begins to move, until
its face is known. Tiles and windows have one size in the network, so that it runs one shape for all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import FrozenSet, List, NamedTuple, Tuple

import numpy as np

from app.look import NOBODY, ExpectedFaces, Look
from app.settings import AttentionSettings

CELL_PX = 192
"""Side of tiles and track windows in the network."""
SMALL_CELL_PX = 128
"""The same for track windows when the machine falls behind."""
SMALLEST_PX = 16
"""Side in the network of the smallest face that is found."""
CERTAIN_PX = 28
"""Side in a scan from which a known face is certainly found again."""
DETAIL_PX = 64
"""Side in a window that a known face has at least, if it has as many pixels."""
_MAX_WINDOWS = 6
"""Around known faces; more take as long as a scan."""

_RECHECK_S = 0.5
"""While something moves: between two scans, and between two looks at the same tile."""
_FOLLOWED_S = 1.0
"""The same for scans where only people move whose faces are followed."""
_FOLLOWED_TILE_S = 2.0
"""And for tiles there."""
_FRESH_S = 1.0
"""Motion is new where there was none for this long."""
_MAX_NEW = 3
"""Windows around new motion in one frame."""
_SEARCHED_S = 10.0
"""For this long the place of a face that was lost is looked at as if something moved there: who sits still and turns
away for a moment would be missed until the next look at everything."""
_STALL_S = 1.0
"""After such a gap between two frames everything may be different."""
_MARGIN = 1.25
"""Of such a window: so many times the side of what moves."""
_TILES_PER_S = 80
"""Together they take a quarter of the time of as many scans as a video of 25 frames/s has frames."""
_MAX_TILES = 4
"""In one frame of a slow video, unless a large frame has more than can be looked at in time."""
_BODY = np.array([-1.5, -1.0, 1.5, 8.0])
"""What moves with a face, from the corners of its box: so many sides of it to the left, above, right and below."""
_SQUARE_PX = 16
"""Motion is compared with people in squares of this size."""
_EARLY = 0.5
"""A face is looked at together with others if this share of its patience has passed."""
_MAX_REACH = 1.0
"""A face that may be farther away, in its sides, is looked for in the whole frame."""
_NEARLY = 0.9
"""Share of the pixels that a face has in a window of its own, from which it needs none."""
_CONTEXT = 1.0
"""Sides of a face around it that a window shows, besides the uncertainty of its place."""


class Window(NamedTuple):
    """A part of the frame, in its pixels."""

    left: int
    top: int
    right: int
    bottom: int
    input_px: int
    """The longer side with which the network sees it."""
    searches: bool = False
    """Whether unknown faces are searched for in it, and not a known one."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known of a frame before the detector sees it."""

    size: Tuple[int, int]
    """Width and height."""
    time: float
    areas: np.ndarray
    """M x 4: what moves, in pixels of the frame."""
    everywhere: bool
    """Most of the picture moves."""
    cut: bool
    """It shows another scene than the frame before."""
    expected: ExpectedFaces


@dataclass(frozen=True, eq=False)
class Plan:
    """What the detector sees of a frame."""

    scan: bool
    """The whole frame, shrunk."""
    windows: Tuple[Window, ...]
    expected: ExpectedFaces
    looked_at: FrozenSet[int]
    """Keys of the expected tracks that are seen."""

    @property
    def look(self) -> Look:
        if self.scan:
            return Look.SCAN
        if self.windows:
            return Look.REGIONS
        return Look.PREDICTED if len(self.expected) else Look.IDLE


@dataclass(frozen=True, eq=False)
class AttentionState:
    """What was looked at when, in one channel."""

    size: Tuple[int, int] = (0, 0)
    tiles: np.ndarray = field(default_factory=lambda: np.empty((0, 4), np.int64))
    """N x 4, in pixels of the frame."""
    seen: np.ndarray = field(default_factory=lambda: np.empty(0))
    """N: when each tile was looked at."""
    due: np.ndarray = field(default_factory=lambda: np.empty(0))
    """N: when each tile is to be looked at."""
    scanned: float = -math.inf
    moved: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    """When something moved last in each square of the frame."""
    everywhere: bool = False
    """Whether most of the picture moved in the last frame."""
    expected: ExpectedFaces = NOBODY
    """In the last frame."""
    lost: np.ndarray = field(default_factory=lambda: np.empty((0, 5)))
    """M x 5: where faces were that are not followed any more, and since when."""
    time: float = -math.inf


def plan_look(
    state: AttentionState, scene: Scene, settings: AttentionSettings, scan_px: int, level: int = 0
) -> Tuple[Plan, AttentionState]:
    """Where to look in a frame, and the state after that. `scan_px` is the longer side of a scan in the network.

    `level` says how far the machine has fallen behind: from 2 on, what is known or moves is looked at half as often;
    from 3 on, known faces are seen in fewer pixels, and faces that are too small for a scan are not searched.
    """
    now, step_s = scene.time, min(scene.time - state.time, 1.0)
    if scene.size != state.size or step_s < 0:
        tiles, columns_rows = tiles_of(scene.size, settings.min_face_px, scan_px), _grid(scene.size)
        never = np.full(len(tiles), -math.inf), np.full(columns_rows[::-1], -math.inf)
        state = AttentionState(scene.size, tiles, never[0], np.full(len(tiles), now), moved=never[1])
    elif scene.cut:
        state = replace(state, due=np.minimum(state.due, now), scanned=-math.inf)
    lost = _lost(state, scene)
    missing = _covered(lost[:, :4], scene.size)
    followed, unknown = _motion(scene)
    fresh = unknown & (now - state.moved > _FRESH_S)
    moves = scene.everywhere or bool(unknown.any()) or bool(missing.any())
    slower = 2 if level >= 2 else 1
    recheck_s, followed_s, followed_tile_s = (slower * s for s in (_RECHECK_S, _FOLLOWED_S, _FOLLOWED_TILE_S))
    due = np.where(_touched(state.tiles, followed), np.minimum(state.due, state.seen + followed_tile_s), state.due)
    touched = _touched(state.tiles, unknown | missing) | scene.everywhere
    due = np.where(touched, np.minimum(due, state.seen + recheck_s), due)
    pause_s = recheck_s if moves else followed_s if followed.any() else settings.scan_every_s
    begins = scene.everywhere and not state.everywhere
    stalled = now - state.time > _STALL_S
    scan = begins or stalled or now - state.scanned >= min(pause_s, settings.scan_every_s)
    chosen = _next_tiles(due, now, step_s, settings.scan_every_s) if level < 3 else np.empty(0, np.int64)
    seen = state.seen.copy()
    seen[chosen] = now
    due = np.where(seen == now, now + settings.scan_every_s, due)
    windows, looked_at, scan = _track_windows(scene, scan, scan_px, level)
    if not scan:
        windows += _new_windows(scene, fresh)
    windows += [Window(x1, y1, x2, y2, CELL_PX, True) for x1, y1, x2, y2 in state.tiles[chosen].tolist()]
    scanned = now if scan else state.scanned
    moved = np.where(followed | unknown, now, state.moved)
    after = replace(
        state,
        seen=seen,
        due=due,
        scanned=scanned,
        moved=moved,
        everywhere=scene.everywhere,
        expected=scene.expected,
        lost=lost,
        time=now,
    )
    return Plan(scan, tuple(windows), scene.expected, frozenset(scene.expected.keys[looked_at].tolist())), after


def everything(size: Tuple[int, int], settings: AttentionSettings, scan_px: int) -> Plan:
    """A plan that looks at the whole frame and at all its tiles, for a picture that is unrelated to others."""
    tiles = tiles_of(size, settings.min_face_px, scan_px)
    windows = tuple(Window(x1, y1, x2, y2, CELL_PX, True) for x1, y1, x2, y2 in tiles.tolist())
    return Plan(True, windows, NOBODY, frozenset())


def tiles_of(size: Tuple[int, int], min_face_px: int, scan_px: int) -> np.ndarray:
    """Parts of a frame (N x 4) that together show all faces that are too small for a scan.

    Each set of tiles is for faces up to twice the size of the smallest it shows, which fit into its overlaps. A frame
    of 1280 x 720 needs one set, one of 4K three.
    """
    tiles: List[Tuple[int, int, int, int]] = []
    shrunk = max(SMALLEST_PX, min_face_px) / SMALLEST_PX
    while shrunk < max(size) / scan_px:
        side, step = round(CELL_PX * shrunk), (CELL_PX - 2 * SMALLEST_PX) * shrunk
        lefts, tops = (_starts(length, side, step) for length in size)
        tiles += [(x, y, min(x + side, size[0]), min(y + side, size[1])) for y in tops for x in lefts]
        shrunk *= 2
    return np.array(tiles, np.int64).reshape(-1, 4)


def _starts(length: int, side: int, step: float) -> List[int]:
    count = max(1, math.ceil((length - side) / step) + 1)
    return [round(at * max(0, length - side) / max(1, count - 1)) for at in range(count)]


def _lost(state: AttentionState, scene: Scene) -> np.ndarray:
    """Where faces are missing, and since when (M x 5)."""
    if scene.cut:
        return np.empty((0, 5))
    gone = state.expected.boxes[~np.isin(state.expected.keys, scene.expected.keys)]
    known = state.lost[scene.time - state.lost[:, 4] < _SEARCHED_S]
    return np.concatenate([known, np.hstack([gone, np.full((len(gone), 1), scene.time)])])


def _covered(boxes: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """The squares of the frame that the boxes (N x 4) touch: a mask."""
    columns, rows = _grid(size)
    covered = np.zeros((rows, columns), np.bool_)
    for box in boxes.tolist():
        covered[_squares(box)] = True
    return covered


def _motion(scene: Scene) -> Tuple[np.ndarray, np.ndarray]:
    """Squares of the frame in which followed people move, and those in which anything else does (masks)."""
    moving, bodies = _covered(scene.areas, scene.size), _covered(np.empty((0, 4)), scene.size)
    if len(scene.areas):
        boxes = scene.expected.boxes[~scene.expected.hidden.astype(np.bool_)]
        sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)[:, None]
        bodies = _covered(boxes + _BODY * sides, scene.size)
    return moving & bodies, moving & ~bodies


def _new_windows(scene: Scene, fresh: np.ndarray) -> List[Window]:
    """Windows around what comes to where nothing moved before: it shows faces that are not small compared with it."""
    windows: List[Window] = []
    if fresh.any():
        for box in scene.areas.tolist():
            if fresh[_squares(box)].any() and len(windows) < _MAX_NEW:
                x1, y1, x2, y2 = box
                span = max(CELL_PX, _MARGIN * max(x2 - x1, y2 - y1))
                window = _square(np.array([x1 + x2, y1 + y2]) / 2, span, scene.size, CELL_PX)
                windows.append(window._replace(searches=True))
    return windows


def _grid(size: Tuple[int, int]) -> Tuple[int, int]:
    """How many squares are in a row and in a column of the frame."""
    return -(-size[0] // _SQUARE_PX), -(-size[1] // _SQUARE_PX)


def _squares(box: List[float]) -> Tuple[slice, slice]:
    x1, y1, x2, y2 = box
    return (
        slice(max(0, int(y1 // _SQUARE_PX)), max(0, math.ceil(y2 / _SQUARE_PX))),
        slice(max(0, int(x1 // _SQUARE_PX)), max(0, math.ceil(x2 / _SQUARE_PX))),
    )


def _touched(tiles: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Which tiles show something that moves."""
    if not moving.any():
        return np.zeros(len(tiles), np.bool_)
    sums = np.pad(moving, ((1, 0), (1, 0))).astype(np.int32).cumsum(axis=0).cumsum(axis=1)
    left, top = tiles[:, 0] // _SQUARE_PX, tiles[:, 1] // _SQUARE_PX
    right, bottom = -(-tiles[:, 2] // _SQUARE_PX), -(-tiles[:, 3] // _SQUARE_PX)
    return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left] > 0)


def _next_tiles(due: np.ndarray, now: float, step_s: float, scan_every_s: float) -> np.ndarray:
    """The tiles to look at now: those that have waited longest, and no more than the time allows."""
    step_s = step_s if 0 < step_s < math.inf else 0.04
    at_once = math.ceil(max(min(_TILES_PER_S * step_s, _MAX_TILES), len(due) / scan_every_s * step_s))
    waiting = np.flatnonzero(due <= now)
    return np.asarray(waiting[np.argsort(due[waiting], kind="stable")[:at_once]])


def _track_windows(scene: Scene, scan: bool, scan_px: int, level: int) -> Tuple[List[Window], np.ndarray, bool]:
    """Windows around the tracks whose turn it is, which tracks are looked at (a mask), and whether to scan, too."""
    expected, cell_px = scene.expected, SMALL_CELL_PX if level >= 3 else CELL_PX
    boxes = expected.boxes
    sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0), 1.0)
    patience_s = expected.patience_s * (2 if level >= 2 else 1)
    turn = expected.unseen_s >= patience_s
    scan = scan or bool((turn & (expected.reach > _MAX_REACH)).any())
    looked_at = scan & (sides * min(1.0, scan_px / max(scene.size)) >= CERTAIN_PX)
    if not (turn & ~looked_at).any():
        return [], looked_at, scan
    wanted = ~looked_at & (expected.unseen_s >= _EARLY * patience_s)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    details = np.minimum(sides, DETAIL_PX)
    spans = np.maximum(cell_px, np.minimum(sides * (1 + _CONTEXT + 2 * expected.reach), sides * cell_px / details))
    # Where each face may be, as far as that is inside the frame.
    half = np.minimum(sides * (0.5 + expected.reach), spans / 2)[:, None]
    low, high = np.maximum(centres - half, 0), np.minimum(centres + half, scene.size)
    windows: List[Window] = []
    for row in np.argsort(-spans, kind="stable").tolist():
        if not wanted[row]:
            continue
        shown = wanted & (sides * cell_px >= _NEARLY * details * spans[row])
        first, last = low[row], high[row]
        for other in np.argsort(np.abs(centres - centres[row]).max(axis=1)).tolist():
            joined = np.minimum(first, low[other]), np.maximum(last, high[other])
            if shown[other] and (joined[1] - joined[0]).max() <= spans[row]:
                first, last = joined
        window = _square((first + last) / 2, float(spans[row]), scene.size, cell_px)
        shown &= (low >= window[:2]).all(axis=1) & (high <= window[2:4]).all(axis=1)
        shown[row] = True
        looked_at, wanted = looked_at | shown, wanted & ~shown
        windows.append(window)
    if len(windows) > _MAX_WINDOWS and not scan:
        return _track_windows(scene, True, scan_px, level)
    return windows, looked_at, scan


def _square(centre: np.ndarray, span: float, size: Tuple[int, int], cell_px: int) -> Window:
    """A window around a point, moved into the frame."""
    sides = [min(math.ceil(span), length) for length in size]
    left, top = (
        min(max(0, round(float(at) - side / 2)), length - side) for at, side, length in zip(centre, sides, size)
    )
    return Window(left, top, left + sides[0], top + sides[1], cell_px)
