"""Writers of video files, and the clock that says when each frame is shown."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Optional, Protocol

import cv2
import numpy as np

from app.errors import OutputError
from app.output.layout import Size
from app.types import Frame

logger = logging.getLogger(__name__)

TICKS_PER_S = 90_000
PICTURE_SECONDS = 1.0
"""How long each picture of a folder of photos is shown."""
DEFAULT_STEP_S = 1 / 25
"""Between two frames, until their own times say more."""
FRAGMENT_S = 1.0
"""A video that is cut off by a crash or a power cut loses no more than this much of its end."""
MAX_STILL_S = 60.0
"""How long a video with a constant frame rate shows the last picture of a camera that stalls."""
_BACKWARD_S = 0.5
"""Time stamps go back by less than this in many recordings; more means that the source started again."""
_DAMAGED_S = 86_400.0
"""A longer pause is a damaged time stamp."""

# The preset "ultrafast" leaves out two things that cost little and gain much: CABAC (a quarter of the size) and
# deblocking.
_X264 = "cabac=1:no-deblock=0:colormatrix=smpte170m"
_BOX_HEAD_BYTES = 8
"""Of an MP4's boxes: length and kind."""
_CONTAINER = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}

# Players derive the level (how fast a decoder must be) from this; each frame has a time of its own.
_NOMINAL_FPS = 30

# `cv2.VideoWriter` does not report a full disk.
_CHECK_DISK_EVERY = 25
_MIN_FREE_BYTES = 256 * 1024


class VideoClock:
    """When each frame of one channel is shown, in seconds since the video's start; increases by one tick or more.

    Recordings keep their own time. Live frames are shown as far apart as they arrived, so that a camera that stalls
    does not speed up the video.
    """

    def __init__(self) -> None:
        self._shown_s: Optional[float] = None
        self._source_s = 0.0
        self.step_s = DEFAULT_STEP_S
        """How long the newest frame will be shown, estimated from the ones before."""

    def seconds(self, frame: Frame) -> float:
        """When this frame, the next one, is shown."""
        source_s = frame.source_time
        passed_s = source_s - self._source_s
        if not frame.continues:
            step = self.step_s = PICTURE_SECONDS
        elif self._shown_s is None or passed_s < -_BACKWARD_S or passed_s > _DAMAGED_S:
            step = self.step_s
        else:
            step = passed_s
            self.step_s = passed_s if passed_s > 0 else self.step_s
        self._shown_s = 0.0 if self._shown_s is None else self._shown_s + max(step, 1 / TICKS_PER_S)
        self._source_s = source_s
        return self._shown_s


def ticks(seconds: float) -> int:
    return round(seconds * TICKS_PER_S)


def frames_to_fill(written: int, seconds: float, fps: float) -> int:
    """How often to write the previous picture so that the next one starts at `seconds`.

    For videos with a constant frame rate, of which `written` frames exist: slow frames are repeated, fast ones give 0
    and are replaced by the next.
    """
    return max(0, round(seconds * fps) - written)


class VideoWriter(Protocol):
    """An open video of one size."""

    def write(self, image: np.ndarray, seconds: float) -> None:
        """Shows the image (BGR, of the video's size) from `seconds` on; each call later than the one before."""
        ...

    def close(self, last_step_s: float) -> None:
        """Finishes the video; the last image is shown for `last_step_s`."""
        ...

    def abandon(self) -> None:
        """Leaves the video as it is, after a failure."""
        ...


