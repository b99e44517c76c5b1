"""The window: one picture with all channels, and a few keys. Must be used from the main thread."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Set

import cv2
import numpy as np

from app.errors import OutputError
from app.output.annotate import Annotator, live_status
from app.output.display import DisplayConnection, display_available
from app.output.layout import Size, grid
from app.output.outputs import Control
from app.output.paths import save_snapshot
from app.output.progress import RateMeter
from app.settings import OutputSettings
from app.types import FrameResult

logger = logging.getLogger(__name__)

MAX_SIZE: Size = (1600, 900)
_PAUSED_WAIT_MS = 30
_ESCAPE = chr(27)


def open_window(settings: OutputSettings, annotator: Annotator) -> Optional[Window]:
    """None where no window is wanted, or where it is up to the program and there is no display."""
    if settings.window is False:
        return None
    available, reason = display_available()
    if available:
        return Window(annotator, settings.snapshots)
    if settings.window:
        raise OutputError(f"no window can be opened (output.window, --window): {reason}")
    logger.info("no window: %s", reason)
    return None


class Window:
    """An output: `handle` takes results, `poll` draws the new ones and reads the keyboard.

    Keys: q or Esc quits, space pauses, s saves snapshots, l shows landmarks, w shows why a face has its name, g
    shows a grid to read positions from.
    """

    name = "window"

    def __init__(
        self,
        annotator: Annotator,
        snapshots: Path,
        *,
        title: str = "Face recognition",
        max_size: Size = MAX_SIZE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        available, reason = display_available()
        if not available:
            raise OutputError(f"no window: {reason}")
        self._closed = False
        self._paused = False
        self._annotator = annotator
        self._snapshots = snapshots
        self._title = title
        self._max_size = max_size
        self._clock = clock
        self._results: Dict[str, FrameResult] = {}
        self._fps: Dict[str, Optional[float]] = {}
        self._rates: Dict[str, RateMeter] = {}
        self._pictures: Dict[str, np.ndarray] = {}
        self._stale: Set[str] = set()
        self._was_visible = False
        self._channels_shown = 0
        self._connection = DisplayConnection.open_if_x11()
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)

    def handle(self, result: FrameResult) -> None:
        """Shows the result at the next poll, instead of the previous one of its channel."""
        channel = result.frame.source
        meter = self._rates.setdefault(channel, RateMeter())
        self._fps[channel] = meter.tick(result.frame.clock_s + result.latency_s)
        self._results[channel] = result
        self._stale.add(channel)

    def poll(self, wait_ms: int = 1) -> Control:
        """Draws, waits up to `wait_ms` for a key (longer while paused), and handles the key.

        Raises OutputError when the display is gone; if it goes while Qt is drawing, Qt ends the process.
        """
        if self._closed:
            return Control.STOP
        try:
            if self._stale:
                self._check_display()
                self._show()
            # Qt ends the process if the display goes while Qt is working, so it gets as little time as possible.
            pause_ms = max(wait_ms, _PAUSED_WAIT_MS) if self._paused else wait_ms
            time.sleep(max(0, pause_ms - 1) / 1000)
            self._check_display()
            key = cv2.waitKey(1)
            closed_by_user = self._was_closed_by_user()
        except cv2.error as error:
            raise OutputError(f"cannot show the window: {error}") from error
        self._handle_key("" if key < 0 else chr(key & 0xFF).lower())
        self._closed = self._closed or closed_by_user
        return Control.STOP if self._closed else Control.PAUSE if self._paused else Control.RUN

    def close(self) -> None:
        self._closed = True
        connection, self._connection = self._connection, None
        reachable = connection is None or connection.is_alive()
        if connection is not None:
            connection.close()
        if reachable:
            try:
                cv2.destroyWindow(self._title)
                cv2.waitKey(1)
            except cv2.error as error:
                logger.debug("the window was already gone: %s", error)

    def _handle_key(self, key: str) -> None:
        if key in ("q", _ESCAPE):
            self._closed = True
        elif key == " ":
            self._paused = not self._paused
        elif key == "l":
            self._annotator.landmarks = not self._annotator.landmarks
            self._stale.update(self._results)
        elif key == "w":
            self._annotator.why = not self._annotator.why
            self._stale.update(self._results)
        elif key == "g":
            self._annotator.grid = not self._annotator.grid
            self._stale.update(self._results)
        elif key == "s":
            for channel, picture in self._pictures.items():
                try:
                    logger.info("saved %s", save_snapshot(picture, self._snapshots, channel, self._clock()))
                except OutputError as error:
                    logger.error("%s", error)

    def _show(self) -> None:
        for channel, result in self._results.items():
            if channel in self._stale:
                status = live_status(result, self._fps[channel]) if result.frame.live else None
                self._pictures[channel] = self._annotator.annotate(result, status)
        self._stale.clear()
        pictures: List[np.ndarray] = list(self._pictures.values())
        whole = grid(pictures, self._max_size)
        if len(pictures) != self._channels_shown:
            self._channels_shown = len(pictures)
            cv2.resizeWindow(self._title, whole.shape[1], whole.shape[0])
        cv2.imshow(self._title, whole)

    def _was_closed_by_user(self) -> bool:
        try:
            visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:
            visible = False  # with Qt, this fails once the last window is closed
        # Some of OpenCV's toolkits never report a window as visible; with those, closing it goes unnoticed.
        if visible:
            self._was_visible = True
        return self._was_visible and not visible

    def _check_display(self) -> None:
        if self._connection is not None and not self._connection.is_alive():
            self._closed = True
            raise OutputError("the display was shut down or the connection to it broke")
