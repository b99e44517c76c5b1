"""One channel's thread: it opens the reader, reads it, and reopens it after a failure."""

from __future__ import annotations

import logging
import random
import threading
import time
import traceback
from collections import deque
from dataclasses import replace
from typing import Callable, Deque, Optional, Tuple

from app.capture.opening import PROBE_TIMEOUT_S
from app.capture.reader_child import RateLimit
from app.capture.readers import RawFrame, Reader, ReaderDiedError, StallError
from app.capture.uri import Source
from app.credentials import masked
from app.errors import AccessDeniedError, DeathCallback, SourceError
from app.settings import CaptureSettings
from app.text import duration
from app.types import ChannelCounters, ChannelState, ChannelStatus, Frame

log = logging.getLogger(__name__)

HEALTHY_AFTER_S = 3.0
"""After this time without a failure the pause before a reconnection starts at its minimum again."""
DENIED_RETRY_S = 60.0
"""The pause after a wrong password: some cameras lock an account after a few tries."""
REPLACE_WITHIN_S = 10.0
"""How long a channel that is started again waits for its reader of before to be closed."""
JITTER = 1.2
"""Pauses are up to this many times longer."""
SILENCE_STEP_S = 0.1
"""How often a thread that waits for its reader checks whether the run has ended."""

OpenReader = Callable[[Source, CaptureSettings], Reader]
Clock = Callable[[], float]


def backoff_s(failures: int, minimum: float, maximum: float) -> float:
    """The pause before a reconnection, doubled after each failure in a row: 1, 2, 4 ... 10 s."""
    return float(min(maximum, minimum * 2.0 ** min(failures, 60)))


