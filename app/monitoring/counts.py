"""What is counted per frame. Plain numbers, so that a frame costs microseconds; they are read from other threads."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from typing import Callable, Dict, List, Sequence, Tuple

from app.output.outputs import Control
from app.types import FrameResult

AGE_BOUNDS_S = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
STAGE_BOUNDS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)


class Histogram:
    """How many values were at most each bound, as Prometheus wants it, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulated(self) -> List[Tuple[str, float]]:
        """Pairs of an upper bound and the number of values up to it; the last bound is `+Inf`."""
        return list(zip([*map(str, self._bounds), "+Inf"], accumulate(self._counts)))


class RunCounts:
    """An output that counts results. Written by the thread of the loop, read by any."""

    name = "metrics"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.last_turn_s = clock()
        """When the loop last came by, on the clock."""
        self.processed: Dict[str, int] = defaultdict(int)
        self.ages: Dict[str, Histogram] = defaultdict(lambda: Histogram(AGE_BOUNDS_S))
        """By live channel: seconds from the arrival of a frame to its result."""
        self.stages: Dict[str, Histogram] = defaultdict(lambda: Histogram(STAGE_BOUNDS_S))
        """In seconds."""
        self.faces: Dict[Tuple[str, ...], int] = defaultdict(int)
        """By channel and `named` or `unknown`; a face counts once in each frame that it is in."""
        self.looks: Dict[Tuple[str, ...], int] = defaultdict(int)
        """By channel and where the detector looked."""
        self.reasons: Dict[str, int] = defaultdict(int)

    def handle(self, result: FrameResult) -> None:
        frame = result.frame
        self.processed[frame.source] += 1
        self.looks[frame.source, result.look.value] += 1
        if frame.live:
            self.ages[frame.source].add(result.latency_s)
        for stage, spent_ms in result.timings_ms.items():
            self.stages[stage].add(spent_ms / 1000)
        for match in result.matches:
            self.faces[frame.source, "unknown" if match.name is None else "named"] += 1
            self.reasons[match.reason.value] += 1

    def poll(self) -> Control:
        self.last_turn_s = self._clock()
        return Control.RUN

    def close(self) -> None:
        pass

    def silent_s(self) -> float:
        """Seconds since the loop last came by."""
        return self._clock() - self.last_turn_s
