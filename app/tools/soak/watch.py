"""Looks at every picture that the program has processed: is it whole, how old is it, and is the camera back?"""

from __future__ import annotations

import threading
import time
from array import array
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence

from app.tools.soak.schedule import Fault
from app.tools.soak.stamp import age_s, now_ms, read_stamp
from app.types import FrameResult


@dataclass
class Recovery:
    """A camera that comes back after a fault."""

    fault: Fault
    camera: str
    since_s: float
    """When the fault ended, after the start of the run."""
    took_s: Optional[float] = None
    """Until a picture that was made later was processed; None: not yet."""
    overtaken: bool = False
    """The next fault of this camera began before it was back."""


@dataclass
class Seen:
    """The pictures of one camera. Times are seconds after the start of the run."""

    at: array[float] = field(default_factory=lambda: array("d"))
    ages_s: array[float] = field(default_factory=lambda: array("d"))
    """From the making of a picture to its result; one for each of `at`."""
    damaged_at: array[float] = field(default_factory=lambda: array("d"))
    """Pictures whose number cannot be read."""


class FrameWatch:
    """An output of the run."""

    name = "the soak's check"

    def __init__(self, cameras: Sequence[str]) -> None:
        self.seen: Dict[str, Seen] = {camera: Seen() for camera in cameras}
        self.recoveries: List[Recovery] = []
        self._lock = threading.Lock()
        self._started: Optional[float] = None

    def start(self) -> None:
        self._started = time.monotonic()

    @property
    def now_s(self) -> float:
        return 0.0 if self._started is None else time.monotonic() - self._started

    def await_recovery(self, fault: Fault) -> None:
        """The fault has just ended."""
        with self._lock:
            for camera in self.seen if fault.camera is None else (fault.camera,):
                self.recoveries.append(Recovery(fault, camera, self.now_s))

    def expect_nothing_of(self, fault: Fault) -> None:
        """The fault begins, so its cameras cannot come back now."""
        with self._lock:
            for recovery in self.recoveries:
                if recovery.took_s is None and fault.camera in (None, recovery.camera):
                    recovery.overtaken = True

    def handle(self, result: FrameResult) -> None:
        camera = result.frame.source
        seen, now_s = self.seen[camera], self.now_s
        stamp = read_stamp(result.frame.image)
        if stamp is None:
            seen.damaged_at.append(now_s)
            return
        picture_age_s = age_s(stamp, now_ms())
        seen.at.append(now_s)
        seen.ages_s.append(picture_age_s)
        with self._lock:
            for recovery in self.recoveries:
                is_waiting = recovery.took_s is None and not recovery.overtaken
                if is_waiting and recovery.camera == camera and now_s - picture_age_s >= recovery.since_s:
                    recovery.took_s = now_s - recovery.since_s

    def close(self) -> None:
        """Does nothing: an output has to have it."""
