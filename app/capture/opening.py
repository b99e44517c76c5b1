"""Opening a source: which reader it gets, with which options, and what is said when it does not open."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any, List, Tuple

import cv2

from app.capture import gstreamer
from app.capture.pictures import picture_files
from app.capture.probe import why_unreachable
from app.capture.readers import (
    CameraReader,
    GStreamerReader,
    PicturesReader,
    Reader,
    RecordingReader,
    StreamReader,
    frame_count,
)
from app.capture.uri import Source, SourceKind
from app.credentials import for_opening
from app.errors import SourceError
from app.settings import CaptureSettings

log = logging.getLogger(__name__)

PROBE_MOST_S = 3.0
"""How long the other side is asked why it did not open."""

_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_LIKE_A_CAMERA = re.compile(r"(?:camera|webcam|cam|usb|csi)[ _-]?\d*", re.IGNORECASE)
_OUR_OPTIONS = re.compile(r"rtsp_transport;(tcp|udp)\|stimeout;\d+")


def open_reader(source: Source, settings: CaptureSettings) -> Reader:
    """An open reader, or a SourceError that names the source, the cause as far as it is known, and what to try."""
    if source.kind is SourceKind.IMAGES:
        return PicturesReader(picture_files(source.address))
    if source.kind is SourceKind.CSI:
        return _open_csi(source, settings)
    if source.kind is SourceKind.CAMERA:
        return _open_camera(source, settings)
    if not source.remote:
        return _open_recording(source, settings)
    if source.kind is SourceKind.RTSP and takes_gstreamer(settings.backend):
        return _open_rtsp_with_gstreamer(source, settings)
    return _open_url(source, settings)


def check_present(source: Source) -> None:
    """Raises a SourceError for what is wrong without any opening: a mistyped path, a camera that is not plugged in."""
    if source.kind is SourceKind.IMAGES:
        picture_files(source.address)
    elif source.kind is SourceKind.CAMERA:
        _check_device(source)
    elif source.kind is SourceKind.VIDEO and not source.remote:
        _check_file(source, Path(source.address))


def takes_gstreamer(backend: str) -> bool:
    """Whether GStreamer decodes, by the setting and by what this computer has."""
    if backend == "ffmpeg":
        return False
    has_it = gstreamer.opencv_has_gstreamer(cv2.getBuildInformation())
    if backend == "gstreamer" and not has_it:
        raise SourceError(
            f"This OpenCV ({cv2.__version__}) was built without GStreamer. Use the system's OpenCV "
            "(apt-get install python3-opencv) instead of pip's, or set capture.backend to auto."
        )
    return has_it and (backend == "gstreamer" or this_jetson().is_jetson)


def this_jetson() -> gstreamer.JetsonGeneration:
    """The Jetson that this program runs on."""
    return gstreamer.jetson_generation(gstreamer.l4t_release())


def _open_url(source: Source, settings: CaptureSettings) -> Reader:
    """RTSP or HTTP with FFmpeg. One decoding thread: measured, each further one makes a live picture a frame older."""
    _ask_for_transport(settings)
    options = [
        *_option("CAP_PROP_OPEN_TIMEOUT_MSEC", int(settings.open_timeout_s * 1000)),
        *_option("CAP_PROP_READ_TIMEOUT_MSEC", int(settings.read_timeout_s * 1000)),
    ]
    if source.live:
        options += _option("CAP_PROP_N_THREADS", 1)
    capture = _capture(for_opening(source.address), cv2.CAP_FFMPEG, options)
    if not capture.isOpened():
        capture.release()
        cause = why_unreachable(source.address, min(PROBE_MOST_S, settings.open_timeout_s))
        raise SourceError(f"{source} does not open. {cause}")
    if source.live or frame_count(capture) is None:
        return StreamReader(capture, settings.read_timeout_s)
    return RecordingReader(capture, str(source))


def _open_rtsp_with_gstreamer(source: Source, settings: CaptureSettings) -> Reader:
    pipeline = gstreamer.rtsp_pipeline(
        source.address,
        codec=settings.rtsp_codec,
        transport=settings.rtsp_transport,
        open_timeout_s=settings.open_timeout_s,
        jetson=this_jetson(),
    )
    capture = _capture(pipeline, cv2.CAP_GSTREAMER, [])
    if not capture.isOpened():
        capture.release()
        cause = why_unreachable(source.address, min(PROBE_MOST_S, settings.open_timeout_s))
        raise SourceError(
            f"{source} does not open with GStreamer. {cause} If the camera works elsewhere, try "
            "capture.rtsp_codec h264 or h265, or capture.backend ffmpeg."
        )
    return GStreamerReader(capture, settings.read_timeout_s)


def _open_csi(source: Source, settings: CaptureSettings) -> Reader:
    if not gstreamer.opencv_has_gstreamer(cv2.getBuildInformation()):
        raise SourceError(
            f"{source} does not open: CSI cameras need an OpenCV with GStreamer, and this one ({cv2.__version__}) has "
            "none. On a Jetson use the system's OpenCV (apt-get install python3-opencv) instead of pip's."
        )
    pipeline = gstreamer.csi_pipeline(
        int(source.address), width=settings.width, height=settings.height, fps=settings.fps, flip=settings.csi_flip
    )
    capture = _capture(pipeline, cv2.CAP_GSTREAMER, [])
    if not capture.isOpened():
        capture.release()
        hint = "Does `nvgstcapture-1.0` show it? Often `sudo systemctl restart nvargus-daemon` helps."
        if not this_jetson().is_jetson:
            hint = "CSI cameras work on a Jetson only, and this computer is none."
        raise SourceError(f"{source} does not open. {hint}")
    return GStreamerReader(capture, settings.read_timeout_s)


def _open_camera(source: Source, settings: CaptureSettings) -> Reader:
    _check_device(source)
    if settings.backend == "gstreamer" and takes_gstreamer(settings.backend):
        capture = _capture(_usb_pipeline(source, settings), cv2.CAP_GSTREAMER, [])
    else:
        device: Any = int(source.address) if source.address.isdigit() else source.address
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        _ask_of_camera(capture, settings)
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            f"{source} does not open. Another program may be using it (`fuser {source.device}`), or the device is no "
            "camera: many cameras have a second one, so try the next number."
        )
    reader = CameraReader(capture, settings.read_timeout_s)
    reader.fps = reader.fps or settings.fps
    return reader


def _usb_pipeline(source: Source, settings: CaptureSettings) -> str:
    return gstreamer.usb_pipeline(
        source.device,
        width=settings.width,
        height=settings.height,
        fps=settings.fps,
        motion_jpeg=settings.width > 640,
        jetson=this_jetson(),
    )


def _ask_of_camera(capture: Any, settings: CaptureSettings) -> None:
    """Motion JPEG first: raw pictures beyond 640 x 480 do not fit through USB 2. A camera without it ignores that."""
    capture.set(cv2.CAP_PROP_FOURCC, int.from_bytes(b"MJPG", "little"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
    capture.set(cv2.CAP_PROP_FPS, settings.fps)


def _check_device(source: Source) -> None:
    device = Path(source.device)
    if not device.exists():
        present = sorted(str(path) for path in Path("/dev").glob("video*"))
        known = f"There are {', '.join(present)}." if present else "This computer sees no camera at all."
        raise SourceError(f"{source} does not open: there is no {device}. {known} Is the camera plugged in?")
    if not os.access(str(device), os.R_OK | os.W_OK):
        raise SourceError(
            f"{source} does not open: no permission for {device}. Join its group (sudo usermod -aG video $USER) and "
            "log in again."
        )


def _open_recording(source: Source, settings: CaptureSettings) -> Reader:
    """FFmpeg reads files, also where GStreamer takes the cameras: it knows each frame's time stamp and rotation."""
    path = Path(source.address)
    _check_file(source, path)
    if settings.backend == "gstreamer" and takes_gstreamer(settings.backend):
        pipeline = gstreamer.file_pipeline(source.address, jetson=this_jetson())
        capture, time_stamps = _capture(pipeline, cv2.CAP_GSTREAMER, []), False
    else:
        # OpenCV takes a relative name with a colon in it for a URL
        capture, time_stamps = _capture(str(path.absolute()), cv2.CAP_FFMPEG, []), True
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            f"{source} does not open: the file is no video, or it is damaged, or cut off before its index was "
            "written. Does another player show it?"
        )
    return RecordingReader(capture, str(source), time_stamps)