class CaptureThread:
    """One channel: its reader's thread, its state, and the frames that wait to be taken.

    All mutable state is guarded by the lock that the channels share.
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
        queue_bytes: int,
        on_death: DeathCallback,
        kept_frames: int = 1,
        stopped: Optional[CaptureThread] = None,
    ) -> None:
        """Of a live source, the newest `kept_frames` frames are kept. `stopped` is the one before it of this channel:
        it goes on with what that knew, once that has closed its reader."""
        self.source = source
        self.state = ChannelState.OPENING
        self._settings = settings
        self._arrived = arrived
        self._wake = threading.Condition(lock)
        self._open_reader = open
        self._clock = clock
        self._wall_clock = wall_clock
        self._run_is_over = run_is_over
        self._queue_bytes = queue_bytes
        self._on_death = on_death
        self._kept_frames = kept_frames
        self._frames: Deque[Frame] = deque()
        self._waits_since: Optional[float] = None
        """When a frame came that was not taken yet, or replaced by a newer one; None: there is no frame."""
        self._counters = ChannelCounters()
        self._last_error: Optional[str] = None
        self._live = source.live
        self._fps: Optional[float] = None
        self._total_frames: Optional[int] = None
        self._closing = threading.Event()
        self._was_open = False
        self._failures_in_a_row = 0
        self._next_try_at: Optional[float] = None
        self._denied = False
        self._first_frame_at: Optional[float] = None
        self._lost_at = 0.0
        self._rate = RateLimit(None)
        """Of a live source, besides `capture.max_fps`."""
        self._stopped = stopped
        if stopped is not None:
            self._counters, self._rate = replace(stopped._counters), stopped._rate
            self._was_open, self._live = stopped._was_open, stopped._live
            self._fps, self._total_frames = stopped._fps, stopped._total_frames
            self._last_error = stopped._last_error
        self._thread = threading.Thread(target=self._run, name=f"capture-{source.name}", daemon=True)

    # Called by `Channels` with the lock held.

    def start(self) -> None:
        self._thread.start()

    def pop(self) -> Optional[Frame]:
        """The next frame, if there is one."""
        if not self._frames:
            return None
        self._wake.notify_all()
        frame = self._frames.popleft()
        self._waits_since = self._clock() if self._frames else None
        return frame

    @property
    def waits_since(self) -> Optional[float]:
        """How long it has had a frame to take, by the clock; None: it has none."""
        return self._waits_since

    @property
    def frames(self) -> Tuple[Frame, ...]:
        """Those that were not taken yet."""
        return tuple(self._frames)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def drained(self) -> bool:
        return self.state.over and not self._frames

    def limit_rate(self, max_fps: Optional[float]) -> None:
        self._rate = RateLimit(max_fps)

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
            failed_tries=self._failures_in_a_row,
            next_try_s=None if self._next_try_at is None else max(0.0, self._next_try_at - time.monotonic()),
        )

    def stop(self) -> None:
        self._closing.set()
        self._frames.clear()
        self._waits_since = None
        self._wake.notify_all()

    def join(self, deadline: float) -> bool:
        """Called without the lock. False if the thread still runs at the deadline."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    # The thread.

    def _run(self) -> None:
        if self._stopped is not None:
            # A camera can be opened only once.
            self._stopped.join(time.monotonic() + REPLACE_WITHIN_S)
            self._stopped = None
        is_to_go_on = not self._closing.is_set()
        while is_to_go_on:
            try:
                is_to_go_on = self._open_and_read() and self._pause()
            except Exception as error:  # noqa: BLE001 - the root of a thread: nothing above would report it
                log.error("%s: capture ended by a bug in this program\n%s", self.source, masked(traceback.format_exc()))
                cause = f"bug in this program: {masked(repr(error))}"
                self._on_death(f"capture of {self.source.name}", cause)
                is_to_go_on = self._handle_failure(f"{self.source}: {cause}") and self._pause()

    def _open_and_read(self) -> bool:
        """Opens a reader and reads it to its end; whether it is to be reopened."""
        try:
            reader = self._open_reader(self.source, self._settings)
        except SourceError as error:
            return self._handle_failure(str(error), error)
        try:
            limit_s = self._settings.open_timeout_s + self._settings.read_timeout_s + PROBE_TIMEOUT_S
            try:
                if not self._wait(reader, limit_s):
                    return False
                reader.finish_opening()
            except StallError:
                return self._handle_failure(
                    f"{self.source} cannot be opened: no answer within {limit_s:.1f} s. Is it on and reachable?"
                )
            except SourceError as error:
                return self._handle_failure(str(error), error)
            with self._wake:
                self._first_frame_at = None
                self._live, self._fps, self._total_frames = reader.live, reader.fps, reader.total_frames
                if self.state is ChannelState.FAILED:
                    self.state = ChannelState.OPENING
                if not self._was_open:
                    # A main stream is opened for each visit.
                    log.log(logging.INFO if self._kept_frames == 1 else logging.DEBUG, "%s: open", self.source)
                self._was_open = True
            try:
                return self._read_all(reader)
            except SourceError as error:
                return self._handle_failure(f"{self.source}: {error}", error)
        finally:
            reader.close()

    def _read_all(self, reader: Reader) -> bool:
        while True:
            if not self._wait(reader, self._silence_s if reader.live else None):
                return False
            try:
                raw = reader.read()
            finally:
                with self._wake:
                    self._counters.unreadable = reader.unreadable
            if raw is None:
                return self._handle_end(reader)
            if not self._deliver(raw):
                return False

    @property
    def _silence_s(self) -> float:
        """After so long without a frame a live source is reopened."""
        pause_s = 0.0 if self._settings.max_fps is None else 1 / self._settings.max_fps
        return self._settings.read_timeout_s + pause_s

    def _wait(self, reader: Reader, limit_s: Optional[float]) -> bool:
        """Waits until the reader has something. False: the run has ended. Raises StallError after `limit_s`.

        A live source that has been silent for half of this time is marked as stalled.
        """
        began = self._clock()
        while not reader.wait(SILENCE_STEP_S):
            silent_s = self._clock() - began
            with self._wake:
                if self._closing.is_set():
                    return False
                if limit_s is not None and silent_s > limit_s / 2 and self.state is ChannelState.RUNNING:
                    self._stalled()
            if limit_s is not None and silent_s > limit_s:
                raise StallError(f"no frame for {silent_s:.1f} s")
        return True

    # Steps of the thread. Each takes the lock.

    def _deliver(self, raw: RawFrame) -> bool:
        with self._wake:
            if self._closing.is_set():
                return False
            if self._first_frame_at is None:
                self._first_frame_at = self._clock()
                if self.state is ChannelState.RECONNECTING:
                    self._counters.reconnects += 1
                    log.info("%s: reconnected after %s", self.source, duration(self._clock() - self._lost_at))
            self.state = ChannelState.RUNNING
            self._counters.beyond_max_fps += raw.beyond_max_fps
            self._counters.damaged += raw.damaged
            self._counters.read += raw.replaced
            self._counters.dropped += raw.replaced
            frame = Frame(
                source=self.source.name,
                index=self._counters.read,
                captured_at=self._wall_clock() if raw.captured_at is None else raw.captured_at,
                clock_s=self._clock() if raw.clock_s is None else raw.clock_s,
                live=self._live,
                image=raw.image,
                position=raw.position,
                continues=raw.continues,
                file=raw.file,
            )
            self._counters.read += 1
            if self._live:
                if not self._rate.takes(self._clock()):
                    self._counters.skipped += 1
                    return True
                while self._frames and (len(self._frames) >= self._kept_frames or self._is_full(frame)):
                    self._counters.dropped += 1
                    self._frames.popleft()
            while self._is_full(frame) and not self._closing.is_set():
                self._wake.wait()
            if self._closing.is_set():
                return False
            self._frames.append(frame)
            if self._waits_since is None:
                self._waits_since = self._clock()
            self._arrived.notify_all()
            return True

    def _is_full(self, another: Frame) -> bool:
        """Whether the queue has no room for the frame. A single one always fits."""
        waiting = sum(frame.image.nbytes for frame in self._frames)
        return len(self._frames) >= self._settings.queue_frames or (
            bool(self._frames) and waiting + another.image.nbytes > self._queue_bytes
        )

    def _handle_end(self, reader: Reader) -> bool:
        """The reader has no more frames: a live source was disconnected, a recording is at its end."""
        if reader.live:
            return self._handle_failure(f"{self.source}: connection lost")
        with self._wake:
            if self._closing.is_set():
                return False
            if self._counters.read > 0:
                self.state = ChannelState.ENDED
                self._arrived.notify_all()
                return False
        return self._fail(f"{self.source}: no frame could be decoded. Does another player show it?")

    def _handle_failure(self, cause: str, error: Optional[SourceError] = None) -> bool:
        if isinstance(error, ReaderDiedError) and not self._closing.is_set():
            self._on_death(f"reader of {self.source.name}", str(error))
        with self._wake:
            self._denied = isinstance(error, AccessDeniedError)
            if self._closing.is_set():
                return False
            if self._live and self._was_open:
                if isinstance(error, StallError) and self.state is ChannelState.RUNNING:
                    self._stalled()
                self._reconnecting(cause)
                return True
            # What an HTTP address is, only its reader knows, once it is open.
            may_be_live = self.source.remote and bool(self._settings.wait) and not self._was_open
            if self.source.live or may_be_live:
                self._missing(cause)
                return True
        return self._fail(cause)

    def _fail(self, cause: str) -> bool:
        with self._wake:
            if not self._closing.is_set():
                self._failed(cause)
        return False

    def _pause(self) -> bool:
        """Waits before reconnecting. False if the thread is to end."""
        with self._wake:
            # Cameras that were lost together, as after a power cut, should not all come back in the same moment.
            until = time.monotonic() + self._backoff_s() * random.uniform(1.0, JITTER)
            self._failures_in_a_row += 1
            self._next_try_at = until
            while not self._closing.is_set() and time.monotonic() < until:
                self._wake.wait(until - time.monotonic())
            self._next_try_at = None
            return not self._closing.is_set()

    # Changes of state, with the lock held.

    def _stalled(self) -> None:
        self.state = ChannelState.STALLED
        self._counters.stalls += 1

    def _reconnecting(self, cause: str) -> None:
        now = self._clock()
        if self._first_frame_at is not None and now - self._first_frame_at >= HEALTHY_AFTER_S:
            self._failures_in_a_row = 0
        self._first_frame_at = None
        # A camera may be off for weeks: the same failure is said once.
        is_known = self.state is ChannelState.RECONNECTING and cause == self._last_error
        if self.state is not ChannelState.RECONNECTING:
            self._lost_at = now
        self._last_error = cause
        self.state = ChannelState.RECONNECTING
        log.log(logging.DEBUG if is_known else logging.WARNING, "%s; reconnecting in %.3g s", cause, self._backoff_s())

    def _missing(self, cause: str) -> None:
        """A camera that is absent at the start is reported once, and retried while the run goes on.

        The run goes on for its sake if `capture.wait` says so, or else as long as other channels run.
        """
        if self._last_error is not None:
            self._last_error = cause
            log.debug("%s", cause)
        elif self._settings.wait:
            self._last_error = cause
            log.warning("%s The program waits (capture.wait, on in containers); with --no-wait it would end.", cause)
        else:
            self._failed(cause)
            if not self._run_is_over():
                log.info("%s: retrying until the run ends", self.source.name)

    def _failed(self, cause: str) -> None:
        self._last_error = cause
        self.state = ChannelState.FAILED
        log.error("%s", cause)
        self._arrived.notify_all()

    def _backoff_s(self) -> float:
        if self._denied:
            return max(DENIED_RETRY_S, self._settings.retry_max_s)
        return backoff_s(self._failures_in_a_row, self._settings.retry_min_s, self._settings.retry_max_s)
