"""A GStreamer pipeline in a separate process, with the methods of `cv2.VideoCapture`: the readers take either."""

from __future__ import annotations

import re
import time
from typing import Dict, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from app.errors import SourceError
from app.gstreamer import child
from app.gstreamer.i420 import I420
from app.gstreamer.process import Message, PipelineError, PipelineProcess, PipelineTimeoutError

_NO_TIME_STAMP_MS = -1e15
_FULL_RANGE = "1:"
"""How the colorimetry begins of pictures whose black is 0, such as JPEG. That of others is 16."""
_TO_LIMITED_BRIGHTNESS = np.round(16 + np.arange(256) * 219 / 255).astype(np.uint8)
_TO_LIMITED_COLOUR = np.round(128 + (np.arange(256) - 128) * 224 / 255).astype(np.uint8)


class FrameFormat(NamedTuple):
    """What the frames of a pipeline are like: learnt from it, not assumed."""

    width: int
    height: int
    fps: Optional[float]
    full_range: bool

    @classmethod
    def parsed(cls, caps: str) -> FrameFormat:
        fields = dict(re.findall(r"([\w-]+)=\([\w/]+\)\"?([^,\s\"]+)", caps))
        if fields.get("format") != "I420":
            raise SourceError(f"GStreamer gives frames that are not I420: {caps}")
        numerator, _, denominator = fields.get("framerate", "0/1").partition("/")
        return cls(
            width=int(fields["width"]),
            height=int(fields["height"]),
            fps=int(numerator) / int(denominator) or None,
            full_range=fields.get("colorimetry", "").startswith(_FULL_RANGE),
        )


def bgr_of(content: memoryview, frame: FrameFormat) -> np.ndarray:
    """The image of a frame."""
    layout = I420(frame.width, frame.height)
    if len(content) != layout.size:
        raise SourceError(
            f"GStreamer gives frames of {len(content)} bytes; {frame.width} x {frame.height} in I420 has {layout.size}"
        )
    pixels = np.frombuffer(content, np.uint8)
    if frame.full_range or not layout.is_dense:
        planes = layout.planes(pixels)
        if frame.full_range:
            tables = (_TO_LIMITED_BRIGHTNESS, _TO_LIMITED_COLOUR, _TO_LIMITED_COLOUR)
            planes = [table[plane] for table, plane in zip(tables, planes)]
        pixels = np.concatenate([plane.ravel() for plane in planes])
    image = cv2.cvtColor(pixels.reshape(layout.rows * 3 // 2, layout.even_width), cv2.COLOR_YUV2BGR_I420)
    return image[: frame.height, : frame.width]


class PipelineCapture:
    """An open pipeline. Raises PipelineError if it cannot be opened."""

    def __init__(self, pipeline: str, *, open_timeout_s: float, read_timeout_s: float) -> None:
        self._read_timeout_s = read_timeout_s
        self._process = PipelineProcess({"do": "read", "pipeline": pipeline})
        self._format: Optional[FrameFormat] = None
        self._duration_s = 0.0
        self._frame: Optional[Message] = None
        self.is_damaged = False
        """The frame that was grabbed, as far as the decoder says so."""
        self._is_over = self._hangs = False
        try:
            self._take(self._process.receive(open_timeout_s))
        except PipelineError as error:
            self._hangs = isinstance(error, PipelineTimeoutError)
            self.release()
            raise

    def grab(self) -> bool:
        """Goes to the next frame; False at the end, or if none comes within the time-out."""
        deadline = time.monotonic() + self._read_timeout_s
        self._frame = None
        while self._frame is None and not self._is_over:
            try:
                self._take(self._process.receive(deadline - time.monotonic()))
            except PipelineTimeoutError:
                self._hangs = True
                return False
            except PipelineError as error:
                raise SourceError(str(error)) from error
        return self._frame is not None

    def retrieve(self) -> Tuple[bool, Optional[np.ndarray]]:
        if self._frame is None or self._format is None:
            return False, None
        return True, bgr_of(self._frame.content, self._format)

    def read(self) -> Tuple[bool, Optional[np.ndarray]]:
        return self.retrieve() if self.grab() else (False, None)

    def get(self, number: int) -> float:
        """The properties that readers ask for."""
        fps = (self._format and self._format.fps) or 0.0
        stamp_ns = child.UNKNOWN if self._frame is None else self._frame.time_ns
        values: Dict[int, float] = {
            cv2.CAP_PROP_FPS: fps,
            cv2.CAP_PROP_FRAME_COUNT: round(self._duration_s * fps),
            cv2.CAP_PROP_POS_MSEC: _NO_TIME_STAMP_MS if stamp_ns == child.UNKNOWN else stamp_ns / 1e6,
        }
        return values[number]

    def release(self) -> None:
        """Kills a process that hangs at once."""
        if self._hangs:
            self._process.close(0.0)
        else:
            self._process.close()

    def _take(self, message: Message) -> None:
        if message.kind == child.CAPS:
            self._format = FrameFormat.parsed(bytes(message.content).decode())
            self._duration_s = max(0, message.duration_ns) / 1e9
        elif message.kind in (child.FRAME, child.DAMAGED):
            self._frame, self.is_damaged = message, message.kind == child.DAMAGED
        elif message.kind == child.END:
            self._is_over = True
