"""Readers of a camera, a stream, a recording or a folder: one small class each, with the same interface.

Readers do not retry and do not count dropped frames: `capture_thread.py` does. Those of live and remote sources run in
a process of their own, behind a `ProcessReader`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Protocol, Sequence, Tuple

import cv2
import numpy as np

from app.capture.pictures import read_picture
from app.errors import SourceError

log = logging.getLogger(__name__)

STALL_SHARE = 0.8
"""A read that took this share of its time-out is a stall even if it returned a frame: measured, FFmpeg returns one or
two old frames from its decoder after the time-out of a frozen stream."""

_TRIES = 3
"""A part of a stream that cannot be decoded looks like its end (seen with OpenCV 5); then the next part is there."""

_MAX_TIME_STAMP_S = 1e11
"""For a frame without a time stamp OpenCV 4 gives the smallest integer, in units of the stream: at least 9e12 s."""

_END_OF_JPEG = np.array([0xFF, 0xD9], np.uint8)
"""Where it comes too early, the decoder complains. OpenCV 4.6 decodes half a picture without it and says nothing."""

_MAX_FPS = 1000.0
"""OpenCV reports the time base (90000 and the like) for a stream that does not declare its frame rate."""


@dataclass(frozen=True)
class RawFrame:
    """What a reader knows of a frame: the fields of `Frame` without the channel's."""

    image: np.ndarray
    position: Optional[float] = None
    """Seconds into a recording; None for a live source."""
    continues: bool = True
    """False for a picture that is unrelated to the one before it."""
    file: Optional[str] = None
    """The file of such a picture."""
    time_stamp_s: Optional[float] = None
    """When it was taken, by the clock of the camera, which may have begun at any time."""
    captured_at: Optional[float] = None
    """When it was read, in seconds since the epoch; None: just now."""
    clock_s: Optional[float] = None
    """The same by `time.monotonic`, which all processes share."""
    replaced: int = 0
    """How many frames before it were replaced by a newer one."""
    beyond_max_fps: int = 0
    """How many frames before it were left out because of `capture.max_fps`."""
    damaged: int = 0
    """Frames about which the decoder complained, since the frame before."""


class ReaderDiedError(SourceError):
    """The process that reads the source has died: killed, or by a crash of a decoder."""


class StallError(SourceError):
    """A live source that is open but has sent nothing for too long."""


class Reader(Protocol):
    """An open source."""

    live: bool
    """Whether frames are lost if they are not read in time."""
    fps: Optional[float]
    total_frames: Optional[int]
    unreadable: int
    """Pictures skipped so far because they could not be read."""

    def wait(self, timeout_s: float) -> bool:
        """Waits until one of the other methods has an answer; False after `timeout_s`."""

    def finish_opening(self) -> None:
        """Called once before the first `read`. Raises a SourceError if the source cannot be opened."""

    def read(self) -> Optional[RawFrame]:
        """The next frame; None at the end. Raises a SourceError if the source fails for a known reason."""

    def close(self) -> None:
        """Release the source."""


class LocalReader:
    """A reader that is open once it exists, and that does not hang."""

    def wait(self, timeout_s: float) -> bool:
        return True

    def finish_opening(self) -> None:
        pass


