"""How far it is: one line that keeps changing on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import shutil
import time
import unicodedata
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, TextIO

from app.output.rate import RateMeter
from app.text import counted
from app.types import FrameResult

logger = logging.getLogger(__name__)

LOG_EVERY_S = 10.0
_REDRAW_EVERY_S = 0.2
_SEPARATOR = " | "


@dataclass
class ChannelProgress:
    """The numbers of one channel."""

    total: Optional[int] = None
    """Frames of a recording, as far as it says; None for a live source."""
    done: int = 0
    faces_now: int = 0
    faces_so_far: int = 0
    """Counts a face once in each frame that it is in."""
    fps: Optional[float] = None
    latency_s: float = 0.0
    state: str = ""
    """What there is to say of a live source that is not simply running: "reconnecting"."""
    rate: RateMeter = field(default_factory=RateMeter, repr=False)


class ChannelFacts(NamedTuple):
    """What the source itself tells of a channel."""

    name: str
    total: Optional[int]
    """Frames of a recording, as far as it says; None for a live source."""
    state: str
    """What to show instead of numbers, such as "reconnecting"; empty for one that is well."""


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
    """`front 24.8 fps 43 ms 2 faces | yard reconnecting`"""
    return _SEPARATOR.join(f"{name} {_live_part(channel)}" for name, channel in channels.items())


def _live_part(channel: ChannelProgress) -> str:
    if channel.state:
        return channel.state
    if not channel.done:
        return "waiting for a frame"
    rate = f"{channel.fps:.1f} fps " if channel.fps is not None else ""
    return f"{rate}{channel.latency_s * 1000:.0f} ms {counted(channel.faces_now, 'face')}"


def duration(seconds: float) -> str:
    """`7 s`, `2 min 05 s`, `3 h 20 min`"""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def shortened(text: str, columns: int) -> str:
    """The text in at most this many columns of a terminal, where East Asian letters take two."""
    width = 0
    for at, character in enumerate(text):
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width > columns:
            return text[: max(0, at - 3)] + "..."[:columns]
    return text


class Progress:
    """An output that tells how the run goes. Driven from the loop's own thread: it costs next to nothing.

    `tick` keeps the line fresh while no results come.
    """

    name = "progress"

    def __init__(
        self,
        stream: TextIO,
        facts: Callable[[], Iterable[ChannelFacts]] = tuple,
        *,
        clock: Callable[[], float] = time.monotonic,
        log_every_s: float = LOG_EVERY_S,
    ) -> None:
        self.facts = facts
        """Asked, whenever a line is due, for every channel of the run."""
        self.channels: Dict[str, ChannelProgress] = {}
        self._stream = stream
        self._clock = clock
        self._on_terminal = stream.isatty()
        self._every_s = _REDRAW_EVERY_S if self._on_terminal else log_every_s
        self._told_at = clock()
        self._rate = RateMeter()
        self._all_recorded = True
        self._line_is_open = False

    def handle(self, result: FrameResult) -> None:
        frame, now = result.frame, self._clock()
        channel = self.channels.setdefault(frame.source, ChannelProgress())
        is_recording = frame.position is not None or not frame.continues
        self._all_recorded = self._all_recorded and is_recording
        channel.done = frame.index + 1 if is_recording else channel.done + 1
        channel.faces_now = len(result.faces)
        channel.faces_so_far += len(result.faces)
        channel.latency_s = result.latency_s
        channel.fps = channel.rate.tick(now)
        self._rate.tick(now)
        self.tick()

    def tick(self) -> None:
        """Tells how far it is, if it is time to."""
        if self._is_due():
            self._tell(self.line())

    def counter(self, what: str) -> Callable[[int, int], None]:
        """For long work before the first frame: called with how much is done of how much."""
        started_at = self._clock()

        def count(done: int, total: int) -> None:
            if done == total:
                self.clear()
            elif self._is_due():
                spent_s = self._clock() - started_at
                left = f"{_SEPARATOR}{duration(spent_s / done * (total - done))} left" if done else ""
                self._tell(f"{what}: {done} of {total}{left}")

        return count

    def status(self, line: str) -> None:
        """For long work that cannot be counted: the line as of now, shown when it is time to."""
        if self._is_due():
            self._tell(line)

    def _is_due(self) -> bool:
        now = self._clock()
        if now - self._told_at < self._every_s:
            return False
        self._told_at = now
        return True

    def _tell(self, line: str) -> None:
        if self._on_terminal:
            columns = shutil.get_terminal_size().columns
            self._stream.write("\r\x1b[K" + shortened(line, columns - 1))
            self._stream.flush()
            self._line_is_open = True
        else:
            logger.info("%s", line)

    def line(self) -> str:
        """The line as of now."""
        for fact in self.facts():
            channel = self.channels.setdefault(fact.name, ChannelProgress())
            channel.total, channel.state = fact.total, fact.state
        channels: List[ChannelProgress] = list(self.channels.values())
        started = any(channel.done for channel in channels)
        if not (self._all_recorded and started):
            return live_line(self.channels)
        totals = [channel.total for channel in channels if channel.total]
        return recording_line(
            done=sum(channel.done for channel in channels),
            total=sum(totals) if len(totals) == len(channels) else None,
            fps=self._rate.rate(self._clock()),
            faces=sum(channel.faces_so_far for channel in channels),
        )

    def clear(self) -> None:
        """Takes the line off the terminal, so that something else can be written there."""
        if self._line_is_open:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._line_is_open = False

    def close(self) -> None:
        self.clear()


class ProgressAwareHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes log messages above the progress line instead of into it."""

    def __init__(self, stream: TextIO, progress: Progress) -> None:
        super().__init__(stream)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.clear()
        super().emit(record)