class PyAvWriter:
    """H.264 with the true time of every frame, in fragments of a second that are on disk as soon as they are full.

    Raises ImportError when PyAV is not installed.
    """

    def __init__(self, path: Path, size: Size, crf: int) -> None:
        import av

        self._av = av
        self._path = path
        try:
            # A file of our own, unbuffered: after a failure PyAV would keep its file open, and a full disk full.
            self._file = path.open("w+b", buffering=0)
            self._container = av.open(self._file, "w", format="mp4", options=_CONTAINER)
            self._stream: Any = self._container.add_stream("libx264", rate=_NOMINAL_FPS)
            context = self._stream.codec_context
            context.width, context.height = size
            context.pix_fmt = "yuv420p"
            context.time_base = Fraction(1, TICKS_PER_S)
            context.thread_count = 1
            context.gop_size = 100_000  # key frames come by the clock instead
            context.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": str(crf), "x264-params": _X264}
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error
        self._i420 = np.empty((size[1] * 3 // 2, size[0]), np.uint8)
        self._key_at_s = 0.0
        self._held: Optional[Any] = None

    def write(self, image: np.ndarray, seconds: float) -> None:
        cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420, dst=self._i420)
        frame = self._av.VideoFrame.from_ndarray(self._i420, format="yuv420p")
        frame.pts = ticks(seconds)
        frame.time_base = Fraction(1, TICKS_PER_S)
        if seconds >= self._key_at_s:
            frame.pict_type = self._av.video.frame.PictureType.I
            self._key_at_s = seconds + FRAGMENT_S
        try:
            for packet in self._stream.encode(frame):
                self._mux_held(packet.pts)
                self._held = packet
        except (self._av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def close(self, last_step_s: float) -> None:
        try:
            for packet in self._stream.encode(None):
                self._mux_held(packet.pts)
                self._held = packet
            if self._held is not None:
                self._mux_held(self._held.pts + ticks(last_step_s))
            self._container.close()
        except (self._av.FFmpegError, OSError) as error:
            self.abandon()
            raise self._failure(error) from error
        self._file.close()

    def abandon(self) -> None:
        if self._file.closed:
            return
        # The file first, so that nothing more is written. Older versions of PyAV crash when a container that failed is
        # freed without being closed, and one that is never freed takes megabytes.
        self._held = None
        with contextlib.suppress(OSError):
            drop_incomplete_header(self._file)
        self._file.close()
        with contextlib.suppress(self._av.FFmpegError, OSError, ValueError):
            self._container.close()

    def _mux_held(self, until: int) -> None:
        """The duration of a frame is known when the next one arrives, so each packet waits for that."""
        if self._held is not None:
            self._held.duration = max(1, until - self._held.pts)
            self._container.mux(self._held)
            self._held = None

    def _failure(self, error: Exception) -> OutputError:
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return OutputError(f"cannot write {self._path}: {cause}")


def drop_incomplete_header(file: BinaryIO) -> None:
    """Ends a fragmented MP4 before the header (`moof`) of its last fragment if that was cut off, as by a full disk.

    With half of a header, players refuse the whole file; they show what is there of a fragment's pictures (`mdat`).
    Without a single whole fragment nothing is left.
    """
    size, begin, is_playable = file.seek(0, io.SEEK_END), 0, False
    while begin < size:
        file.seek(begin)
        head = file.read(_BOX_HEAD_BYTES)
        length = int.from_bytes(head[:4], "big")
        if begin + length > size or length < _BOX_HEAD_BYTES:
            if head[4:] != b"mdat":
                file.truncate(begin)
            break
        is_playable = is_playable or head[4:] == b"mdat"
        begin += length
    if not is_playable:
        file.truncate(0)


class ConstantRateWriter:
    """`cv2.VideoWriter` has no timestamps: frames are repeated or left out to keep the time of the video true."""

    def __init__(self, writer: Any, path: Path, fps: float) -> None:
        self._writer = writer
        self._path = path
        self._fps = fps
        self._written = 0
        self._left_out_s = 0.0
        self._shown: Optional[np.ndarray] = None

    def write(self, image: np.ndarray, seconds: float) -> None:
        self._fill(seconds - self._left_out_s)
        self._shown = image

    def close(self, last_step_s: float) -> None:
        if self._shown is not None:
            # The last picture is shown for one frame even if it came too late for its time.
            self._fill(max((self._written + 1) / self._fps, self._written / self._fps + last_step_s))
        self._writer.release()

    def abandon(self) -> None:
        self._writer.release()

    def _fill(self, seconds: float) -> None:
        repeats = frames_to_fill(self._written, seconds, self._fps)
        limit = max(1, round(MAX_STILL_S * self._fps))
        if repeats > limit:
            left_out_s = (repeats - limit) / self._fps
            self._left_out_s += left_out_s
            logger.warning("%s: left out %.0f s without new frames", self._path, left_out_s)
        if self._shown is None:
            return
        for _ in range(min(repeats, limit)):
            self._writer.write(self._shown)
            self._written += 1
            check_disk = self._written % _CHECK_DISK_EVERY == 0
            if check_disk and shutil.disk_usage(self._path.parent).free < _MIN_FREE_BYTES:
                raise OutputError(f"cannot write {self._path}: No space left on device")
