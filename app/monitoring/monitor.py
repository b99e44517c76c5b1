"""What is known of a run while it goes on, for whoever serves it over HTTP."""

from __future__ import annotations

import time
from typing import Callable, NamedTuple, Optional

from app.capture.capture import Channels
from app.degrade import DegradeController
from app.events.sinks import EventPublisher
from app.monitoring.counts import RunCounts
from app.monitoring.health import STARTING, Health, assess
from app.output.outputs import Outputs
from app.recognizer import Recognizer


class WatchedRun(NamedTuple):
    """The parts of a run that say how they are. Each may be asked from any thread."""

    channels: Channels
    outputs: Outputs
    events: EventPublisher
    degrade: DegradeController
    recognizer: Recognizer


class RunMonitor:
    """The numbers and the health of one run. Asked from any thread; waits for no network and no file."""

    def __init__(self, stuck_after_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """The loop is stuck when it has not come by for `stuck_after_s`."""
        self.counts = RunCounts(clock)
        """An output of the run."""
        self.run: Optional[WatchedRun] = None
        """None until everything is open."""
        self._stuck_after_s = stuck_after_s

    def watch(self, run: WatchedRun) -> None:
        """Everything is open: the loop begins."""
        for channel in run.channels.status():
            self.counts.processed[channel.name] += 0  # a counter that appears with its first frame has no rate
        self.counts.poll()
        self.run = run

    def health(self) -> Health:
        if self.run is None:
            return STARTING
        channels, outputs, events, degrade, recognizer = self.run
        working = [output.is_working for output in outputs.status()] + [sink.is_working for sink in events.sinks()]
        return assess(
            self.counts.silent_s(),
            self._stuck_after_s,
            channels.status(),
            output_failed=bool(outputs.lost) or not all(working),
            delivery_failing=not all(delivery.is_working for delivery in events.deliveries()),
            is_degraded=degrade.is_automatic and degrade.level > 0,
            remote_lost=not all(remote.is_up for remote in recognizer.remotes.values()),
        )
