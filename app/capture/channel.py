"""What is known of a channel at a moment: its state, its counts, its last trouble."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional


class ChannelState(str, enum.Enum):
    """A channel's life. A recording goes from opening over running to its end; a live source never ends by itself."""

    OPENING = "opening"
    RUNNING = "running"
    STALLED = "stalled"
    """A live source is open, but has been silent for half of `capture.read_timeout_s`."""
    RECONNECTING = "reconnecting"
    """A live source broke; it is being opened again, or waits for that."""
    ENDED = "ended"
    FAILED = "failed"
    """It did not open the first time, or a recording cannot be read. A live source may still come up."""

    def __str__(self) -> str:
        return self.value

    @property
    def over(self) -> bool:
        """Whether no further frame is to be expected: a run of which all channels are over ends."""
        return self in (ChannelState.ENDED, ChannelState.FAILED)


@dataclass
class ChannelCounters:
    """Counts since the start."""

    read: int = 0
    """Frames that the reader brought."""
    dropped: int = 0
    """Frames of a live source that gave way to a newer one before anyone took them."""
    reconnects: int = 0
    """How often a broken live source came back."""
    stalls: int = 0
    """How often a live source fell silent without breaking off."""
    unreadable: int = 0
    """Pictures that were skipped."""


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
    """The last trouble, also when it is over. Why it failed, when it has."""


def backoff_s(attempt: int, first: float, most: float) -> float:
    """How long to wait before reconnecting for the `attempt`th time in a row, counted from 0: 1, 2, 4 ... 30 s."""
    return float(min(most, first * 2.0 ** min(attempt, 60)))
