"""What decodes cameras and encodes videos on this machine, and why."""

from __future__ import annotations

from typing import List

import cv2

from app.capture.gstreamer import Taker
from app.capture.opening import gstreamer_taker, this_jetson
from app.gstreamer.process import PipelineError, find_elements
from app.output.pipeline_writer import HARDWARE, why_encoder_fails
from app.output.video_encoders import RELEASE_OF_JETSON
from app.settings import Settings
from app.text import opencv_has_gstreamer
from app.tools.doctor.checks import Finding, note, ok, warning
from app.tools.doctor.video import JETSON_PACKAGES, PACKAGES, can_list_elements


def check_decoding(settings: Settings) -> List[Finding]:
    """What the settings of all channels ask for; one with its own `capture.backend` may differ."""
    return [_cameras(settings.capture.backend), _videos(settings.output.video_encoder)]


def _cameras(backend: str) -> Finding:
    jetson = this_jetson()
    chosen = f"capture.backend {backend}"
    taker = gstreamer_taker(backend)
    if taker is None:
        why = chosen if backend == "ffmpeg" else f"{chosen}: this is not a Jetson"
        return ok(f"RTSP cameras are decoded by FFmpeg, on the processor ({why})")
    if taker is Taker.OPENCV:
        return ok(f"RTSP cameras are decoded by GStreamer within OpenCV {cv2.__version__} ({chosen})")
    wanted = ["rtspsrc", "appsink", *(["nvv4l2decoder", "nvvidconv"] if jetson.is_jetson else ["videoconvert"])]
    why = chosen if opencv_has_gstreamer(cv2.getBuildInformation()) else f"{chosen}: this OpenCV has no GStreamer"
    otherwise = "FFmpeg decodes RTSP on the processor" if backend == "auto" else "no camera can be opened"
    advice = JETSON_PACKAGES if jetson.is_jetson else PACKAGES
    try:
        found = find_elements(wanted)
    except PipelineError as error:
        return warning(f"GStreamer does not run in a process of its own, so {otherwise}: {error}", advice)
    if found.missing:
        lacks = "lacks elements, see Video" if can_list_elements() else f"has no {', '.join(found.missing)}"
        return warning(f"GStreamer {found.version} {lacks}, so {otherwise}", advice)
    return ok(f"RTSP cameras are decoded by GStreamer {found.version} in a process of its own ({why})")


def _videos(encoder: str) -> Finding:
    chosen = f"output.video_encoder {encoder}"
    if encoder == "software" or (encoder == "auto" and not RELEASE_OF_JETSON.exists()):
        why = chosen if encoder == "software" else f"{chosen}: this is not a Jetson"
        return ok(f"videos are encoded on the processor ({why})")
    cause = why_encoder_fails(HARDWARE)
    if not cause:
        return ok(f"videos are encoded by the hardware, {HARDWARE} ({chosen})")
    text = f"videos are encoded on the processor, since {HARDWARE} does not work: {cause}"
    return note(text) if encoder == "auto" else warning(text, JETSON_PACKAGES)
