"""Progress: one line that is rewritten in place on a terminal, and a log line now and then elsewhere."""

from __future__ import annotations

import logging
import math
import shutil
import time
import unicodedata
from collections import deque
from dataclasses import dataclass, field
from typing import Callable, Deque, Dict, Iterable, Mapping, Optional, TextIO

from app.degrade import DegradeLevel
from app.output.outputs import Control
from app.text import counted, duration, printable
from app.types import ChannelState, ChannelStatus, FrameResult

logger = logging.getLogger(__name__)

LOG_EVERY_S = 10.0
MAX_LOG_GAP_S = 3600.0
_REDRAW_EVERY_S = 0.2
_SEPARATOR = " | "
_RATE_WINDOW_S = 2.0
_MIN_TICKS = 2


class RateMeter:
    """Events per second in a sliding window; the caller passes the time."""

    def __init__(self, window_s: float = _RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._ticks: Deque[float] = deque()

    def tick(self, now_s: float) -> Optional[float]:
        """Counts one event and returns the events per second, or None after the first."""
        if self._ticks and now_s < self._ticks[-1]:
            self._ticks.clear()  # the clock was set back
        self._ticks.append(now_s)
        return self.rate(now_s)

    def rate(self, now_s: float) -> Optional[float]:
        while len(self._ticks) > _MIN_TICKS and self._ticks[0] < now_s - self._window_s:
            self._ticks.popleft()
        if len(self._ticks) < _MIN_TICKS:
            return None
        span = max(now_s, self._ticks[-1]) - self._ticks[0]
        return (len(self._ticks) - 1) / span if span > 0 else None


@dataclass
class ChannelProgress:
    """The numbers of one channel."""

    live: bool = False
    total: Optional[int] = None
    """Frames of a recording if it says so; None for a live source."""
    done: int = 0
    faces_now: int = 0
    faces_so_far: int = 0
    """Counts a face once in each frame that it is in."""
    fps: Optional[float] = None
    latency_s: float = 0.0
    state: str = ""
    """Shown instead of the numbers while a source is not running, such as "reconnecting"."""
    tries: str = ""
    """Added to the state: how often it was tried, and when it is tried next."""
    cause: str = ""
    """Why it is not running."""
    rate: RateMeter = field(default_factory=RateMeter, repr=False)


def recording_line(done: int, total: Optional[int], fps: Optional[float], faces: int) -> str:
    """`frame 320 of 900 (35 %) | 84.1 fps | 7 s left | 641 faces`"""
    of_total = f" of {total} ({min(100, 100 * done // total)} %)" if total else ""
    parts = [f"frame {done}{of_total}"]
    if fps:
        parts.append(f"{fps:.1f} fps")
        if total:
            parts.append(f"{duration(max(0, total - done) / fps)} left")
    return _SEPARATOR.join([*parts, counted(faces, "face")])


def live_line(channels: Mapping[str, ChannelProgress]) -> str:
    """`front 24.8 fps 43 ms 2 faces | yard reconnecting, try 5 in 8 s`

    The cause is shown where there is a single channel: with several, it would push the others out of the line.
    """
    parts = []
    for name, channel in channels.items():
        if channel.state:
            text = channel.state + channel.tries
            if channel.cause and len(channels) == 1:
                text += f": {channel.cause}"
        elif not channel.done:
            text = "waiting for a frame"
        else:
            rate = f"{channel.fps:.1f} fps " if channel.fps is not None else ""
            text = f"{rate}{channel.latency_s * 1000:.0f} ms {counted(channel.faces_now, 'face')}"
        parts.append(f"{name} {text}")
    return _SEPARATOR.join(parts)


def _state(status: ChannelStatus) -> str:
    """The state as shown; a live source whose first tries have failed is not "opening" for a person who waits."""
    if status.state is ChannelState.RUNNING or (status.state is ChannelState.OPENING and not status.failed_tries):
        return ""  # it may be open already, without a frame
    if status.state in (ChannelState.OPENING, ChannelState.FAILED) and status.live and status.failed_tries:
        return "not available"
    return str(status.state)


def _tries(status: ChannelStatus) -> str:
    if not status.failed_tries or status.state in (ChannelState.RUNNING, ChannelState.STOPPED):
        return ""
    when = "now" if status.next_try_s is None else f"in {duration(math.ceil(status.next_try_s))}"
    return f", try {status.failed_tries + 1} {when}"


def _cause(status: ChannelStatus) -> str:
    """The last error without what the line says anyway: which source it is, and that it cannot be opened."""
    source = f"{status.name} ({status.address})"
    cause = (status.last_error or "").split("\n")[0]
    for start in (source, status.name, " cannot be opened"):
        if cause.startswith(start):
            cause = cause[len(start) :]
    return cause.lstrip(".: ")


def shortened(text: str, columns: int) -> str:
    """The text in no more than this many columns of a terminal, where East Asian letters take two."""
    width = 0
    for at, character in enumerate(text):
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width > columns:
            return text[: max(0, at - 3)] + "..."[:columns]
    return text


class Progress:
    """One line that shows how far something is: rewritten in place on a terminal, logged now and then elsewhere."""

    def __init__(
        self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic, log_every_s: float = LOG_EVERY_S
    ) -> None:
        self.clock = clock
        self.prefix: Callable[[], str] = lambda: ""
        """What a command has to say before each line."""
        self._stream = stream
        self._on_terminal = stream.isatty()
        self._every_s = _REDRAW_EVERY_S if self._on_terminal else log_every_s
        self._shown_at = clock()
        self._line_is_open = False
        self._logged = ""
        """The last line in the log, which is not repeated."""
        self._logged_at = self._shown_at
        self._log_gap_s = log_every_s
        """Time between two lines in the log, which grows while nothing changes."""
        self._state: object = None

    def counter(self, what: str) -> Callable[[int, int], None]:
        """For work that can be counted: returns a function to call with how much is done of how much."""
        started_at = self.clock()

        def count(done: int, total: int) -> None:
            if done == total:
                self.clear()
            else:
                spent_s = self.clock() - started_at
                left = f"{_SEPARATOR}{duration(spent_s / done * (total - done))} left" if done else ""
                self.status(f"{what}: {done} of {total}{left}")

        return count

    def status(self, line: str, state: object = None) -> None:
        """Shows the line if the last one is old enough.

        A log gets lines ever more rarely, up to one per hour, as long as `state` is equal to what it was.
        """
        if self.is_due():
            self._shown_at = self.clock()
            line = self.prefix() + line
            if self._on_terminal:
                columns = shutil.get_terminal_size().columns
                self._line_is_open = self._write("\r\x1b[K" + shortened(printable(line), columns - 1))
                return
            if state != self._state:
                self._state, self._log_gap_s = state, self._every_s
            elif self._shown_at - self._logged_at < self._log_gap_s or line == self._logged:
                return
            self._logged, self._logged_at = line, self._shown_at
            self._log_gap_s = min(2 * self._log_gap_s, MAX_LOG_GAP_S)
            logger.info("%s", line)

    def is_due(self) -> bool:
        """Whether `status` would show a line now."""
        return self.clock() - self._shown_at >= self._every_s

    def clear(self) -> None:
        """Removes the line from the terminal, so that something else can be written there."""
        if self._line_is_open:
            self._line_is_open = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> bool:
        """False if the terminal was closed, as when a connection breaks: the run goes on, or ends by SIGHUP."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            return False
        return True


class RunProgress:
    """An output that shows how the run goes."""

    name = "progress"

    def __init__(self, progress: Progress, status: Callable[[], Iterable[ChannelStatus]]) -> None:
        """`status` is called whenever a line is due, for the state of every channel of the run."""
        self._progress = progress
        self._status = status
        self._channels: Dict[str, ChannelProgress] = {}
        self._rate = RateMeter()
        self._level = DegradeLevel.NONE

    def handle(self, result: FrameResult) -> None:
        frame, now = result.frame, self._progress.clock()
        channel = self._channels.setdefault(frame.source, ChannelProgress())
        channel.live = frame.live
        channel.done = channel.done + 1 if frame.live else frame.index + 1
        channel.faces_now = len(result.faces)
        channel.faces_so_far += len(result.faces)
        channel.latency_s = result.latency_s
        channel.fps = channel.rate.tick(now)
        if frame.live:
            self._level = DegradeLevel(result.degrade_level)
        self._rate.tick(now)

    def poll(self) -> Control:
        if self._progress.is_due():
            line = self.line()
            states = tuple((name, channel.state) for name, channel in self._channels.items())
            self._progress.status(line, (self._level, states))
        return Control.RUN

    def close(self) -> None:
        self._progress.clear()

    def line(self) -> str:
        """The line as of now."""
        for status in self._status():
            channel = self._channels.setdefault(status.name, ChannelProgress())
            channel.live, channel.total = status.live, status.total_frames
            channel.state, channel.tries, channel.cause = _state(status), _tries(status), _cause(status)
        channels = list(self._channels.values())
        if any(channel.live for channel in channels) or not any(channel.done for channel in channels):
            level = [self._level.shown] if self._level else []
            return _SEPARATOR.join([live_line(self._channels), *level])
        totals = [channel.total for channel in channels if channel.total]
        return recording_line(
            done=sum(channel.done for channel in channels),
            total=sum(totals) if len(totals) == len(channels) else None,
            fps=self._rate.rate(self._progress.clock()),
            faces=sum(channel.faces_so_far for channel in channels),
        )


class ProgressAwareHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes log messages above the progress line instead of into it."""

    def __init__(self, stream: TextIO, progress: Progress) -> None:
        super().__init__(stream)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.clear()
        super().emit(record)
