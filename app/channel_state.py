"""The state of a source: what is known of a channel besides its frames."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional


class ChannelState(str, enum.Enum):
    """The life of a channel. A recording opens, runs and ends; a live source never ends by itself."""

    OPENING = "opening"
    RUNNING = "running"
    STALLED = "stalled"
    """A live source is open, but has sent nothing for half of `capture.read_timeout_s`."""
    RECONNECTING = "reconnecting"
    """A live source was lost; it is being reopened, or waits for that."""
    ENDED = "ended"
    FAILED = "failed"
    """It could not be opened the first time, or a recording cannot be read. A live source may still appear."""
    STOPPED = "stopped"
    """Somebody has stopped it over HTTP, and may start it again: the run waits for that."""

    def __str__(self) -> str:
        return self.value

    @property
    def over(self) -> bool:
        """Whether no further frame is expected. A run ends when all its channels are over."""
        return self in (ChannelState.ENDED, ChannelState.FAILED)


@dataclass
class ChannelCounters:
    """Counts since the start."""

    read: int = 0
    """Frames that the reader delivered."""
    dropped: int = 0
    """Frames of a live source that were replaced by a newer one before they were processed."""
    beyond_max_fps: int = 0
    """Frames of a live source that were left out because of `capture.max_fps`; they count nowhere else."""
    skipped: int = 0
    """Frames of a live source that were left out because the machine is too slow for it."""
    reconnects: int = 0
    """How often a lost live source came back."""
    stalls: int = 0
    """How often a live source stopped sending without closing the connection."""
    unreadable: int = 0
    """Pictures that were skipped."""
    damaged: int = 0
    """Frames of a live source about which the decoder complained (FFmpeg, and GStreamer in a separate process).
    FFmpeg's are used, but for Motion JPEG; those after them may be damaged as well, up to the next key frame."""


@dataclass(frozen=True)
class ChannelStatus:
    """A snapshot of a channel."""

    name: str
    address: str
    """Without its password."""
    state: ChannelState
    counters: ChannelCounters
    live: bool
    fps: Optional[float]
    total_frames: Optional[int]
    last_error: Optional[str]
    """The last error, even if the channel has recovered since."""
    failed_tries: int = 0
    """How often in a row a live source could not be opened or kept open."""
    next_try_s: Optional[float] = None
    """Seconds until the next try to open it; None: nothing waits, it may be trying now."""
