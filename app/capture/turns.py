"""Whose turn it is: which of the channels that have a frame the next one is taken from. Pure."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence

PATIENCE_S = 0.5
"""How long a channel without need waits for those with need. A channel that has a frame is taken from within this time
plus that for one frame of each channel."""


class Waiting(NamedTuple):
    """A channel that has a frame."""

    since_s: float
    """When it began to wait: the frame itself may be newer."""
    last_turn: int
    """When it was last taken from, counted in frames."""
    is_needed: bool
    """Whether something happens there: somebody is in the picture, or something moves."""


def next_turn(channels: Sequence[Optional[Waiting]], now_s: float) -> Optional[int]:
    """The index of the channel to take from; None if none of them has a frame.

    First the channels whose patience is over, then those with need, then the others; of each kind the one that has
    waited longest.
    """
    ranked = [
        (_rank(waiting, now_s), waiting.since_s, waiting.last_turn, index)
        for index, waiting in enumerate(channels)
        if waiting is not None
    ]
    return min(ranked)[-1] if ranked else None


def _rank(waiting: Waiting, now_s: float) -> int:
    if now_s - waiting.since_s >= PATIENCE_S:
        return 0
    return 1 if waiting.is_needed else 2
