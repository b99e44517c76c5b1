"""Whether a run is healthy. A pure decision; its words are for machines and say nothing about cameras or people."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Dict, Sequence, Tuple

from app.types import ChannelState, ChannelStatus


class Problem(str, enum.Enum):
    """What is wrong. The values are part of the format of `/health`."""

    STARTING = "starting"
    LOOP_STUCK = "loop_stuck"
    """No frame was looked at and no output was polled for a long time: inference or an output hangs."""
    ALL_SOURCES_LOST = "all_sources_lost"
    OUTPUT_FAILED = "output_failed"
    """A video, an event log or a window is not written any more, or an event waits for it."""
    SOURCE_LOST = "source_lost"
    DELIVERY_FAILING = "delivery_failing"
    """Another program does not take events; they are kept."""
    REMOTE_LOST = "remote_lost"
    """The server that is to embed faces does not answer: this machine does it meanwhile, or people get no names."""
    DEGRADED = "degraded"
    """The machine is too slow for its live sources, and something is left out."""

    def __str__(self) -> str:
        return self.value

    @property
    def is_fatal(self) -> bool:
        """Whether the run does not do its work, or else only a part of it is missing."""
        return self not in (Problem.SOURCE_LOST, Problem.DELIVERY_FAILING, Problem.REMOTE_LOST, Problem.DEGRADED)


@dataclass(frozen=True)
class Health:
    """The answer of `/health`."""

    problems: Tuple[Problem, ...]
    sources: int = 0
    sources_running: int = 0

    @property
    def is_healthy(self) -> bool:
        return not any(problem.is_fatal for problem in self.problems)

    def as_json(self) -> Dict[str, Any]:
        status = "warning" if self.problems else "ok"
        return {
            "status": status if self.is_healthy else "failing",
            "problems": [str(problem) for problem in self.problems],
            "sources": {"all": self.sources, "running": self.sources_running},
        }


STARTING = Health((Problem.STARTING,))


def assess(
    silent_s: float,
    stuck_after_s: float,
    channels: Sequence[ChannelStatus],
    output_failed: bool,
    delivery_failing: bool,
    is_degraded: bool = False,
    remote_lost: bool = False,
) -> Health:
    """`silent_s` is how long the loop has not come by."""
    # A recording that has ended is not lost, nor is one that is about to begin, nor what somebody has stopped.
    running = [
        channel.state is ChannelState.RUNNING or (channel.state is ChannelState.OPENING and not channel.live)
        for channel in channels
        if channel.state not in (ChannelState.ENDED, ChannelState.STOPPED)
    ]
    problems = {
        Problem.LOOP_STUCK: silent_s > stuck_after_s,
        Problem.ALL_SOURCES_LOST: bool(running) and not any(running),
        Problem.OUTPUT_FAILED: output_failed,
        Problem.SOURCE_LOST: any(running) and not all(running),
        Problem.DELIVERY_FAILING: delivery_failing,
        Problem.REMOTE_LOST: remote_lost,
        Problem.DEGRADED: is_degraded,
    }
    found = tuple(problem for problem, is_there in problems.items() if is_there)
    return Health(found, len(running), sum(running))
