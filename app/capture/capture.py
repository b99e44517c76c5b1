"""Frames come in: all sources of a run at the same time, each read by its own thread.

A live source keeps only its newest frame, so that a slow consumer sees the present instead of a growing delay. A
recording or a list of pictures has a short queue that blocks its reader: every frame comes exactly once, in order.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from types import TracebackType
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Type

from app.capture.capture_thread import CaptureThread, Clock, OpenReader
from app.capture.main_stream import MainStream, small_source
from app.capture.reader_process import start_reader
from app.capture.turns import Waiting, next_turn
from app.capture.uri import Source
from app.errors import DeathCallback, ignore_death
from app.settings import CaptureSettings
from app.types import ChannelState, ChannelStatus, Frame

log = logging.getLogger(__name__)

CLOSE_WITHIN_S = 2.0
QUEUE_BYTES = 128_000_000


class Channels:
    """All sources of a run, read at the same time. Frames are taken first where something happens.

    A channel fails if its source cannot be opened the first time; the others go on.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        settings: CaptureSettings,
        open: OpenReader = start_reader,
        clock: Clock = time.monotonic,
        wall_clock: Clock = time.time,
        own: Optional[Mapping[str, CaptureSettings]] = None,
        queue_bytes: int = QUEUE_BYTES,
        on_death: DeathCallback = ignore_death,
    ) -> None:
        """`own` are the settings of channels that have their own, by name. Frames of a channel that wait to be taken
        have at most `queue_bytes`, or it is a single one."""
        own = own or {}
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._closed = threading.Event()
        self._clock = clock
        self._turns = 0
        self._last_turns = dict.fromkeys((source.name for source in sources), 0)
        self._needed: Set[str] = set()
        self._woken = False

        def new_thread(
            source: Source, settings: CaptureSettings, kept_frames: int = 1, stopped: Optional[CaptureThread] = None
        ) -> CaptureThread:
            over = self._is_finished
            lock, arrived = self._lock, self._arrived
            wiring = (arrived, lock, open, clock, wall_clock, over, queue_bytes, on_death, kept_frames)
            return CaptureThread(source, settings, *wiring, stopped=stopped)

        self._again: Dict[str, Callable[[CaptureThread], CaptureThread]] = {}
        self._threads: List[CaptureThread] = []
        self._replaced: List[CaptureThread] = []
        """Threads of channels that were stopped and started again; they may still be closing their readers."""
        self._mains: Dict[str, MainStream] = {}
        for source in sources:
            its_own = own.get(source.name, settings)
            small = small_source(source, its_own)
            if small is not None:
                self._mains[source.name] = MainStream(source, its_own, new_thread, clock)
            self._threads.append(new_thread(small or source, its_own))
            self._again[source.name] = partial(new_thread, small or source, its_own, 1)
        with self._lock:
            for thread in self._threads:
                thread.start()

    def take(self, timeout_s: float) -> Optional[Frame]:
        """The next frame, of the channel whose turn it is (`app/capture/turns.py`).

        None at the end, on `wake`, or after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        with self._arrived:
            for main in self._mains.values():
                main.rest()
            while True:
                frame = self._pop_next()
                left_s = deadline - time.monotonic()
                if frame is not None or left_s <= 0 or self._is_finished():
                    return frame
                if self._woken:
                    self._woken = False
                    return None
                self._arrived.wait(left_s)

    def set_need(self, channel: str, is_needed: bool) -> None:
        """Says whether something happens in a channel, whose frames then come before those of idle channels."""
        with self._lock:
            (self._needed.add if is_needed else self._needed.discard)(channel)
            main = self._main(channel)
            if is_needed and main is not None:
                main.want()

    def main_frames(self, frame: Frame) -> Optional[Tuple[Frame, ...]]:
        """Frames of the main stream next to one of the sub-stream, the nearest in time first.

        None: the channel has no main stream, or it cannot be read. Empty: it is being opened.
        """
        with self._lock:
            main = self._main(frame.source)
            return None if main is None else main.frames(frame.clock_s)

    def main_is_open(self, channel: str) -> bool:
        """Whether the main stream of a channel is being read, or opened."""
        with self._lock:
            return channel in self._mains and self._mains[channel].is_open

    def wake(self) -> None:
        """Makes a `take` that waits return at once: the caller has something else to do."""
        with self._arrived:
            self._woken = True
            self._arrived.notify_all()

    def limit_rate(self, max_fps: Optional[float]) -> None:
        """At most so many frames per second of each live source are taken from now on; None: all."""
        with self._lock:
            for thread in self._threads:
                thread.limit_rate(max_fps)

    def stop(self, channel: str) -> ChannelStatus:
        """Closes the source of a channel until `start`. One that is over stays so. Returns how the channel is."""
        with self._arrived:
            thread = self._thread(channel)
            if not thread.drained and thread.state is not ChannelState.STOPPED:
                log.info("%s: stopped", thread.source.name)
                thread.stop()
                thread.state = ChannelState.STOPPED
                if channel in self._mains:
                    self._mains[channel].stop()
            return thread.status()

    def start(self, channel: str) -> ChannelStatus:
        """Opens the source of a stopped channel again; a recording begins again. Returns how the channel is."""
        with self._arrived:
            thread = self._thread(channel)
            if thread.state is ChannelState.STOPPED and not self._closed.is_set():
                log.info("%s: started again", thread.source.name)
                again = self._again[channel](thread)
                self._threads[self._threads.index(thread)] = again
                self._replaced = [one for one in self._replaced if one.is_alive] + [thread]
                again.start()
                thread = again
            return thread.status()

    def _main(self, channel: str) -> Optional[MainStream]:
        """None also for a stopped channel, of which the loop may have a frame in hand."""
        return None if self._thread(channel).state is ChannelState.STOPPED else self._mains.get(channel)

    def _thread(self, channel: str) -> CaptureThread:
        return next(thread for thread in self._threads if thread.source.name == channel)

    @property
    def finished(self) -> bool:
        """Whether all channels have ended or failed and every frame was taken."""
        with self._lock:
            return self._is_finished()

    def status(self) -> Tuple[ChannelStatus, ...]:
        """One snapshot a channel, in the order of the sources."""
        with self._lock:
            return tuple(thread.status() for thread in self._threads)

    def close(self) -> None:
        """Ends all threads. One that hangs is left behind after a short wait; as a daemon it ends with the program."""
        self._closed.set()
        with self._lock:
            for thread in self._threads:
                thread.stop()
            for main in self._mains.values():
                main.stop()
            self._arrived.notify_all()
        deadline = time.monotonic() + CLOSE_WITHIN_S
        for thread in [
            *self._threads,
            *self._replaced,
            *(thread for main in self._mains.values() for thread in main.ended),
        ]:
            if not thread.join(deadline):
                log.warning("%s: the reader still hangs and is left behind", thread.source)

    def __enter__(self) -> Channels:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _pop_next(self) -> Optional[Frame]:
        at = next_turn([self._waiting(thread) for thread in self._threads], self._clock())
        if at is None:
            return None
        self._turns += 1
        self._last_turns[self._threads[at].source.name] = self._turns
        return self._threads[at].pop()

    def _waiting(self, thread: CaptureThread) -> Optional[Waiting]:
        name, since_s = thread.source.name, thread.waits_since
        return None if since_s is None else Waiting(since_s, self._last_turns[name], name in self._needed)

    def _is_finished(self) -> bool:
        return self._closed.is_set() or all(thread.drained for thread in self._threads)
