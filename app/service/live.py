"""The newest picture of each channel, for those who watch a run over HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Awaitable, Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.output.annotate import Annotator
from app.service.streams import Signal
from app.types import FrameResult

WIDTHS = (160, 240, 320, 480, 640, 960, 1280, 1920)
"""Pictures are sent in these widths, or as large as they are: viewers with similar windows share one."""
JPEG_QUALITY = 80
_RATE_OVER_S = 5.0

InPool = Callable[[Callable[[], bytes]], Awaitable[bytes]]
"""Does work in a thread."""


class LivePicture:
    """A result, and the JPEGs that were made of it. The JPEGs belong to the thread of the event loop."""

    def __init__(self, result: FrameResult) -> None:
        self.result = result
        self._jpegs: Dict[Tuple[int, bool], asyncio.Future[bytes]] = {}

    def width(self, wanted: int) -> int:
        """The width in which it is sent if this one is wanted; 0 = its own."""
        own = int(self.result.frame.image.shape[1])
        return next((width for width in WIDTHS if wanted and wanted <= width < own), own)

    async def jpeg(self, width: int, annotator: Optional[Callable[[FrameResult], np.ndarray]], run: InPool) -> bytes:
        """Encoded once for all who want the same. `width` as from `width()`; `annotator` draws what is known."""
        key = (width, annotator is not None)
        encoding = self._jpegs.get(key)
        if encoding is None:
            encoding = asyncio.ensure_future(run(lambda: _encoded(self.result, width, annotator)))
            self._jpegs[key] = encoding
        # One viewer who leaves does not take the picture from the others.
        return await asyncio.shield(encoding)


class ChannelActivity(NamedTuple):
    """What was shown of a channel."""

    processed: int = 0
    fps: float = 0.0
    """Over the last seconds."""
    last_frame: Optional[float] = None
    """When the newest frame arrived, in seconds since the epoch."""
    latency_s: Optional[float] = None
    """From its arrival to its result."""


class LiveFrames:
    """An output that keeps the newest result of each channel. It gets what all outputs get, with covered faces.

    `handle` is called by the loop, everything else by the event loop.
    """

    name = "live view"

    def __init__(self, channels: Sequence[str] = (), annotator: Optional[Annotator] = None) -> None:
        """`annotator` draws for those who want boxes in the picture."""
        self.channels = tuple(channels)
        self.changed = Signal()
        self.is_closed = False
        self._annotator = annotator or Annotator()
        self._drawing = threading.Lock()
        self._newest: Dict[str, LivePicture] = {}
        self._processed: Dict[str, int] = {}
        self._moments: Dict[str, Deque[float]] = {}

    def handle(self, result: FrameResult) -> None:
        source = result.frame.source
        self._processed[source] = self._processed.get(source, 0) + 1
        self._moments.setdefault(source, deque(maxlen=256)).append(time.monotonic())
        self._newest[source] = LivePicture(result)
        self.changed.give()

    def close(self) -> None:
        """Those who watch are sent away."""
        self.is_closed = True
        self.changed.give()

    def newest(self, channel: str) -> Optional[LivePicture]:
        return self._newest.get(channel)

    def activity(self, channel: str) -> ChannelActivity:
        picture = self._newest.get(channel)
        if picture is None:
            return ChannelActivity()
        now = time.monotonic()
        recent = [moment for moment in tuple(self._moments[channel]) if moment > now - _RATE_OVER_S]
        # The time since the last one counts as well, so that the rate of a lost camera falls.
        fps = len(recent) / max(now - recent[0], 1e-3) if len(recent) > 1 else 0.0
        result = picture.result
        return ChannelActivity(self._processed[channel], fps, result.frame.captured_at, result.latency_s)

    def annotated(self, result: FrameResult) -> np.ndarray:
        """The picture with boxes and names."""
        with self._drawing:
            return self._annotator.annotate(result)


def _encoded(result: FrameResult, width: int, annotator: Optional[Callable[[FrameResult], np.ndarray]]) -> bytes:
    image = result.frame.image if annotator is None else annotator(result)
    height, own = image.shape[:2]
    if width != own:
        image = cv2.resize(image, (width, max(1, round(height * width / own))), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())


def shown_faces(result: FrameResult, width: int) -> List[Dict[str, object]]:
    """The faces of a picture of this width, for programs that draw them."""
    scale = width / result.frame.image.shape[1]
    strangers = {track.id: track.stranger for track in result.tracks}
    return [
        {
            "track": track,
            "box": [round(float(side) * scale, 1) for side in box],
            "name": match.name,
            "state": _state(match.name, match.reason.compared),
            "sim": round(match.similarity, 4) if match.candidates or match.nearest is not None else None,
            "reason": str(match.reason),
            "stranger": strangers.get(track) if match.name is None else None,
        }
        for track, box, match in zip(result.track_ids, result.faces.boxes, result.matches)
    ]


def _state(name: Optional[str], compared: bool) -> str:
    return "known" if name is not None else "unknown" if compared else "not_compared"
