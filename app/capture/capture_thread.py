"""One channel's thread: it opens the reader, reads it, and reopens it after a failure.

A live source that hangs in a read (a frozen camera, a cut cable; GStreamer has no time-out for that) is abandoned: the
stuck thread keeps its reader and closes it if it ever returns, its late frames are discarded, and a new thread takes
over.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from dataclasses import replace
from typing import Callable, Deque, List, Optional

from app.capture.opening import PROBE_TIMEOUT_S
from app.capture.readers import RawFrame, Reader, StallError
from app.capture.uri import Source
from app.credentials import masked
from app.errors import SourceError
from app.settings import CaptureSettings
from app.types import ChannelCounters, ChannelState, ChannelStatus, Frame

log = logging.getLogger(__name__)

HEALTHY_AFTER_S = 10.0
"""After this time without a failure the pause before a reconnection starts at its minimum again."""
HANG_FACTOR = 1.2
"""A reader that takes this many times its own time-out counts as hanging."""
MAX_ABANDONED = 3
"""With this many stuck threads a channel starts no new one: a driver that never returns must not use up memory."""

OpenReader = Callable[[Source, CaptureSettings], Reader]
Clock = Callable[[], float]


def backoff_s(failures: int, minimum: float, maximum: float) -> float:
    """The pause before a reconnection, doubled after each failure in a row: 1, 2, 4 ... 30 s."""
    return float(min(maximum, minimum * 2.0 ** min(failures, 60)))


class CaptureThread:
    """One channel: its reader's thread, its state, and the frames that wait to be taken.

    All mutable state is guarded by the lock that the channels share. A thread belongs to a generation; when a hanging
    one is abandoned the generation increases, and nothing that the old thread does afterwards has an effect.
    """

    def __init__(
        self,
        source: Source,
        settings: CaptureSettings,
        arrived: threading.Condition,
        lock: threading.Lock,
        open: OpenReader,
        clock: Clock,
        wall_clock: Clock,
        run_is_over: Callable[[], bool],
    ) -> None:
        self.source = source
        self.state = ChannelState.OPENING
        self._settings = settings
        self._arrived = arrived
        self._wake = threading.Condition(lock)
        self._open_reader = open
        self._clock = clock
        self._wall_clock = wall_clock
        self._run_is_over = run_is_over
        self._frames: Deque[Frame] = deque()
        self._counters = ChannelCounters()
        self._last_error: Optional[str] = None
        self._live = source.live
        self._fps: Optional[float] = None
        self._total_frames: Optional[int] = None
        self._generation = 0
        self._closing = False
        self._was_open = False
        self._failures_in_a_row = 0
        self._first_frame_at: Optional[float] = None
        self._busy_since: Optional[float] = None
        self._busy_limit_s = 0.0
        self._thread: Optional[threading.Thread] = None
        self._abandoned: List[threading.Thread] = []

    # Called by `Channels` with the lock held.

    def start(self) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(self._generation,), name=f"capture-{self.source.name}", daemon=True
        )
        self._thread.start()

    def pop(self) -> Optional[Frame]:
        """The next frame, if there is one."""
        if not self._frames:
            return None
        self._wake.notify_all()
        return self._frames.popleft()

    @property
    def drained(self) -> bool:
        return self.state.over and not self._frames

    def status(self) -> ChannelStatus:
        return ChannelStatus(
            name=self.source.name,
            address=self.source.masked_address,
            state=self.state,
            counters=replace(self._counters),
            live=self._live,
            fps=self._fps,
            total_frames=self._total_frames,
            last_error=self._last_error,
        )

    def check_health(self, now: float) -> None:
        """Marks a silent reader as stalled, and abandons one that hangs."""
        if self._busy_since is None or self._closing:
            return
        silent_s = now - self._busy_since
        if self.state is ChannelState.RUNNING and silent_s > self._settings.read_timeout_s / 2:
            self._stalled()
        if silent_s > self._busy_limit_s:
            self._abandon(silent_s)

    def stop(self) -> None:
        self._closing = True
        self._frames.clear()
        self._wake.notify_all()

    def join(self, deadline: float) -> bool:
        """Called without the lock. False if the thread still runs at the deadline."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            return not self._thread.is_alive()
        return True

    # The thread.

    def _run(self, generation: int) -> None:
        try:
            if generation > 0 and not self._pause(generation):
                return
            while self._open_and_read(generation) and self._pause(generation):
                pass
        except Exception as error:  # noqa: BLE001 - the root of a thread: nothing above would report it
            log.error("%s: capture ended by a bug in this program\n%s", self.source, masked(traceback.format_exc()))
            self._fail(generation, f"{self.source}: bug in this program: {masked(repr(error))}")

    def _open_and_read(self, generation: int) -> bool:
        """Opens a reader and reads it to its end; whether it is to be reopened."""
        with self._wake:
            if not self._current(generation):
                return False
            may_hang = self.source.live or self.source.remote
            self._busy_since = self._clock() if may_hang else None
            timeouts_s = self._settings.open_timeout_s + self._settings.read_timeout_s
            self._busy_limit_s = HANG_FACTOR * timeouts_s + PROBE_TIMEOUT_S
        try:
            reader = self._open_reader(self.source, self._settings)
        except SourceError as error:
            return self._handle_failure(generation, str(error), stalled=False)
        try:
            with self._wake:
                if not self._current(generation):
                    return False
                self._busy_since = None
                self._first_frame_at = None
                self._live, self._fps, self._total_frames = reader.live, reader.fps, reader.total_frames
                if self.state is ChannelState.FAILED:
                    self.state = ChannelState.OPENING
                if not self._was_open:
                    log.info("%s: open", self.source)
                self._was_open = True
            return self._read_all(generation, reader)
        except SourceError as error:
            return self._handle_failure(generation, f"{self.source}: {error}", stalled=isinstance(error, StallError))
        finally:
            reader.close()

    def _read_all(self, generation: int, reader: Reader) -> bool:
        while True:
            with self._wake:
                if not self._current(generation):
                    return False
                self._busy_since = self._clock() if reader.live else None
                self._busy_limit_s = HANG_FACTOR * self._settings.read_timeout_s
            try:
                raw = reader.read()
            finally:
                with self._wake:
                    self._counters.unreadable = reader.unreadable
            captured_at = self._wall_clock()
            if raw is None:
                return self._handle_end(generation, reader)
            if not self._deliver(generation, raw, captured_at):
                return False

    # Steps of the thread. Each takes the lock, and does nothing if the thread has been abandoned.

    def _deliver(self, generation: int, raw: RawFrame, captured_at: float) -> bool:
        with self._wake:
            if not self._current(generation):
                return False
            self._busy_since = None
            if self._first_frame_at is None:
                self._first_frame_at = self._clock()
                if self.state is ChannelState.RECONNECTING:
                    self._counters.reconnects += 1
                    log.info("%s: reconnected", self.source)
            self.state = ChannelState.RUNNING
            frame = Frame(
                source=self.source.name,
                index=self._counters.read,
                captured_at=captured_at,
                live=self._live,
                **vars(raw),
            )
            self._counters.read += 1
            if self._live:
                self._counters.dropped += len(self._frames)
                self._frames.clear()
            while len(self._frames) >= self._settings.queue_frames and not self._closing:
                self._wake.wait()
            if self._closing:
                return False
            self._frames.append(frame)
            self._arrived.notify_all()
            return True

    def _handle_end(self, generation: int, reader: Reader) -> bool:
        """The reader has no more frames: a live source was disconnected, a recording is at its end."""
        if reader.live:
            return self._handle_failure(generation, f"{self.source}: connection lost", stalled=False)
        with self._wake:
            if not self._current(generation):
                return False
            if self._counters.read > 0:
                self.state = ChannelState.ENDED
                self._arrived.notify_all()
                return False
        return self._fail(generation, f"{self.source}: no frame could be decoded. Does another player show it?")

    def _handle_failure(self, generation: int, cause: str, *, stalled: bool) -> bool:
        with self._wake:
            if not self._current(generation):
                return False
            if self._live and self._was_open:
                if stalled and self.state is ChannelState.RUNNING:
                    self._stalled()
                self._reconnecting(cause)
                return True
            if self.source.live:
                self._missing(cause)
                return True
        return self._fail(generation, cause)

    def _fail(self, generation: int, cause: str) -> bool:
        with self._wake:
            if self._current(generation):
                self._failed(cause)
        return False

    def _pause(self, generation: int) -> bool:
        """Waits before reconnecting, longer while too many threads are stuck. False if the thread is to end."""
        with self._wake:
            until = time.monotonic() + self._backoff_s()
            self._failures_in_a_row += 1
            while self._current(generation):
                left_s = until - time.monotonic()
                if left_s > 0:
                    self._wake.wait(left_s)
                    continue
                self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
                if len(self._abandoned) < MAX_ABANDONED:
                    return True
                log.warning("%s: %d readers hang; waiting for one to return", self.source, len(self._abandoned))
                until = time.monotonic() + self._settings.retry_max_s
            return False

    # Changes of state, with the lock held.

    def _current(self, generation: int) -> bool:
        return generation == self._generation and not self._closing

    def _stalled(self) -> None:
        self.state = ChannelState.STALLED
        self._counters.stalls += 1

    def _reconnecting(self, cause: str) -> None:
        now = self._clock()
        if self._first_frame_at is not None and now - self._first_frame_at >= HEALTHY_AFTER_S:
            self._failures_in_a_row = 0
        self._first_frame_at = None
        self._busy_since = None
        self._last_error = cause
        self.state = ChannelState.RECONNECTING
        log.warning("%s; reconnecting in %.3g s", cause, self._backoff_s())

    def _missing(self, cause: str) -> None:
        """A camera that is off at the start is reported once, and retried as long as other channels run."""
        if self.state is ChannelState.FAILED:
            self._busy_since = None
            log.debug("%s", cause)
            return
        self._failed(cause)
        if not self._run_is_over():
            log.info("%s: retrying until the run ends", self.source.name)

    def _failed(self, cause: str) -> None:
        self._busy_since = None
        self._last_error = cause
        self.state = ChannelState.FAILED
        log.error("%s", cause)
        self._arrived.notify_all()

    def _abandon(self, silent_s: float) -> None:
        stuck = self._thread
        self._generation += 1
        if stuck is not None:
            self._abandoned.append(stuck)
        no_answer = f"{self.source} cannot be opened: no answer within {silent_s:.1f} s. Is it on and reachable?"
        if self._live and self._was_open:
            self._reconnecting(f"{self.source}: the reader hung for {silent_s:.1f} s and was abandoned")
        elif self.source.live:
            self._missing(no_answer)
        else:
            self._failed(no_answer)
            return
        self.start()

    def _backoff_s(self) -> float:
        return backoff_s(self._failures_in_a_row, self._settings.retry_min_s, self._settings.retry_max_s)
