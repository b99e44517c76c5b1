"""Opening a source: which reader it gets, with which options, and what the error says if it cannot be opened."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path
from typing import Any, Iterator, Optional

import cv2

from app.capture import certificates, gstreamer
from app.capture.claims import claim_device, claim_name
from app.capture.gstreamer import Taker
from app.capture.pictures import picture_files
from app.capture.pipeline_capture import PipelineCapture
from app.capture.probe import Trust, asked_first, why_unreachable
from app.capture.readers import (
    CameraReader,
    GStreamerReader,
    MotionJpegReader,
    PicturesReader,
    PipelineReader,
    Reader,
    RecordingReader,
    StreamReader,
    frame_count,
)
from app.capture.uri import Source, SourceKind
from app.credentials import credentials, for_opening, with_secrets, without_secrets
from app.errors import AccessDeniedError, SettingsError, SourceError
from app.gstreamer.process import PipelineError
from app.settings import CaptureSettings
from app.text import opencv_has_gstreamer

log = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 3.0
"""How long to ask a host why its source could not be opened."""

_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_MOTION_JPEG = (b"MJPG", b"mjpe")
"""The codes of Motion JPEG without a container: OpenCV 4 gives the beginning of the codec's name."""
_CAMERA_NAME = re.compile(r"(?:camera|webcam|cam|usb|csi)[ _-]?\d*", re.IGNORECASE)
_OUR_OPTIONS = re.compile(r"rtsp_transport;(tcp|udp)\|stimeout;\d+(\|tls_verify;1\|ca_file;[^|;]+)?")


def open_reader(source: Source, settings: CaptureSettings) -> Reader:
    """An open reader, or a SourceError that names the source, the cause if it is known, and what to try."""
    try:
        return _open(source, settings)
    except _MissingError as error:
        raise SourceError(f"{source} cannot be opened. {error}") from error


def _open(source: Source, settings: CaptureSettings) -> Reader:
    if source.kind is SourceKind.IMAGES:
        return PicturesReader(picture_files(source.address))
    if source.kind is SourceKind.CSI:
        return _open_csi(source, settings)
    if source.kind is SourceKind.CAMERA:
        return _open_camera(source, settings)
    if not source.remote:
        return _open_recording(source, settings)
    taker = gstreamer_taker(settings.backend) if source.kind is SourceKind.RTSP else None
    if taker is None:
        return _open_url(source, settings)
    try:
        return _open_rtsp_with_gstreamer(source, settings, taker)
    except _MissingError as error:
        if settings.backend != "auto":
            raise
        log.info("%s: read with FFmpeg, on the processor. %s", source, error)
        return _open_url(source, settings)


def check_present(source: Source) -> None:
    """Raises a SourceError for what can be checked without opening: a wrong path, a camera that is not plugged in,
    a secret that is not set."""
    if source.kind is SourceKind.IMAGES:
        picture_files(source.address)
    elif source.kind is SourceKind.CAMERA:
        _check_device(source)
    elif source.kind is SourceKind.VIDEO and not source.remote:
        _check_file(source, Path(source.address))
    elif source.remote:
        _address(source)


def runs_unattended() -> bool:
    """Whether the program runs as a service of systemd, or in a container: no one is there to start it again."""
    status = os.fstat(2)
    logs_to_journal = os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    is_service = logs_to_journal or "NOTIFY_SOCKET" in os.environ
    return is_service or Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()


def gstreamer_taker(backend: str) -> Optional[Taker]:
    """Who takes the frames from GStreamer, by the setting and by what this machine has; None: FFmpeg decodes."""
    if backend == "ffmpeg" or (backend == "auto" and not this_jetson().is_jetson):
        return None
    return _taker(backend)


def _taker(backend: str) -> Taker:
    has_gstreamer = backend != "gstreamer-process" and opencv_has_gstreamer(cv2.getBuildInformation())
    return Taker.OPENCV if has_gstreamer else Taker.PROCESS


class _MissingError(SourceError):
    """GStreamer, or an element of the pipeline, is not installed."""


def _run(pipeline: str, taker: Taker, settings: CaptureSettings) -> Any:
    """A capture. Raises PipelineError if it cannot be opened, and _MissingError if it never can be here."""
    if taker is Taker.PROCESS:
        try:
            return PipelineCapture(
                pipeline, open_timeout_s=settings.open_timeout_s, read_timeout_s=settings.read_timeout_s
            )
        except PipelineError as error:
            if not error.is_missing:
                raise
            packages = "nvidia-l4t-gstreamer " if this_jetson().is_jetson else ""
            raise _MissingError(
                f"{error}. Install what is missing: apt-get install {packages}gstreamer1.0-plugins-base "
                "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav"
            ) from error
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        capture.release()
        raise PipelineError("OpenCV cannot open the pipeline")
    return capture


