"""Which writer this machine has for videos: the hardware encoder, PyAV, or OpenCV's own MPEG-4."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Optional

import cv2

from app.errors import OutputError
from app.output.layout import Size
from app.output.pipeline_writer import HARDWARE, PipelineWriter, why_encoder_fails
from app.output.video_writers import DEFAULT_STEP_S, ConstantRateWriter, PyAvWriter, VideoWriter
from app.text import install_hint

logger = logging.getLogger(__name__)

RELEASE_OF_JETSON = Path("/etc/nv_tegra_release")


def open_video_writer(
    path: Path, size: Size, crf: int, fps: Optional[float] = None, encoder: str = "auto"
) -> VideoWriter:
    """The best writer available, by the setting `output.video_encoder`. `fps` is nominal for most writers."""
    rate = fps or 1 / DEFAULT_STEP_S
    if uses_hardware(encoder):
        try:
            writer = PipelineWriter(path, size, crf, rate, HARDWARE)
        except OutputError as error:
            logger.warning("the hardware encoder cannot be opened, so PyAV is used instead: %s", error)
        else:
            logger.info("%s is encoded by the hardware (%s)", path, HARDWARE)
            return writer
    try:
        return PyAvWriter(path, size, crf)
    except ImportError:
        logger.warning(
            "PyAV is not installed: %s is written as MPEG-4 Part 2, which browsers do not play and which is unusable "
            "if the program is killed. To fix it: `%s`",
            path,
            install_hint("av"),
        )
    constant = cv2.VideoWriter(str(path), int.from_bytes(b"mp4v", "little"), rate, size)
    if not constant.isOpened():
        raise OutputError(f"cannot write {path}: OpenCV has no MP4 writer either. Try `{install_hint('av')}`")
    return ConstantRateWriter(constant, path, rate)


@functools.lru_cache(maxsize=None)
def uses_hardware(encoder: str) -> bool:
    """Whether videos are encoded by the hardware. A machine that has no encoder says why, once."""
    if encoder == "software" or (encoder == "auto" and not RELEASE_OF_JETSON.exists()):
        return False
    cause = why_encoder_fails(HARDWARE)
    if cause:
        logger.warning("videos are encoded on the processor, since the hardware encoder does not work: %s", cause)
    return not cause
