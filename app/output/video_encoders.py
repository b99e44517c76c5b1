"""Which writer this machine has for videos: the hardware encoder, PyAV, or OpenCV's own MPEG-4."""

from __future__ import annotations

import functools
import logging
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Optional

import cv2
import numpy as np

from app.errors import OutputError
from app.output.layout import Size
from app.output.video_writers import DEFAULT_STEP_S, FRAGMENT_S, ConstantRateWriter, PyAvWriter, VideoWriter
from app.text import gstreamer_quoted, install_hint, opencv_has_gstreamer

logger = logging.getLogger(__name__)

HARDWARE, SOFTWARE = "nvv4l2h264enc", "x264enc"
_INSPECT_TIMEOUT_S = 20.0
_TEST_SIZE: Size = (320, 240)
_TEST_FRAMES = 10
_MIN_TEST_BYTES = 500
# A video at crf 23 needs about this; 18 doubles it, 28 halves it.
_BITS_PER_PIXEL_AT_CRF_23 = 0.1


def open_video_writer(path: Path, size: Size, crf: int, fps: Optional[float] = None) -> VideoWriter:
    """The best writer available. `fps` is used only by writers of videos with a constant frame rate."""
    rate = fps or 1 / DEFAULT_STEP_S
    if hardware_encoder_works():
        pipeline = gstreamer_pipeline(path, size, rate, crf, HARDWARE)
        writer = cv2.VideoWriter(pipeline, cv2.CAP_GSTREAMER, 0, rate, size)
        if writer.isOpened():
            logger.info("%s is encoded by the hardware (%s) at %.0f frames/s", path, HARDWARE, rate)
            return ConstantRateWriter(writer, path, rate)
        logger.warning("the hardware encoder cannot be opened for %s; using PyAV instead", path)
    try:
        return PyAvWriter(path, size, crf)
    except ImportError:
        logger.warning(
            "PyAV is not installed: %s is written as MPEG-4 Part 2, which browsers do not play and which is unusable "
            "if the program is killed. To fix it: `%s`",
            path,
            install_hint("av"),
        )
    writer = cv2.VideoWriter(str(path), int.from_bytes(b"mp4v", "little"), rate, size)
    if not writer.isOpened():
        raise OutputError(f"cannot write {path}: OpenCV has no MP4 writer either. Try `{install_hint('av')}`")
    return ConstantRateWriter(writer, path, rate)


def gstreamer_pipeline(path: Path, size: Size, fps: float, crf: int, encoder: str) -> str:
    """OpenCV's frames through an H.264 encoder into a fragmented MP4, as text for `cv2.VideoWriter`."""
    width, height = size
    bits = bit_rate(size, fps, crf)
    key_every = max(1, round(fps * FRAGMENT_S))
    if encoder == HARDWARE:
        stages = [
            "videoconvert",
            "video/x-raw,format=BGRx",
            "nvvidconv",
            f"video/x-raw(memory:NVMM),format=NV12,width={width},height={height}",
            f"{HARDWARE} bitrate={bits} insert-sps-pps=true iframeinterval={key_every} idrinterval={key_every} "
            "maxperf-enable=true",
        ]
    else:
        stages = [
            "videoconvert",
            "video/x-raw,format=I420",
            f"{SOFTWARE} tune=zerolatency speed-preset=ultrafast bitrate={bits // 1000} key-int-max={key_every}",
        ]
    return " ! ".join(
        [
            "appsrc",
            "video/x-raw,format=BGR",
            *stages,
            "h264parse",
            f"mp4mux fragment-duration={round(FRAGMENT_S * 1000)} streamable=true",
            f"filesink buffer-mode=2 location={gstreamer_quoted(str(path))}",
        ]
    )


def bit_rate(size: Size, fps: float, crf: int) -> int:
    """Bits per second for about the same quality as `crf`, for encoders without such a setting."""
    quality = 2.0 ** ((23 - crf) / 5)
    return int(size[0] * size[1] * fps * _BITS_PER_PIXEL_AT_CRF_23 * quality)


@functools.lru_cache(maxsize=None)
def hardware_encoder_works() -> bool:
    """Whether OpenCV can write through the Jetson's encoder.

    Tried with a few frames, because boards without an encoder (Orin Nano) have the GStreamer element as well.
    """
    if not opencv_has_gstreamer(cv2.getBuildInformation()) or not element_exists(HARDWARE):
        return False
    if encoder_works(HARDWARE):
        return True
    logger.warning("this board has GStreamer's %s but no encoder behind it; videos are encoded on the CPU", HARDWARE)
    return False


def element_exists(element: str) -> bool:
    """Whether GStreamer has this element."""
    inspect = shutil.which("gst-inspect-1.0")
    if inspect is None:
        return False
    try:
        return (
            subprocess.run(
                [inspect, element],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_INSPECT_TIMEOUT_S,
                check=False,
            ).returncode
            == 0
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("gst-inspect-1.0 failed: %s", error)
        return False


def encoder_works(encoder: str) -> bool:
    """Writes a short video of a grey picture and checks that something was written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.mp4"
        pipeline = gstreamer_pipeline(path, _TEST_SIZE, 25.0, 23, encoder)
        writer = cv2.VideoWriter(pipeline, cv2.CAP_GSTREAMER, 0, 25.0, _TEST_SIZE)
        picture = np.full((_TEST_SIZE[1], _TEST_SIZE[0], 3), 128, np.uint8)
        for _ in range(_TEST_FRAMES if writer.isOpened() else 0):
            writer.write(picture)
        writer.release()
        return path.exists() and path.stat().st_size > _MIN_TEST_BYTES
