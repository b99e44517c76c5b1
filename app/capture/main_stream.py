"""The large stream of a camera whose small one is watched: it is open only while something happens there."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, List, Optional, Tuple

from app.capture.capture_thread import CaptureThread, Clock
from app.capture.uri import Source, SourceKind, parse_source
from app.errors import SettingsError
from app.settings import CaptureSettings
from app.types import ChannelState, Frame

KEPT_OPEN_S = 30.0
"""After something last happened: opening takes a second or more, and people come back."""
MAX_FPS = 10.0
KEPT_FRAMES = 4
MAX_APART_S = 0.6
"""Between a frame of the small stream and one of the large stream that is compared with it."""

NewThread = Callable[[Source, CaptureSettings, int], CaptureThread]


def small_source(source: Source, settings: CaptureSettings) -> Optional[Source]:
    """The small stream of a source; None: it has none. Raises SettingsError if that cannot be."""
    if settings.substream is None:
        return None
    small = parse_source(settings.substream, source.name)
    for one in (source, small):
        if one.kind is not SourceKind.RTSP:
            raise SettingsError(
                f"channels.{source.name}.capture.substream: both streams must be rtsp:// addresses of one camera, not "
                f"{one.masked_address}"
            )
    return small


def opened_source(source: Source, settings: CaptureSettings) -> Tuple[Source, CaptureSettings]:
    """What a channel opens first, and how: the small stream if there is one."""
    return small_source(source, settings) or source, settings


class MainStream:
    """Opens and closes the large stream by need. `Channels` calls it with its lock held."""

    def __init__(self, source: Source, settings: CaptureSettings, new_thread: NewThread, clock: Clock) -> None:
        """`new_thread` makes a thread that keeps so many frames."""
        self._source = replace(source, name=f"{source.name} (main stream)")
        self._settings = replace(settings, max_fps=min(MAX_FPS, settings.max_fps or MAX_FPS), wait=False)
        self._new_thread = new_thread
        self._clock = clock
        self._thread: Optional[CaptureThread] = None
        self._wanted_at = 0.0
        self._opened_at = 0.0
        self.ended: List[CaptureThread] = []
        """Threads that were stopped, and may still be closing their readers."""

    @property
    def is_open(self) -> bool:
        return self._thread is not None

    def want(self) -> None:
        """Something happens: it is opened unless it is open, and kept open."""
        self._wanted_at = self._clock()
        if self._thread is None:
            self._opened_at = self._wanted_at
            self._thread = self._new_thread(self._source, self._settings, KEPT_FRAMES)
            self._thread.start()

    def rest(self) -> None:
        """Closes it when nothing has happened for a while."""
        if self._thread is not None and self._clock() - self._wanted_at > KEPT_OPEN_S:
            self.stop()

    def stop(self) -> None:
        if self._thread is not None:
            self._thread.stop()
            self.ended = [thread for thread in self.ended if thread.is_alive] + [self._thread]
            self._thread = None

    def frames(self, clock_s: float) -> Optional[Tuple[Frame, ...]]:
        """Those next to a time, the nearest first. None: it cannot be had. Empty: it was opened just now."""
        self.want()
        assert self._thread is not None
        near = [frame for frame in self._thread.frames if abs(frame.clock_s - clock_s) <= MAX_APART_S]
        if near:
            return tuple(sorted(near, key=lambda frame: abs(frame.clock_s - clock_s)))
        is_coming = self._clock() - self._opened_at <= self._settings.open_timeout_s
        return () if is_coming and self._thread.state is ChannelState.OPENING else None
