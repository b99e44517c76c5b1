"""What is left out while the machine is too slow, because of heat or other work. Pure: no clock, no thread.

The machine is too slow if frames of a live source are dropped because the loop is busy, and those that are left are
too few or too old. Recordings wait instead, so they say nothing about it.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import Deque, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from app.settings import DegradeSettings

WINDOW_S = 5.0
"""The load is measured over this time."""
_FINE_SHARE = 0.5
"""Of the permitted share of dropped frames: fewer are fine."""
_FINE_MARGIN = 1.2
"""By how much frames must be more, and newer, than required."""
_MAX_PATIENCE = 16
"""Times `recover_after_s`, after steps down that were too early."""


class DegradeLevel(enum.IntEnum):
    """Each level leaves out what its name says, and what those below it do."""

    NONE = 0
    FEWER_EMBEDDINGS = 1
    """People who have their names are compared less often."""
    LONGER_INTERVAL = 2
    """What is known or moves is looked at half as often; in between, faces are predicted."""
    SMALLER_REGIONS = 3
    """Known faces are seen in fewer pixels, and faces that are too small for a scan are not searched."""
    FEWER_FRAMES = 4
    """Only some frames of live sources are looked at."""

    def __str__(self) -> str:
        return self.name.lower()

    @property
    def words(self) -> str:
        """For people: `fewer embeddings`."""
        return str(self).replace("_", " ")

    @property
    def shown(self) -> str:
        """Where space is scarce: `degraded: fewer embeddings (1 of 4)`."""
        return f"degraded: {self.words} ({int(self)} of {int(max(DegradeLevel))})"


class ChannelLoad(NamedTuple):
    """How one live source was served lately."""

    dropped_share: float
    """Of the frames that came, the share that was dropped because the loop was busy."""
    fps: float
    """Frames per second that were looked at."""


class Load(NamedTuple):
    """How all live sources were served lately."""

    channels: Tuple[ChannelLoad, ...]
    age_s: float
    """From the arrival of a frame to its result: 95th percentile."""


class Pressure(enum.Enum):
    """What follows from a load."""

    TOO_SLOW = "too slow"
    BETWEEN = "between"
    FINE = "fine"


def pressure_of(load: Load, settings: DegradeSettings) -> Pressure:
    """Whether the machine is too slow. Between that and fine there is a margin, in which nothing changes."""
    pressure = Pressure.FINE
    for channel in load.channels:
        share, fps = channel.dropped_share / settings.max_dropped_share, channel.fps / settings.min_fps
        age = load.age_s / settings.max_age_s
        if share > 1 and (fps < 1 or age > 1):
            return Pressure.TOO_SLOW
        if share > _FINE_SHARE and (fps < _FINE_MARGIN or age > 1 / _FINE_MARGIN):
            pressure = Pressure.BETWEEN
    return pressure


class DegradeController:
    """Chooses the level: one step at a time, not before a pressure has lasted for its time.

    A step down that has to be taken back within the time to recover doubles that time, so that a constant load does not
    make the level go up and down for ever.
    """

    def __init__(self, settings: DegradeSettings) -> None:
        self._settings = settings
        self.is_automatic = settings.level in ("auto", "frozen")
        self.level = DegradeLevel(int(settings.level) if settings.level.isdigit() else 0)
        self._pressure = Pressure.BETWEEN
        self._since_s = -math.inf
        """Since when the pressure, or the level if that changed later."""
        self._patience = 1
        self._lowered_s: Optional[float] = None
        """When the last step was taken, if it was a step down."""

    def level_of(self, is_live: bool) -> DegradeLevel:
        """The level for a frame. A recording waits while the machine is slow, so only a fixed level is for it too."""
        return self.level if is_live or not self.is_automatic else DegradeLevel.NONE

    def update(self, now_s: float, pressure: Pressure) -> DegradeLevel:
        """The level from now on. `now_s` is on a clock that is never set."""
        if pressure is not self._pressure:
            self._pressure, self._since_s = pressure, now_s
        if self.is_automatic:
            lasted_s = now_s - self._since_s
            may_lower = self.level > 0 and self._settings.level == "auto"
            if pressure is Pressure.TOO_SLOW and self.level < self._settings.max_level:
                if lasted_s >= self._settings.raise_after_s:
                    self._raise(now_s)
            elif pressure is Pressure.FINE and may_lower and lasted_s >= self._recover_s:
                self._lower(now_s)
        return self.level

    @property
    def _recover_s(self) -> float:
        return self._settings.recover_after_s * self._patience

    def _raise(self, now_s: float) -> None:
        if self._lowered_s is not None:
            too_early = now_s - self._lowered_s < self._recover_s
            self._patience = min(2 * self._patience, _MAX_PATIENCE) if too_early else 1
        self.level, self._since_s, self._lowered_s = DegradeLevel(self.level + 1), now_s, None

    def _lower(self, now_s: float) -> None:
        if self._lowered_s is not None:
            self._patience = 1
        self.level, self._since_s, self._lowered_s = DegradeLevel(self.level - 1), now_s, now_s


class _Counted(NamedTuple):
    at_s: float
    processed: Dict[str, int]
    dropped: Dict[str, int]


class LoadMeter:
    """Measures the load of the last seconds from what is counted."""

    def __init__(self) -> None:
        self._processed: Dict[str, int] = {}
        self._ages: Deque[Tuple[float, float]] = deque()
        self._counted: Deque[_Counted] = deque()
        self._has_news = False

    def clear(self) -> None:
        """What was measured until now was under another level."""
        self._ages.clear()
        self._counted.clear()

    def add(self, now_s: float, channel: str, age_s: float) -> None:
        """A frame of a live source has been looked at."""
        self._processed[channel] = self._processed.get(channel, 0) + 1
        self._ages.append((now_s, age_s))
        self._has_news = True

    def load(self, now_s: float, dropped: Mapping[str, int]) -> Optional[Load]:
        """`dropped` has the frames that each live source has dropped so far. None: it is not known yet, or the run is
        paused."""
        had_news, self._has_news = self._has_news, False
        latest = _Counted(now_s, dict(self._processed), dict(dropped))
        self._counted.append(latest)
        while len(self._counted) > 2 and self._counted[1].at_s <= now_s - WINDOW_S:
            self._counted.popleft()
        before = self._counted[0]
        while self._ages and self._ages[0][0] < before.at_s:
            self._ages.popleft()
        spent_s = now_s - before.at_s
        is_idle = before.dropped == latest.dropped
        if spent_s <= 0 or not (had_news or is_idle):
            return None
        channels: List[ChannelLoad] = []
        for name, count in dropped.items():
            lost = count - before.dropped.get(name, 0)
            processed = self._processed.get(name, 0) - before.processed.get(name, 0)
            channels.append(ChannelLoad(lost / max(1, lost + processed), processed / spent_s))
        age_s = float(np.percentile([age for _, age in self._ages], 95)) if self._ages else 0.0
        return Load(tuple(channels), age_s)
