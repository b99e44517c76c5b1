"""How a server was doing lately: a few numbers every few seconds, for as long as fits into a plot."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Callable, Deque, Dict, List, NamedTuple, Optional

from app.monitoring.processes import children, own_memory_bytes
from app.service.run_view import RunView

logger = logging.getLogger(__name__)

EVERY_S = 5.0
KEPT = 360
"""Half an hour. Older ones are forgotten."""


class Measurement(NamedTuple):
    """What was measured since the one before."""

    time: float
    """Seconds since the epoch."""
    fps: Dict[str, float]
    """Frames that were looked at per second, by channel."""
    latency_ms: Dict[str, float]
    """By live channel, from the arrival of a frame to its result, on average."""
    stages_ms: Dict[str, float]
    """By stage, per frame, on average."""
    degrade_level: int
    memory_mb: float
    """Of this process and those that it has started."""
    reconnects: int
    """Of all channels since the start."""


class _Totals(NamedTuple):
    """What is counted since the start of the run."""

    clock_s: float
    frames: Dict[str, int]
    ages: Dict[str, List[float]]
    """By live channel: the number of frames and the sum of their seconds."""
    stages_s: Dict[str, float]


class Measurements:
    """Measures on a thread of its own, so that a loop that hangs is seen as well."""

    def __init__(self, view: RunView, clock: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._clock = clock
        self._taken: Deque[Measurement] = deque(maxlen=KEPT)
        self._before: Optional[_Totals] = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="measurements", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    @property
    def taken(self) -> List[Measurement]:
        """The oldest first."""
        return list(self._taken)

    def _run(self) -> None:
        while True:
            try:
                self.measure()
            except OSError as error:  # too many open files, as when many clients are connected
                logger.debug("nothing was measured: %s", error)
            if self._closing.wait(EVERY_S):
                return

    def measure(self) -> None:
        now, before = self._totals(), self._before
        self._before = now
        if before is None:
            return
        run = self._view.monitor.run
        seconds = max(now.clock_s - before.clock_s, 1e-3)
        new = {name: frames - before.frames.get(name, 0) for name, frames in now.frames.items()}
        all_new = sum(new.values())
        latency = {}
        for name, (count, total) in now.ages.items():
            count_before, total_before = before.ages.get(name, [0, 0.0])
            if count > count_before:
                latency[name] = 1000 * (total - total_before) / (count - count_before)
        stages = {stage: 1000 * (total - before.stages_s.get(stage, 0.0)) for stage, total in now.stages_s.items()}
        started = children()
        self._taken.append(
            Measurement(
                time=time.time(),
                fps={name: frames / seconds for name, frames in new.items()},
                latency_ms=latency,
                stages_ms={stage: spent / all_new for stage, spent in stages.items()} if all_new else {},
                degrade_level=0 if run is None else int(run.degrade.level),
                memory_mb=(own_memory_bytes() + (0 if started is None else started.resident_bytes)) / 1e6,
                reconnects=sum(status.counters.reconnects for status in self._view.channels()),
            )
        )

    def _totals(self) -> _Totals:
        counts = self._view.monitor.counts
        # The loop may add a key meanwhile; copies of a dict are made at once.
        ages = {name: [histogram.cumulated()[-1][1], histogram.sum] for name, histogram in counts.ages.copy().items()}
        stages = {stage: histogram.sum for stage, histogram in counts.stages.copy().items()}
        return _Totals(self._clock(), counts.processed.copy(), ages, stages)