def _check_file(source: Source, path: Path) -> None:
    if not path.exists():
        place = "" if path.is_absolute() else f" Relative paths count from {Path.cwd()}."
        camera = " A camera is written camera:0." if _LIKE_A_CAMERA.fullmatch(path.name) else ""
        raise SourceError(f"{source} does not open: there is no such file.{place}{camera}")
    if not path.is_file():
        raise SourceError(f"{source} does not open: it is no file.")
    if not os.access(str(path), os.R_OK):
        raise SourceError(f"{source} does not open: no permission to read the file.")
    if path.stat().st_size == 0:
        raise SourceError(f"{source} does not open: the file is empty.")


def _ask_for_transport(settings: CaptureSettings) -> None:
    """FFmpeg's options come to OpenCV by the environment alone, and are read at each opening.

    They are the same for all sources, so channels need not wait for one another. What the user has put there stays.
    `stimeout` is the time-out of FFmpeg before 5; the newer ones ignore it, and OpenCV's own works with them.
    """
    options = f"rtsp_transport;{settings.rtsp_transport}|stimeout;{int(settings.read_timeout_s * 1e6)}"
    present = os.environ.get(_FFMPEG_OPTIONS)
    if present != options and (present is None or _OUR_OPTIONS.fullmatch(present)):
        os.environ[_FFMPEG_OPTIONS] = options


def _option(name: str, value: int) -> List[int]:
    """A property that this OpenCV may not have yet."""
    number = getattr(cv2, name, None)
    return [] if number is None else [int(number), value]


def _capture(address: str, backend: int, options: List[int]) -> Any:
    """Options count at construction only; OpenCV before 4.5.2 takes none."""
    if options and _version() >= (4, 5, 2):
        return cv2.VideoCapture(address, backend, options)
    return cv2.VideoCapture(address, backend)


def _version() -> Tuple[int, ...]:
    return tuple(int(part) for part in cv2.__version__.split(".")[:3] if part.isdigit())
