"""How late frames of a live stream are: a machine that decodes too slowly gets frames that were sent long ago."""

from __future__ import annotations

import resource
from collections import deque
from typing import Deque, Optional, Tuple

_WAITS = 3
"""A reader that had to wait for so many frames in a row is up to date. A single wait may be for something else."""

_JITTER_S = 0.001
"""A frame is at most that much older than the one before it. If it seems older, the clock of the camera jumped."""


class LagMeter:
    """Compares the camera's time stamps with this machine's clock.

    The two clocks need not agree, and may drift apart: a reader that waits for frames has all that were sent.
    """

    def __init__(self) -> None:
        self._offset_s: Optional[float] = None
        """Between the clocks, for a frame that is not late."""
        self._waited: Deque[float] = deque(maxlen=_WAITS)
        """The offsets of the last frames, as far as the reader waited for all of them."""
        self._last: Optional[Tuple[float, float]] = None
        """When the frame before this one was read, and its offset."""

    def lag_s(self, time_stamp_s: float, now_s: float, waited: bool) -> float:
        """How late a frame is that was just read; `waited` is whether it had not been there at once."""
        offset_s = now_s - time_stamp_s
        if self._last is not None and self._offset_s is not None:
            last_s, last_offset_s = self._last
            if offset_s - last_offset_s > now_s - last_s + _JITTER_S:
                self._offset_s += offset_s - last_offset_s
                self._waited.clear()
        self._last = now_s, offset_s
        if self._offset_s is None or offset_s < self._offset_s:
            self._offset_s = offset_s
        if not waited:
            self._waited.clear()
        else:
            self._waited.append(offset_s)
            if len(self._waited) == _WAITS:
                # The smallest: this process may have been stopped during the last wait.
                self._offset_s = min(self._waited)
        return offset_s - self._offset_s


def waits_of_this_thread() -> int:
    """How often this thread has waited so far, for the network or anything else; not for its turn on the processor."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw if hasattr(resource, "RUSAGE_THREAD") else 0
