"""A video through an encoder of GStreamer's, such as that of a Jetson, in a separate process."""

from __future__ import annotations

import contextlib
import functools
import logging
import tempfile
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

import cv2
import numpy as np

from app.errors import OutputError
from app.gstreamer import child
from app.gstreamer.i420 import I420
from app.gstreamer.process import PipelineError, PipelineProcess
from app.output.layout import Size
from app.output.video_writers import FRAGMENT_S, TICKS_PER_S, drop_incomplete_header

logger = logging.getLogger(__name__)

HARDWARE, SOFTWARE = "nvv4l2h264enc", "x264enc"
_OPEN_TIMEOUT_S = 30.0
_TAKE_TIMEOUT_S = 10.0
"""How long an encoder may take for a frame."""
_FINISH_TIMEOUT_S = 30.0
_TEST_SIZE: Size = (320, 240)
_TEST_FRAMES = 10
_MIN_TEST_BYTES = 500
# A video at crf 23 needs about this; 18 doubles it, 28 halves it.
_BITS_PER_PIXEL_AT_CRF_23 = 0.1


class _Held(NamedTuple):
    """A frame that waits for the next one, which says how long it is shown."""

    pixels: np.ndarray
    seconds: float


class PipelineWriter:
    """H.264 with the true time of every frame, in fragments of a second, like those of PyAV.

    Raises OutputError if the encoder cannot be opened.

    If this program is killed, the process finishes the video; if that is killed, all but its last second can be played.
    """

    def __init__(self, path: Path, size: Size, crf: int, fps: float, encoder: str) -> None:
        self._path = path
        self._layout = I420(*size)
        self._held: Optional[_Held] = None
        with self._failures():
            self._file = path.open("w+b", buffering=0)
            try:
                file = self._file.fileno()
                job = {"do": "write", "pipeline": encoder_pipeline(file, size, fps, crf, encoder)}
                self._process = PipelineProcess(job, files=(file,))
            except PipelineError:
                self._file.close()
                raise
            try:
                self._process.receive(_OPEN_TIMEOUT_S)
            except PipelineError:
                self.abandon()
                raise

    def write(self, image: np.ndarray, seconds: float) -> None:
        pixels = self._layout.filled_up(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420))
        with self._failures():
            self._send_held(seconds)
        self._held = _Held(pixels, seconds)

    def close(self, last_step_s: float) -> None:
        with self._failures():
            try:
                if self._held is not None:
                    self._send_held(self._held.seconds + last_step_s)
                self._process.send(child.END, timeout_s=_TAKE_TIMEOUT_S)
                while self._process.receive(_FINISH_TIMEOUT_S).kind != child.END:
                    pass
            except PipelineError:
                self.abandon()
                raise
        self._process.close()
        self._file.close()

    def abandon(self) -> None:
        if self._file.closed:
            return
        self._held = None
        self._process.close(0.0)
        with contextlib.suppress(OSError):
            drop_incomplete_header(self._file)
        self._file.close()

    def _send_held(self, until_s: float) -> None:
        if self._process.has_message:
            self._process.receive(_TAKE_TIMEOUT_S)
        held, self._held = self._held, None
        if held is not None:
            self._process.send(
                child.FRAME,
                held.pixels.data,
                time_ns=_ns(held.seconds),
                duration_ns=_ns(until_s) - _ns(held.seconds),
                timeout_s=_TAKE_TIMEOUT_S,
            )

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (PipelineError, OSError) as error:
            cause = getattr(error, "strerror", None) or str(error)
            raise OutputError(f"cannot write {self._path}: {cause}") from error


def encoder_pipeline(file: int, size: Size, fps: float, crf: int, encoder: str) -> str:
    """From the element `source`, which takes I420, through an H.264 encoder into a fragmented MP4.

    `fps` and the distance of key frames are nominal: each frame has a time of its own.
    """
    width, height = size
    bits = bit_rate(size, fps, crf)
    key_every = max(1, round(fps * FRAGMENT_S))
    if encoder == HARDWARE:
        stages = [
            "nvvidconv",
            "video/x-raw(memory:NVMM),format=NV12",
            f"{HARDWARE} bitrate={bits} insert-sps-pps=true iframeinterval={key_every} idrinterval={key_every} "
            "maxperf-enable=true",
        ]
    else:
        stages = [f"{SOFTWARE} tune=zerolatency speed-preset=ultrafast bitrate={bits // 1000} key-int-max={key_every}"]
    rate = max(1, round(fps))
    caps = f"video/x-raw,format=I420,width={width},height={height},framerate={rate}/1,colorimetry=bt601"
    return " ! ".join(
        [
            f'appsrc name=source format=time max-bytes=0 caps="{caps}"',
            *stages,
            "h264parse",
            f"mp4mux fragment-duration={round(FRAGMENT_S * 1000)} streamable=true trak-timescale={TICKS_PER_S}",
            f"fdsink fd={file} sync=false",
        ]
    )


def bit_rate(size: Size, fps: float, crf: int) -> int:
    """Bits per second for about the same quality as `crf`, for encoders without such a setting."""
    quality = 2.0 ** ((23 - crf) / 5)
    return int(size[0] * size[1] * fps * _BITS_PER_PIXEL_AT_CRF_23 * quality)


@functools.lru_cache(maxsize=None)
def why_encoder_fails(encoder: str) -> str:
    """Why this machine cannot encode with it; empty if it can.

    Tried with a few frames, because boards without an encoder (Orin Nano) have the GStreamer element as well.
    """
    picture = np.full((_TEST_SIZE[1], _TEST_SIZE[0], 3), 128, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.mp4"
        try:
            writer = PipelineWriter(path, _TEST_SIZE, 23, 25.0, encoder)
            try:
                for number in range(_TEST_FRAMES):
                    writer.write(picture, number / 25)
                writer.close(1 / 25)
            finally:
                writer.abandon()
        except OutputError as error:
            return str(error.__cause__)
        size = path.stat().st_size
    return "" if size > _MIN_TEST_BYTES else f"it wrote {size} bytes for {_TEST_FRAMES} frames"


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
