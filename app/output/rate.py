"""Frames a second over the last moments."""

from __future__ import annotations

from collections import deque
from typing import Deque, Optional

_WINDOW_S = 2.0
_LEAST_TICKS = 2


class RateMeter:
    """Counts ticks in a sliding window; time is passed in."""

    def __init__(self, window_s: float = _WINDOW_S) -> None:
        self._window_s = window_s
        self._ticks: Deque[float] = deque()

    def tick(self, now_s: float) -> Optional[float]:
        """Notes one event and returns the rate, or None as long as there is nothing to tell it from."""
        if self._ticks and now_s < self._ticks[-1]:
            self._ticks.clear()  # the clock was put back
        self._ticks.append(now_s)
        return self.rate(now_s)

    def rate(self, now_s: float) -> Optional[float]:
        while len(self._ticks) > _LEAST_TICKS and self._ticks[0] < now_s - self._window_s:
            self._ticks.popleft()
        if len(self._ticks) < _LEAST_TICKS:
            return None
        span = max(now_s, self._ticks[-1]) - self._ticks[0]
        return (len(self._ticks) - 1) / span if span > 0 else None
