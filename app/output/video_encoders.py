"""Which writer this machine has for a film: tried in order, and the second best is said."""

from __future__ import annotations

import functools
import logging
import re
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
from app.text import install_hint

logger = logging.getLogger(__name__)

HARDWARE, SOFTWARE = "nvv4l2h264enc", "x264enc"
_INSPECT_TIMEOUT_S = 20.0
_TEST_SIZE: Size = (320, 240)
_TEST_FRAMES = 10
_LEAST_TEST_BYTES = 500
# A film at crf 23 needs about this; 18 doubles it, 28 halves it.
_BITS_PER_PIXEL_AT_CRF_23 = 0.1


def open_video_writer(path: Path, size: Size, crf: int, fps: Optional[float] = None) -> VideoWriter:
    """The best writer there is. `fps` matters only to those that write films of constant rate."""
    rate = fps or 1 / DEFAULT_STEP_S
    if hardware_encoder_works():
        pipeline = gstreamer_pipeline(path, size, rate, crf, HARDWARE)
        writer = cv2.VideoWriter(pipeline, cv2.CAP_GSTREAMER, 0, rate, size)
        if writer.isOpened():
            logger.info("the film %s is encoded by the hardware (%s), %.0f frames a second", path, HARDWARE, rate)
            return ConstantRateWriter(writer, path, rate)
        logger.warning("the hardware encoder does not open for %s; PyAV writes it instead", path)
    if _pyav_is_installed():
        return PyAvWriter(path, size, crf)
    logger.warning(
        "PyAV is missing: the film %s becomes MPEG-4 Part 2, which browsers do not play and which is lost when the "
        "program is killed. To mend it: `%s`",
        path,
        install_hint("av"),
    )
    writer = cv2.VideoWriter(str(path), int.from_bytes(b"mp4v", "little"), rate, size)
    if not writer.isOpened():
        raise OutputError(f"cannot write the film {path}: OpenCV has no MP4 writer either. Try `{install_hint('av')}`")
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
            f"filesink buffer-mode=2 location={_quoted(path)}",
        ]
    )


def bit_rate(size: Size, fps: float, crf: int) -> int:
    """Bits a second that come to about the same picture as the quality setting, for encoders without one."""
    quality = 2.0 ** ((23 - crf) / 5)
    return int(size[0] * size[1] * fps * _BITS_PER_PIXEL_AT_CRF_23 * quality)


def has_gstreamer(build_information: str) -> bool:
    return re.search(r"^\s*GStreamer:\s*YES", build_information, re.MULTILINE) is not None


@functools.lru_cache(maxsize=None)
def hardware_encoder_works() -> bool:
    """Whether OpenCV can write through the Jetson's encoder: tried with a few frames, since boards without one
    (Orin Nano) have the element all the same."""
    if not has_gstreamer(cv2.getBuildInformation()) or not element_exists(HARDWARE):
        return False
    if encoder_works(HARDWARE):
        return True
    logger.warning("this board has GStreamer's %s but it encodes nothing; films are encoded by the CPU", HARDWARE)
    return False


def element_exists(element: str) -> bool:
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
    """Writes a short film of a grey picture and looks whether anything arrived."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.mp4"
        pipeline = gstreamer_pipeline(path, _TEST_SIZE, 25.0, 23, encoder)
        writer = cv2.VideoWriter(pipeline, cv2.CAP_GSTREAMER, 0, 25.0, _TEST_SIZE)
        picture = np.full((_TEST_SIZE[1], _TEST_SIZE[0], 3), 128, np.uint8)
        for _ in range(_TEST_FRAMES if writer.isOpened() else 0):
            writer.write(picture)
        writer.release()
        return path.exists() and path.stat().st_size > _LEAST_TEST_BYTES


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _pyav_is_installed() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True