def _stream_reader(capture: Any, settings: CaptureSettings) -> Reader:
    kind = PipelineReader if isinstance(capture, PipelineCapture) else GStreamerReader
    return kind(capture, settings.read_timeout_s)


def this_jetson() -> gstreamer.JetsonGeneration:
    """The Jetson that this program runs on, or NONE."""
    return gstreamer.jetson_generation(gstreamer.l4t_release())


def _open_url(source: Source, settings: CaptureSettings) -> Reader:
    """RTSP or HTTP with FFmpeg. One decoding thread: measured, each additional one delays a live picture by a frame."""
    _set_ffmpeg_options(settings)
    wanted = {
        "CAP_PROP_OPEN_TIMEOUT_MSEC": int(settings.open_timeout_s * 1000),
        "CAP_PROP_READ_TIMEOUT_MSEC": int(settings.read_timeout_s * 1000),
        **({"CAP_PROP_N_THREADS": 1} if source.live else {}),
    }
    # Older versions of OpenCV lack some properties, and before 4.5.2 they take none at construction.
    options = [part for name, value in wanted.items() if hasattr(cv2, name) for part in (getattr(cv2, name), value)]
    version = tuple(int(part) for part in cv2.__version__.split(".")[:3] if part.isdigit())
    address = for_opening(_address(source))
    with _host_checked(source, settings):
        if version >= (4, 5, 2):
            capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, options)
        else:
            capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        capture.release()
        raise _unreachable(source, settings, "cannot be opened.")
    if source.live or frame_count(capture) is None:
        code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        is_motion_jpeg = code.to_bytes(4, "little") in _MOTION_JPEG
        kind = MotionJpegReader if is_motion_jpeg and not source.live else StreamReader
        return kind(capture, settings.read_timeout_s)
    return RecordingReader(capture, str(source))


@contextlib.contextmanager
def _host_checked(source: Source, settings: CaptureSettings) -> Iterator[None]:
    """Within, a decoder may open the source: it sends the password to nobody else, and only over verified TLS.

    Raises a SourceError otherwise. FFmpeg and GStreamer follow a redirection of RTSP with the password.
    """
    scheme = source.address.partition("://")[0].lower()
    if scheme not in ("rtsps", "https") and (scheme != "rtsp" or credentials(_address(source)) is None):
        yield
        return
    with asked_first(_address(source), settings.open_timeout_s, _trust(settings)) as cause:
        if cause is not None:
            raise SourceError(f"{source} cannot be opened. {_hidden(source, cause.text)}")
        yield


def _address(source: Source) -> str:
    """Of a remote source, with its secrets. Raises a SourceError if one cannot be read."""
    try:
        return with_secrets(source.address, str(source))
    except SettingsError as error:
        raise SourceError(str(error)) from error


def _hidden(source: Source, text: str) -> str:
    return without_secrets(text, source.address, str(source))


def _trust(settings: CaptureSettings) -> Trust:
    return Trust(settings.tls_verify, settings.ca_file)


def _unreachable(source: Source, settings: CaptureSettings, problem: str, hint: str = "") -> SourceError:
    cause = why_unreachable(_address(source), min(PROBE_TIMEOUT_S, settings.open_timeout_s), _trust(settings))
    return (AccessDeniedError if cause.denied else SourceError)(
        f"{source} {problem} {_hidden(source, cause.text)}{hint}"
    )


def _open_rtsp_with_gstreamer(source: Source, settings: CaptureSettings, taker: Taker) -> Reader:
    pipeline = gstreamer.rtsp_pipeline(
        _address(source),
        codec=settings.rtsp_codec,
        transport=settings.rtsp_transport,
        open_timeout_s=settings.open_timeout_s,
        tls_verify=settings.tls_verify and settings.ca_file is None,
        jetson=this_jetson(),
        taker=taker,
    )
    try:
        with _host_checked(source, settings):
            capture = _run(pipeline, taker, settings)
    except PipelineError as error:
        hint = " If another player shows the camera, try capture.rtsp_codec h264 or h265, or capture.backend ffmpeg."
        problem = f"cannot be opened with GStreamer ({_hidden(source, str(error))})."
        raise _unreachable(source, settings, problem, hint) from error
    return _stream_reader(capture, settings)


def _open_csi(source: Source, settings: CaptureSettings) -> Reader:
    taker = _taker(settings.backend)
    pipeline = gstreamer.csi_pipeline(
        int(source.address),
        width=settings.width,
        height=settings.height,
        fps=settings.fps,
        flip=settings.csi_flip,
        taker=taker,
    )
    claim_name(f"csi {source.address}", str(source))
    try:
        capture = _run(pipeline, taker, settings)
    except (PipelineError, _MissingError) as error:
        hint = "Does `nvgstcapture-1.0` show it? Often `sudo systemctl restart nvargus-daemon` helps."
        if not this_jetson().is_jetson:
            hint = "CSI cameras work only on a Jetson, and this machine is not one."
        raise SourceError(f"{source} cannot be opened ({error}). {hint}") from error
    return _stream_reader(capture, settings)


