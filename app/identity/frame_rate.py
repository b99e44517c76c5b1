"""The frame rate of a channel, whether its frames are looked at or not."""

from __future__ import annotations

import statistics
from collections import deque
from typing import Deque, Optional

_FRAMES = 50
"""From which the rate is known."""


class FrameRate:
    """Counts the frames of one channel."""

    def __init__(self) -> None:
        self._intervals: Deque[float] = deque(maxlen=_FRAMES)
        self._time: Optional[float] = None

    def count(self, time: float) -> None:
        """A frame of this time; the same one may be counted again."""
        if self._time is not None and time != self._time:
            self._intervals.append(time - self._time)
        self._time = time

    @property
    def value(self) -> Optional[float]:
        """Frames per second lately (median); None: not known yet."""
        interval = statistics.median(self._intervals) if len(self._intervals) == _FRAMES else 0.0
        return 1 / interval if interval > 0 else None