class StreamReader(LocalReader):
    """A live source through OpenCV: a network camera, a USB or CSI camera, an endless stream."""

    live = True
    has_time_stamps = True
    """Whether OpenCV says when the camera took a frame."""
    uses_damaged = True
    """Whether a frame about which the decoder complained shows something new."""
    is_damaged = False
    """Whether the frame that was grabbed could not be decoded, as far as the decoder does not complain about that."""
    total_frames: Optional[int] = None
    unreadable = 0

    def __init__(self, capture: Any, read_timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._capture = capture
        self._read_timeout_s = read_timeout_s
        self._clock = clock
        self.fps = fps_of(capture)

    def read(self) -> Optional[RawFrame]:
        return self.retrieve() if self.grab() else None

    def grab(self) -> bool:
        """Goes to the next frame; False at the end. It is decoded (by a USB camera's driver not even that)."""
        began = self._clock()
        for _ in range(_TRIES):
            try:
                found = bool(self._capture.grab())
            except cv2.error as error:
                raise _cannot_decode(error) from error
            took = self._clock() - began
            if took > STALL_SHARE * self._read_timeout_s:
                raise StallError(f"no frame for {took:.1f} s")
            if found:
                return True
        return False

    @property
    def time_stamp_s(self) -> Optional[float]:
        """That of the frame that was grabbed."""
        if not self.has_time_stamps:
            return None
        stamp_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        return stamp_s if abs(stamp_s) < _MAX_TIME_STAMP_S else None

    def retrieve(self) -> Optional[RawFrame]:
        """The frame that was grabbed, converted to an image; None at the end."""
        stamp_s = self.time_stamp_s
        try:
            found, image = self._capture.retrieve()
        except cv2.error as error:
            raise _cannot_decode(error) from error
        return RawFrame(_bgr(image), time_stamp_s=stamp_s) if found and image is not None else None

    def close(self) -> None:
        self._capture.release()


class GStreamerReader(StreamReader):
    """A live source through a GStreamer pipeline. It has no time-out of its own (measured: up to 28 s)."""

    has_time_stamps = False


class PipelineReader(StreamReader):
    """A live source through GStreamer in a separate process.

    A stream that is joined in its middle begins with grey frames, up to the next key frame. The software decoder says
    that they are damaged; NVIDIA's has not been tried.
    """

    uses_damaged = False

    def __init__(self, capture: Any, read_timeout_s: float) -> None:
        super().__init__(capture, read_timeout_s)
        self._was_whole = False

    def grab(self) -> bool:
        while super().grab():
            self.is_damaged = self._capture.is_damaged
            if self._was_whole or not self.is_damaged:
                self._was_whole = True
                return True
        return False


class MotionJpegReader(StreamReader):
    """Motion JPEG over HTTP. FFmpeg numbers its pictures as if there were 25 a second, however many there are.

    OpenCV's video decoder is used only where an old version cannot hand out the JPEGs: instead of a picture that cannot
    be decoded, it gives the one before it again, and 4.6 scrambles pictures of another size than the first.
    """

    has_time_stamps = False
    uses_damaged = False

    def __init__(self, capture: Any, read_timeout_s: float) -> None:
        super().__init__(capture, read_timeout_s)
        self._gives_jpegs = bool(capture.set(cv2.CAP_PROP_FORMAT, -1))
        self._image: Optional[np.ndarray] = None
        """The picture that was grabbed."""
        self._size: Optional[Tuple[int, int]] = None
        """Of the first picture; the others are scaled to it."""

    def grab(self) -> bool:
        if not super().grab():
            return False
        if self._gives_jpegs:
            # Now, and not in `retrieve`: what the decoder says is about the picture that was grabbed last.
            self._image = self._decoded()
            self.is_damaged = self._image is None
        return True

    def _decoded(self) -> Optional[np.ndarray]:
        try:
            found, jpeg = self._capture.retrieve()
            if not found or jpeg is None:
                return None
            whole = np.append(jpeg, _END_OF_JPEG)
            image = cv2.imdecode(whole, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:  # nothing to decode, or too many pixels
            return None
        if image is None:
            return None
        size = (image.shape[1], image.shape[0])
        if self._size is None:
            self._size = size
        return image if size == self._size else cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)

    def retrieve(self) -> Optional[RawFrame]:
        if not self._gives_jpegs:
            return super().retrieve()
        return None if self._image is None else RawFrame(self._image)


class CameraReader(StreamReader):
    """A USB camera through Video4Linux."""

    has_time_stamps = False


class RecordingReader(LocalReader):
    """A recording: every frame once, with its position in time."""

    live = False
    unreadable = 0

    def __init__(self, capture: Any, name: str, time_stamps: bool = True) -> None:
        self._capture = capture
        self._time_stamps = time_stamps
        self._name = name
        self.fps = fps_of(capture)
        self.total_frames = frame_count(capture)
        self._frames = 0
        self._begin_ms: Optional[float] = None
        self._position = 0.0

    def read(self) -> Optional[RawFrame]:
        found, image = _read(self._capture)
        if not found or image is None:
            if self.total_frames is not None and self._frames < 0.9 * self.total_frames - 1:
                log.warning(
                    "%s: ended after %d of about %d frames; the recording seems to be incomplete or damaged",
                    self._name,
                    self._frames,
                    self.total_frames,
                )
            return None
        self._position = self._position_of_this_frame()
        self._frames += 1
        return RawFrame(_bgr(image), self._position)

    def close(self) -> None:
        self._capture.release()

    def _position_of_this_frame(self) -> float:
        """Seconds after the first frame.

        After a read OpenCV reports the time stamp of the frame that was read (seen with 4.1.2, 4.6 and 5.0). Without
        time stamps the position advances by the frame rate; so it does with GStreamer, whose pipeline runs ahead.
        """
        if not self._time_stamps:
            return self._frames / (self.fps or 25.0)
        stamp_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        if self._begin_ms is None:
            self._begin_ms = stamp_ms
            return 0.0
        position = float(stamp_ms - self._begin_ms) / 1000.0
        if position > self._position:
            return position
        return self._position + 1.0 / (self.fps or 25.0)


class PicturesReader(LocalReader):
    """A list of pictures. One that cannot be read is logged with its name, counted and skipped."""

    live = False
    fps: Optional[float] = None

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._next = 0
        self.total_frames: Optional[int] = len(self._files)
        self.unreadable = 0

    def read(self) -> Optional[RawFrame]:
        while self._next < len(self._files):
            path = self._files[self._next]
            self._next += 1
            try:
                return RawFrame(read_picture(path), continues=False, file=str(path))
            except SourceError as error:
                self.unreadable += 1
                if self.unreadable == len(self._files):
                    raise
                log.warning("skipped: %s", error)
        return None

    def close(self) -> None:
        self._next = len(self._files)


def _read(capture: Any) -> Tuple[bool, Optional[np.ndarray]]:
    try:
        found, image = capture.read()
    except cv2.error as error:
        raise _cannot_decode(error) from error
    return bool(found), image


def _cannot_decode(error: cv2.error) -> SourceError:
    return SourceError(f"OpenCV cannot decode it: {str(error).strip()}")


def fps_of(capture: Any) -> Optional[float]:
    """The frame rate, if the source declares a plausible one."""
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0 < fps <= _MAX_FPS else None


def frame_count(capture: Any) -> Optional[int]:
    """The number of frames that the file declares; None for an endless stream."""
    count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return int(count) if 0 < count < 1e9 else None


def _bgr(image: np.ndarray) -> np.ndarray:
    """Thermal and machine-vision cameras deliver grey pictures, some with 16 bits."""
    if image.dtype != np.uint8:
        image = np.asarray(cv2.normalize(image, np.empty(0), 0, 255, cv2.NORM_MINMAX, cv2.CV_8U))
    if image.ndim == 2 or image.shape[2] == 1:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    elif image.shape[2] == 4:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    return image