def _open_camera(source: Source, settings: CaptureSettings) -> Reader:
    _check_device(source)
    claim_device(source.device, str(source))
    capture, cause = None, ""
    if settings.backend in ("gstreamer", "gstreamer-process"):
        taker = _taker(settings.backend)
        pipeline = gstreamer.usb_pipeline(
            source.device,
            width=settings.width,
            height=settings.height,
            fps=settings.fps,
            motion_jpeg=settings.width > 640,
            jetson=this_jetson(),
            taker=taker,
        )
        try:
            capture = _run(pipeline, taker, settings)
        except PipelineError as error:
            cause = f" ({error})"
    else:
        device: Any = int(source.address) if source.address.isdigit() else source.address
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        # Motion JPEG first: larger raw pictures than 640 x 480 do not fit through USB 2. Cameras without it ignore it.
        capture.set(cv2.CAP_PROP_FOURCC, int.from_bytes(b"MJPG", "little"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
        capture.set(cv2.CAP_PROP_FPS, settings.fps)
        if not capture.isOpened():
            capture.release()
            capture = None
    if capture is None:
        raise SourceError(
            f"{source} cannot be opened{cause}. Another program may be using it (`fuser {source.device}`), or the "
            "device is not a camera: many cameras have two devices, so try the next number."
        )
    reader = CameraReader(capture, settings.read_timeout_s)
    reader.fps = reader.fps or settings.fps
    return reader


def _check_device(source: Source) -> None:
    device = Path(source.device)
    if not device.exists():
        present = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*")))
        raise SourceError(
            f"{source} cannot be opened: {device} does not exist (cameras found: {present or 'none'}). "
            "Is the camera plugged in?"
        )
    if not os.access(str(device), os.R_OK | os.W_OK):
        raise SourceError(
            f"{source} cannot be opened: no permission for {device}. Join its group (sudo usermod -aG video $USER) and "
            "log in again."
        )


def _open_recording(source: Source, settings: CaptureSettings) -> Reader:
    """Files are read with FFmpeg even if GStreamer reads the cameras: it knows each frame's time stamp and rotation."""
    path = Path(source.address)
    _check_file(source, path)
    capture, cause = None, ""
    if settings.backend in ("gstreamer", "gstreamer-process"):
        taker = _taker(settings.backend)
        try:
            capture = _run(gstreamer.file_pipeline(source.address, jetson=this_jetson(), taker=taker), taker, settings)
        except PipelineError as error:
            cause = f" ({error})"
    else:
        # An absolute path, because OpenCV takes a relative one with a colon in it for a URL.
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            capture = None
    if capture is None:
        raise SourceError(
            f"{source} cannot be opened: the file is not a video, or it is damaged or incomplete{cause}. "
            "Does another player show it?"
        )
    time_stamps = settings.backend != "gstreamer" or isinstance(capture, PipelineCapture)
    return RecordingReader(capture, str(source), time_stamps)


def _check_file(source: Source, path: Path) -> None:
    if not path.exists():
        place = "" if path.is_absolute() else f" Relative paths count from {Path.cwd()}."
        camera = " For a camera write camera:0." if _CAMERA_NAME.fullmatch(path.name) else ""
        raise SourceError(f"{source} cannot be opened: no such file.{place}{camera}")
    if not path.is_file():
        raise SourceError(f"{source} cannot be opened: not a file.")
    if not os.access(str(path), os.R_OK):
        raise SourceError(f"{source} cannot be opened: no permission to read the file.")
    if path.stat().st_size == 0:
        raise SourceError(f"{source} cannot be opened: the file is empty.")


def _set_ffmpeg_options(settings: CaptureSettings) -> None:
    """OpenCV takes FFmpeg's options only from the environment, and reads them at each opening.

    They are the same for all sources, so channels need no lock. Options that the user set are kept. `stimeout` is the
    time-out of FFmpeg before 5; newer versions ignore it, and OpenCV's own works with them. `tls_verify` works for
    rtsps from FFmpeg 8 on, and does not compare the name in older ones: hence `_host_checked`.
    """
    options = f"rtsp_transport;{settings.rtsp_transport}|stimeout;{int(settings.read_timeout_s * 1e6)}"
    trusted = settings.ca_file or certificates.authorities()
    if settings.tls_verify and trusted is not None:
        options += f"|tls_verify;1|ca_file;{trusted}"
    present = os.environ.get(_FFMPEG_OPTIONS)
    if present != options and (present is None or _OUR_OPTIONS.fullmatch(present)):
        os.environ[_FFMPEG_OPTIONS] = options
