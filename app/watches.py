"""Outputs that look at the run itself, on the thread of the loop, and pass on what has changed."""

from __future__ import annotations

import logging
import time
from typing import Callable, Dict, Iterable, Optional

from app.capture.capture import Channels
from app.degrade import DegradeController, DegradeLevel, LoadMeter, Pressure, pressure_of
from app.events.sinks import EventPublisher
from app.gallery.strangers import LiveStrangers
from app.output.outputs import Control
from app.settings import DegradeSettings
from app.types import ChannelStatus, FrameResult

logger = logging.getLogger(__name__)

LOAD_EVERY_S = 1.0
"""How often the load is measured."""
STATES_EVERY_S = 0.1
"""How often the states of the sources are looked at. In every frame, it would take the time of many channels."""


class SourceWatch:
    """Passes the state of the sources to the events."""

    name = "sources"

    def __init__(self, events: EventPublisher, status: Callable[[], Iterable[ChannelStatus]]) -> None:
        self._events = events
        self._status = status
        self._due_s = time.monotonic()

    def handle(self, result: FrameResult) -> None:
        pass

    def poll(self) -> Control:
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + STATES_EVERY_S
            self._events.handle_status(self._status(), time.time(), now_s)
        return Control.RUN

    def close(self) -> None:
        pass


class StrangerWatch:
    """Passes the names that strangers get to the events."""

    name = "strangers"

    def __init__(self, events: EventPublisher, strangers: LiveStrangers) -> None:
        self._events = events
        self._strangers = strangers
        self._passed: Optional[Dict[str, Optional[str]]] = None

    def handle(self, result: FrameResult) -> None:
        pass

    def poll(self) -> Control:
        if self._strangers.names is not self._passed:
            self._passed = self._strangers.names
            self._events.handle_relabels(self._passed, time.time())
        return Control.RUN

    def close(self) -> None:
        pass


class LoadWatch:
    """Tells the controller how the live sources are served, and passes a new level to the sources and the events."""

    name = "load"

    def __init__(
        self, settings: DegradeSettings, controller: DegradeController, channels: Channels, events: EventPublisher
    ) -> None:
        self._settings = settings
        self._controller = controller
        self._channels = channels
        self._events = events
        self._meter = LoadMeter()
        self._due_s = time.monotonic()
        self._apply(controller.level)

    def handle(self, result: FrameResult) -> None:
        if result.frame.live:
            self._meter.add(time.monotonic(), result.frame.source, result.latency_s)

    def poll(self) -> Control:
        now_s = time.monotonic()
        if now_s >= self._due_s and self._controller.is_automatic:
            self._due_s = now_s + LOAD_EVERY_S
            dropped = {channel.name: channel.counters.dropped for channel in self._channels.status() if channel.live}
            load, before = self._meter.load(now_s, dropped), self._controller.level
            pressure = Pressure.BETWEEN if load is None else pressure_of(load, self._settings)
            level = self._controller.update(now_s, pressure)
            if level is not before:
                self._meter.clear()
                self._report(level, before)
                self._apply(level)
        return Control.RUN

    def close(self) -> None:
        pass

    def _apply(self, level: DegradeLevel) -> None:
        self._channels.limit_rate(self._settings.level_4_fps if level >= DegradeLevel.FEWER_FRAMES else None)

    def _report(self, level: DegradeLevel, before: DegradeLevel) -> None:
        self._events.handle_level(int(level), str(level), int(before), time.time())
        if level > before:
            logger.warning("the machine is too slow for its live sources: level %d of 4, %s", level, level.words)
        elif level:
            logger.info("the machine has recovered to level %d of 4, %s", level, level.words)
        else:
            logger.info("the machine has recovered: nothing is left out any more")
