"""Counts the deaths of workers: threads and processes that a run is made of and that are started again."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from typing import Callable, Deque, Dict, Optional

from app.errors import FatalError

logger = logging.getLogger(__name__)

MAX_DEATHS = 5
WINDOW_S = 60.0


class Supervisor:
    """Shared by all threads of a run.

    A worker that dies is started again by its owner, who reports the death with `died`. One that dies MAX_DEATHS times
    within WINDOW_S will not be saved by that: the loop ends the run, with `check`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.turns = 0
        """Grows while the loop lives."""
        self._clock = clock
        self._lock = threading.Lock()
        self._deaths: Dict[str, Deque[float]] = defaultdict(lambda: deque(maxlen=MAX_DEATHS))
        self._end: Optional[FatalError] = None

    def died(self, worker: str, reason: str) -> None:
        """May be called from any thread. `worker` is its name for the user."""
        with self._lock:
            now, deaths = self._clock(), self._deaths[worker]
            deaths.append(now)
            recent = sum(now - at <= WINDOW_S for at in deaths)
            if recent >= MAX_DEATHS and self._end is None:
                self._end = FatalError(f"{worker} died {recent} times within {WINDOW_S:.0f} s, at last: {reason}")
        logger.error("%s died (death %d of %d within %.0f s): %s", worker, recent, MAX_DEATHS, WINDOW_S, reason)

    def check(self) -> None:
        """Called by the loop in every turn. Raises FatalError when the run cannot go on."""
        self.turns += 1
        if self._end is not None:
            raise self._end
