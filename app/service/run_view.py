"""What a run shows over HTTP while it lasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Sequence, Tuple

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

    @classmethod
    def prepared(cls, settings: Settings, sources: Sequence[Source] = ()) -> RunView:
        """`live` becomes an output of the run, before it is opened."""
        names = [source.name for source in sources]
        annotator = Annotator(settings.output.landmarks, settings.output.why, outlines=outlines(settings, names))
        log = settings.output.events
        return cls(LiveFrames(names, annotator), EventFeed(log), Viewers(settings.serve.max_viewers))

    def watch(self, opened: OpenedRun) -> None:
        self.channels, self.monitor = opened.channels.status, opened.monitor
        opened.events.listeners.append(self.events.add)

    def close(self) -> None:
        """Sends away those who watch."""
        self.live.close()
        self.events.close()
