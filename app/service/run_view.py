"""What a run shows over HTTP while it lasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from app.assembly import OpenedRun
from app.capture.uri import Source
from app.monitoring.health import Health
from app.monitoring.monitor import RunMonitor
from app.output.annotate import Annotator
from app.output.areas import outlines
from app.service.feed import EventFeed
from app.service.live import LiveFrames
from app.service.streams import Viewers
from app.settings import Settings
from app.types import ChannelStatus

Doctor = Callable[[], List[Dict[str, Any]]]
"""Checks this machine, for a few seconds; the sections of `doctor --json`."""


def no_channels() -> Tuple[ChannelStatus, ...]:
    return ()


class WithoutRun(RunMonitor):
    """A server that reads no sources: it is healthy, and no loop has to come by."""

    def __init__(self) -> None:
        super().__init__(stuck_after_s=1.0, clock=lambda: 0.0)

    def health(self) -> Health:
        return Health(())


@dataclass
class RunView:
    """The parts that clients can watch. Without a run there are no channels, and nothing happens."""

    live: LiveFrames
    events: EventFeed
    viewers: Viewers
    channels: Callable[[], Sequence[ChannelStatus]] = no_channels
    monitor: RunMonitor = field(default_factory=WithoutRun)
    doctor: Optional[Doctor] = None

    @classmethod
    def prepared(cls, settings: Settings, sources: Sequence[Source] = (), doctor: Optional[Doctor] = None) -> RunView:
        """`live` becomes an output of the run, before it is opened."""
        names = [source.name for source in sources]
        annotator = Annotator(settings.output.landmarks, settings.output.why, outlines=outlines(settings, names))
        log = settings.output.events
        viewers = Viewers(settings.serve.max_viewers)
        return cls(LiveFrames(names, annotator), EventFeed(log), viewers, doctor=doctor)

    def watch(self, opened: OpenedRun) -> None:
        self.channels, self.monitor = opened.channels.status, opened.monitor
        opened.events.listeners.append(self.events.add)

    def close(self) -> None:
        """Sends away those who watch."""
        self.live.close()
        self.events.close()
