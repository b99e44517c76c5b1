"""Frames come in: all sources of a run at the same time, each read by a thread of its own.

A live source has a slot for its newest frame: whoever is slow sees the present, never a growing delay. A recording or
a list of pictures has a short queue that holds its reader back: every frame comes exactly once, in order.
"""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Optional, Sequence, Tuple, Type

from app.capture.capture_thread import CaptureThread, Clock, OpenReader
from app.capture.channel import ChannelStatus
from app.capture.opening import open_reader
from app.capture.uri import Source
from app.settings import CaptureSettings
from app.types import Frame

log = logging.getLogger(__name__)

CLOSE_WITHIN_S = 2.0
LOOK_AT_LEAST_EVERY_S = 0.5


class Channels:
    """All sources of a run, read at the same time, taken from in turn.

    The first opening of a source must succeed, else its channel has failed; the others go on.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        settings: CaptureSettings,
        open: OpenReader = open_reader,
        clock: Clock = time.monotonic,
        wall_clock: Clock = time.time,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._closed = threading.Event()
        self._turn = 0
        self._woken = False
        self._threads = [
            CaptureThread(source, settings, self._arrived, self._lock, open, clock, wall_clock, self._is_finished)
            for source in sources
        ]
        look_every_s = min(settings.open_timeout_s, settings.read_timeout_s) / 10
        self._watchdog = threading.Thread(
            target=self._watch, args=(min(LOOK_AT_LEAST_EVERY_S, look_every_s),), name="capture-watchdog", daemon=True
        )
        with self._lock:
            for thread in self._threads:
                thread.start()
        self._watchdog.start()

    def take(self, timeout_s: float) -> Optional[Frame]:
        """The next frame, from each channel in turn. None after `timeout_s` without one, when all have finished, or
        after `wake`."""
        deadline = time.monotonic() + timeout_s
        with self._arrived:
            while True:
                frame = self._pop_in_turn()
                left_s = deadline - time.monotonic()
                if frame is not None or left_s <= 0 or self._is_finished():
                    return frame
                if self._woken:
                    self._woken = False
                    return None
                self._arrived.wait(left_s)

    def wake(self) -> None:
        """Makes a `take` that waits return at once: the caller has something else to do."""
        with self._arrived:
            self._woken = True
            self._arrived.notify_all()

    @property
    def finished(self) -> bool:
        """Whether no frame will come any more: all channels ended or failed, and every frame was taken."""
        with self._lock:
            return self._is_finished()

    def status(self) -> Tuple[ChannelStatus, ...]:
        """One snapshot a channel, in the order of the sources."""
        with self._lock:
            return tuple(thread.status() for thread in self._threads)

    def look_after_all(self) -> None:
        """What the watchdog does every now and then."""
        with self._lock:
            now = self._clock()
            for thread in self._threads:
                thread.look_after(now)

    def close(self) -> None:
        """End all threads. One that hangs is left behind after a short wait; it cannot keep the program alive."""
        self._closed.set()
        with self._lock:
            for thread in self._threads:
                thread.stop()
            self._arrived.notify_all()
        deadline = time.monotonic() + CLOSE_WITHIN_S
        self._watchdog.join(CLOSE_WITHIN_S)
        for thread in self._threads:
            if not thread.join(deadline):
                log.warning("%s: its reader still hangs and is left behind", thread.source)

    def __enter__(self) -> Channels:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _pop_in_turn(self) -> Optional[Frame]:
        count = len(self._threads)
        for step in range(count):
            at = (self._turn + step) % count
            frame = self._threads[at].pop()
            if frame is not None:
                self._turn = (at + 1) % count
                return frame
        return None

    def _is_finished(self) -> bool:
        return self._closed.is_set() or all(thread.drained for thread in self._threads)

    def _watch(self, look_every_s: float) -> None:
        while not self._closed.wait(look_every_s):
            self.look_after_all()
