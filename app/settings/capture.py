"""The section `capture`: how frames come in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from app.settings.declaration import setting


@dataclass(frozen=True)
class CaptureSettings:
    """How frames come in."""

    backend: str = setting(
        "auto",
        "video decoder: OpenCV's FFmpeg, or GStreamer (a Jetson's hardware decoder, CSI cameras); auto uses GStreamer "
        "on a Jetson. It runs within OpenCV if that supports it, otherwise, or with gstreamer-process, in a process of "
        "its own",
        flag="--capture-backend",
        choices=("auto", "ffmpeg", "gstreamer", "gstreamer-process"),
    )
    rtsp_transport: str = setting("tcp", "transport of RTSP", choices=("tcp", "udp"))
    rtsp_codec: str = setting(
        "auto", "codec of RTSP cameras; used with GStreamer only", choices=("auto", "h264", "h265")
    )
    open_timeout_s: float = setting(
        5.0, "seconds after which opening a live source is given up", minimum=0.1, maximum=600
    )
    wait: Optional[bool] = setting(
        None,
        "wait for a camera that is absent at the start; by default if the program runs as a service or in a container",
        flag="--wait",
    )
    read_timeout_s: float = setting(
        5.0, "seconds without a frame after which a live source is reopened", minimum=0.1, maximum=600
    )
    retry_min_s: float = setting(
        1.0, "seconds before the first reconnection; doubled after each failure", minimum=0.01, maximum=60
    )
    retry_max_s: float = setting(10.0, "maximum seconds between two reconnections", minimum=0.01, maximum=3600)
    tls_verify: bool = setting(True, "refuse cameras (rtsps, https) whose certificate cannot be trusted")
    ca_file: Optional[Path] = setting(
        None, "trust the certificates in this PEM file, such as the camera's own, instead of the system's"
    )
    width: int = setting(1280, "requested width of a USB or CSI camera", minimum=16, maximum=7680)
    height: int = setting(720, "requested height of a USB or CSI camera", minimum=16, maximum=4320)
    fps: float = setting(30.0, "requested frame rate of a USB or CSI camera", minimum=1, maximum=240)
    substream: Optional[str] = setting(
        None,
        "address of a second, smaller stream of the same RTSP camera: faces are found in it, and cut out of the stream "
        "of the source, which is read only while something happens (docs/cameras.md)",
    )
    max_fps: Optional[float] = setting(
        None,
        "maximum number of frames per second of a live source; the others cost no more than their decoding",
        flag="--max-fps",
        metavar="FPS",
        minimum=0.1,
        maximum=1000,
    )
    csi_flip: int = setting(
        0, "rotation of a CSI camera: 0 = none, 2 = 180 degrees (flip-method of nvvidconv)", minimum=0, maximum=7
    )
    queue_frames: int = setting(4, "frames of a recording to read ahead", minimum=1, maximum=256)
