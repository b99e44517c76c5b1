"""Where something moves in the frames of a channel, found in a small grey copy.

The copy is compared with a background that follows slow changes. What is not motion has other shapes in time: light
changes all parts of the same brightness alike, rain and noise are somewhere else in the next frame, and a lamp or
a leaf returns to where it was, again and again. Each of these is recognised by its shape, not by its strength.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Optional, Tuple

import cv2
import numpy as np

_SAMPLES = 320
"""Pixels that are read of each row, or of each column of an upright picture: reading all takes ten times as long. Four
of them make a cell, which is 8 x 8 pixels in 1280 x 720: a body of 40 x 120 pixels fills 5 x 15."""

MIN_CONTRAST = 5.0
"""Grey levels that a cell has to differ from the background, averaged with its neighbours."""
_NOISE_FACTOR = 6.0
"""How many times the median difference of a frame that is: about four standard deviations of normal noise."""
_EVERYWHERE_SHARE = 0.5
"""Of the cells that differ, from which the whole picture has changed."""
_EVERYWHERE_NOISE = 8.0
"""Grey levels of the median difference from which the whole picture has changed."""

_FOLLOWS_IN_S = 2.0
"""Time constant with which the background follows slow changes of cells that do not move."""
_ABSORBED_AFTER_S = 12.0
"""What stays for this time belongs to the background. Until then the background is as it was before, so that people who
walk through leave no trace in it."""

_RESTLESS_PER_S = 0.8
"""A cell that moves and returns to its background more often than this is a lamp, a leaf or a flag."""
_RESTLESS_WINDOW_S = 5.0
_RESTLESS_FACTOR = 1.5
"""Motion in a restless cell has to differ this many times more than is usual there."""

_MIN_CELLS = 4
_TRANSIENT_SHARE = 0.0007
"""Of the cells: more specks than this in a frame, of which nothing remains in the next one, are rain or noise, and the
contrast that is needed grows."""
_GROWTH, _DECAY = 1.15, 0.995
_MAX_WEATHER = 6.0
"""How many times the contrast may grow."""

_BLOWN = 235
"""Brighter cells may be cut off: their true brightness is unknown when the light changes."""
_LIGHT_STEP = 0.5
"""Grey levels from which light has changed."""
_CAUTION = np.diag([1e-3, 3, 3]).astype(np.float32)
_MAX_STEP_S = 1.0

_NEIGHBOURS = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Motion:
    """What moves in a frame."""

    areas: np.ndarray
    """N x 4 int32: x1 y1 x2 y2 in pixels of the frame, the largest first; boxes do not overlap."""
    everywhere: bool = False
    """Most of the picture changed, or it is the first one: `areas` is empty, and everything has to be looked at."""


_NOTHING = Motion(np.empty((0, 4), np.int32))
_EVERYWHERE = Motion(np.empty((0, 4), np.int32), everywhere=True)


class MotionDetector:
    """Finds what moves in the frames of one channel. Takes 0.2 ms per frame, of whatever size."""

    def __init__(self, ignored: Optional[np.ndarray] = None) -> None:
        """`ignored` is true where motion does not count: H x W, of any size with the shape of the frames."""
        self._ignored = ignored
        self._watched: Optional[np.ndarray] = None
        self._frame_size: Optional[Tuple[int, int]] = None

    def update(self, image: np.ndarray, seconds: float = 0.1) -> Motion:
        """What moves in `image` (H x W x 3, uint8), `seconds` after the frame before it."""
        copy = _grey_copy(image)
        size = (image.shape[1], image.shape[0])
        if size != self._frame_size:
            self._frame_size = size
            if self._ignored is not None:
                ignored = cv2.resize(self._ignored.astype(np.uint8), copy.shape[::-1], interpolation=cv2.INTER_NEAREST)
                self._watched = (ignored == 0).astype(np.uint8)
            self._start(copy)
            return _EVERYWHERE
        seconds = min(max(seconds, 0.001), _MAX_STEP_S)
        self._follow_light(copy)
        difference = copy - self._background
        smooth = cv2.blur(difference, (3, 3))
        strength = np.abs(smooth)
        noise = _median(strength)
        if noise > _EVERYWHERE_NOISE and noise > 4 * self._noise:
            self._start(copy)
            return _EVERYWHERE
        self._noise += 0.1 * (noise - self._noise)
        moving = strength > max(MIN_CONTRAST, _NOISE_FACTOR * noise) * self._weather
        self._learn_restlessness(smooth > 0, moving, strength, seconds)
        self._learn_background(copy, difference, moving, seconds)
        calm = self._restless < _RESTLESS_PER_S
        counted = moving & (calm | (strength > _RESTLESS_FACTOR * self._usual))
        shown = counted.view(np.uint8)
        if self._watched is not None:
            shown = shown * self._watched
        if np.count_nonzero(shown) > _EVERYWHERE_SHARE * self._cells:
            self._start(copy)
            return _EVERYWHERE
        return self._areas(shown, calm)

    def _start(self, copy: np.ndarray) -> None:
        """Everything that was learned of the picture is forgotten."""
        self._background = copy
        self._recent = copy.copy()
        """The mean of the last seconds."""
        self._moved_s = np.zeros(copy.shape, np.float32)
        """For how long each cell has been different from the background."""
        self._noise = 0.5
        self._weather = 1.0
        self._before = np.zeros(copy.shape, np.uint8)
        """What differed in the frame before."""
        self._moving = np.zeros(copy.shape, np.bool_)
        self._brighter = self._moving
        self._restless = np.zeros(copy.shape, np.float32)
        """How often per second each cell returned to its background."""
        self._usual = np.zeros(copy.shape, np.float32)
        """By how much a restless cell differs."""
        self._cells = copy.size if self._watched is None else max(1, int(np.count_nonzero(self._watched)))

    def _follow_light(self, copy: np.ndarray) -> None:
        """Applies the change of brightness and contrast to the background, estimated without what moves."""
        known, seen = self._background[2::4, 2::4].reshape(-1), copy[2::4, 2::4].reshape(-1)
        usable = (known < _BLOWN) & (seen < _BLOWN) & ~self._moving[2::4, 2::4].reshape(-1)
        if np.count_nonzero(usable) < 100:
            return
        known, seen = known[usable], seen[usable]
        u, change = known / 128 - 1, seen - known
        # What a picture without contrast does not say stays as it was: small coefficients are preferred.
        curve = np.zeros(3, np.float32)
        powers = np.stack([np.ones_like(u), u, u * u])
        for _ in range(3):
            error = np.abs(change - curve @ powers)
            fits = powers * (error <= 2 * _median_of(error) + 1)
            curve = np.linalg.solve(fits @ powers.T + _CAUTION, fits @ change)
        if np.abs(curve).max() > _LIGHT_STEP:
            blown = (self._background > _BLOWN) & ~self._moving
            u = self._background / 128 - 1
            self._background += curve[0] + u * (curve[1] + u * curve[2])
            np.copyto(self._background, copy, where=blown)

    def _learn_restlessness(
        self, brighter: np.ndarray, moving: np.ndarray, strength: np.ndarray, seconds: float
    ) -> None:
        returned = self._moving & ~(moving & (brighter == self._brighter))
        self._moving, self._brighter = moving, brighter
        self._restless *= math.exp(-seconds / _RESTLESS_WINDOW_S)
        self._restless += (1 / _RESTLESS_WINDOW_S) * returned
        self._usual *= math.exp(-seconds / (4 * _RESTLESS_WINDOW_S))
        np.maximum(self._usual, strength * moving, out=self._usual)

    def _learn_background(self, copy: np.ndarray, difference: np.ndarray, moving: np.ndarray, seconds: float) -> None:
        # In the middle of a person there are cells that look like the background for a moment.
        near = cv2.dilate(moving.view(np.uint8), _NEIGHBOURS).view(np.bool_)
        rate = np.float32(1 - math.exp(-seconds / _FOLLOWS_IN_S))
        self._recent += rate * (copy - self._recent)
        self._background += difference * (rate * ~near)
        self._moved_s += np.float32(seconds)
        self._moved_s *= near
        np.copyto(self._background, self._recent, where=self._moved_s > _ABSORBED_AFTER_S)

    def _areas(self, shown: np.ndarray, calm: np.ndarray) -> Motion:
        """Boxes around what moved in the frame before as well, since specks do not stay where they are."""
        near_before = cv2.dilate(self._before, _NEIGHBOURS, iterations=2)
        self._before = shown
        if not shown.any():
            self._weather = max(1.0, self._weather * _DECAY)
            return _NOTHING
        joined = cv2.dilate(shown, _NEIGHBOURS)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
        cells = np.bincount(labels[shown > 0], minlength=count)
        remained = np.bincount(labels[(shown & near_before) > 0], minlength=count)
        moves = (remained >= np.maximum(_MIN_CELLS, 0.3 * cells)) & (cells > 0)
        many = np.count_nonzero((shown > 0) & calm & ~moves[labels]) > _TRANSIENT_SHARE * self._cells
        self._weather = min(_MAX_WEATHER, max(1.0, self._weather * (_GROWTH if many else _DECAY)))
        if not moves.any():
            return _NOTHING
        left, top = stats[moves, cv2.CC_STAT_LEFT], stats[moves, cv2.CC_STAT_TOP]
        right, bottom = left + stats[moves, cv2.CC_STAT_WIDTH], top + stats[moves, cv2.CC_STAT_HEIGHT]
        boxes = _merged(np.stack([left, top, right, bottom], axis=1).tolist())
        rows, columns = shown.shape
        assert self._frame_size is not None
        width, height = self._frame_size
        return Motion(np.ceil(np.array(boxes) * np.array([width / columns, height / rows] * 2)).astype(np.int32))


def _grey_copy(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    step = max(1, round(max(height, width) / _SAMPLES))
    top, left = min(step // 2, height - 1), min(step // 2, width - 1)
    # A copy without gaps: OpenCV would make one of all channels.
    samples = np.ascontiguousarray(image[top::step, left::step, 1])
    size = ((samples.shape[1] + 1) // 2, (samples.shape[0] + 1) // 2)
    return cv2.resize(samples, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _median(values: np.ndarray) -> float:
    """Of a sixteenth of the cells, which is near enough."""
    return _median_of(values[::4, ::4].reshape(-1))


def _median_of(values: np.ndarray) -> float:
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _merged(boxes: List[List[int]]) -> List[List[int]]:
    """Those that overlap as one; the largest first."""
    merged: List[List[int]] = []
    waiting = list(boxes)
    while waiting:
        box = waiting.pop()
        for at, other in enumerate(merged):
            if box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]:
                # The union may overlap others.
                del merged[at]
                waiting.append(
                    [min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3])]
                )
                break
        else:
            merged.append(box)
    return sorted(merged, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))
