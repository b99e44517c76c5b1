"""GStreamer pipelines as text: for a Jetson's hardware decoder, for CSI cameras, and for machines with neither.

Every pipeline ends at an appsink. A live one keeps only the newest frame: measured, it lags 1 to 2 ms, even after the
reader paused. OpenCV wants BGR; NVIDIA's converter cannot produce that, hence BGRx and a second, cheap conversion. A
process of its own sends I420, which is half of that.
The pipelines with NVIDIA's elements follow its documents and run only on a Jetson.
"""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Optional

from app.credentials import credentials, without_credentials
from app.text import gstreamer_quoted

_RELEASE_FILE = Path("/etc/nv_tegra_release")


class Taker(enum.Enum):
    """Who takes the frames of a pipeline."""

    OPENCV = "opencv"
    PROCESS = "process"
    """A `PipelineCapture`."""

    def from_memory(self, keep: str) -> str:
        """The end of a pipeline whose frames are in the processor's memory."""
        if self is Taker.PROCESS:
            return f"videoconvert ! video/x-raw,format=I420 ! appsink name=sink {keep}"
        return f"videoconvert ! video/x-raw,format=BGR ! appsink {keep}"

    def from_nvidia(self, keep: str, options: str = "") -> str:
        """The end of a pipeline whose frames are in the memory of NVIDIA's elements."""
        if self is Taker.PROCESS:
            return f"nvvidconv{options} ! video/x-raw,format=I420 ! appsink name=sink {keep}"
        return f"nvvidconv{options} ! video/x-raw,format=BGRx ! {self.from_memory(keep)}"


_NEWEST_FRAME = "drop=true max-buffers=1 sync=false"
_EVERY_FRAME = "drop=false max-buffers=4 sync=false"


class JetsonGeneration(enum.Enum):
    """Which decoder a machine has. R32 = JetPack 4, R35 = 5, R36 = 6, R38 and later = 7."""

    NONE = "none"
    R32 = "r32"
    R35 = "r35"
    R36 = "r36"
    R38 = "r38"

    @property
    def is_jetson(self) -> bool:
        return self is not JetsonGeneration.NONE

    @property
    def decodes_jpeg(self) -> bool:
        """Whether motion JPEG has a hardware decoder: not on Thor, whose JetPack 7 is shared by the newest Orins."""
        return self.is_jetson and self is not JetsonGeneration.R38


def l4t_release(release_file: Path = _RELEASE_FILE) -> Optional[str]:
    """The release of Jetson Linux, such as `36.4.3`; None on other machines."""
    try:
        text = release_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", text)
    return f"{match.group(1)}.{match.group(2)}" if match else None


def jetson_generation(release: Optional[str]) -> JetsonGeneration:
    """The generation of a release; releases between two generations count as the older one."""
    if release is None:
        return JetsonGeneration.NONE
    major = int(release.partition(".")[0])
    for first, generation in ((38, JetsonGeneration.R38), (36, JetsonGeneration.R36), (34, JetsonGeneration.R35)):
        if major >= first:
            return generation
    return JetsonGeneration.R32


def rtsp_pipeline(
    address: str,
    *,
    codec: str = "auto",
    transport: str = "tcp",
    latency_ms: int = 100,
    open_timeout_s: float = 5.0,
    tls_verify: bool = True,
    jetson: JetsonGeneration = JetsonGeneration.NONE,
    taker: Taker = Taker.OPENCV,
) -> str:
    """A network camera. User and password are passed as properties, so they may contain any character.

    GStreamer verifies certificates with those of the system only; any other check is for the caller to do before.
    """
    parts = [
        f"rtspsrc location={gstreamer_quoted(without_credentials(address))} protocols={transport} latency={latency_ms}",
        f"drop-on-latency=true tcp-timeout={int(open_timeout_s * 1e6)}",
    ]
    known = credentials(address)
    if known is not None:
        parts.append(f"user-id={gstreamer_quoted(known[0])} user-pw={gstreamer_quoted(known[1])}")
    if not tls_verify:
        parts.append("tls-validation-flags=0")
    source = " ".join(parts)
    if codec == "auto":
        return f"{source} ! {_decoded_automatically(jetson, taker, _NEWEST_FRAME)}"
    if jetson.is_jetson:
        decoder = f"nvv4l2decoder enable-max-performance=1 ! {taker.from_nvidia(_NEWEST_FRAME)}"
    else:
        decoder = f"avdec_{codec} ! {taker.from_memory(_NEWEST_FRAME)}"
    return f"{source} ! rtp{codec}depay ! {codec}parse ! {decoder}"


def csi_pipeline(
    sensor: int, *, width: int, height: int, fps: float, flip: int = 0, taker: Taker = Taker.OPENCV
) -> str:
    """A camera on the CSI connector of a Jetson."""
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={_fraction(fps)},format=NV12 ! "
        f"{taker.from_nvidia(_NEWEST_FRAME, f' flip-method={flip}')}"
    )


def usb_pipeline(
    device: str,
    *,
    width: int,
    height: int,
    fps: float,
    motion_jpeg: bool = False,
    jetson: JetsonGeneration = JetsonGeneration.NONE,
    taker: Taker = Taker.OPENCV,
) -> str:
    """A USB camera. Most need motion JPEG instead of raw pictures for more than 640 x 480 at 30 fps."""
    size = f"width={width},height={height},framerate={_fraction(fps)}"
    source = f"v4l2src device={gstreamer_quoted(device)}"
    if not motion_jpeg:
        return f"{source} io-mode=2 ! video/x-raw,{size} ! {taker.from_memory(_NEWEST_FRAME)}"
    if jetson.decodes_jpeg:
        decoder = f"nvv4l2decoder mjpeg=1 ! {taker.from_nvidia(_NEWEST_FRAME)}"
    else:
        decoder = f"jpegdec ! {taker.from_memory(_NEWEST_FRAME)}"
    return f"{source} ! image/jpeg,{size} ! {decoder}"


def file_pipeline(path: str, *, jetson: JetsonGeneration = JetsonGeneration.NONE, taker: Taker = Taker.OPENCV) -> str:
    """A recording: every frame, as fast as it is read."""
    return f"filesrc location={gstreamer_quoted(path)} ! {_decoded_automatically(jetson, taker, _EVERY_FRAME)}"


def _decoded_automatically(jetson: JetsonGeneration, taker: Taker, keep: str) -> str:
    """decodebin picks the hardware decoder if there is one, but leaves the picture in its memory."""
    return f"decodebin ! {taker.from_nvidia(keep) if jetson.is_jetson else taker.from_memory(keep)}"


def _fraction(fps: float) -> str:
    """Frame rates are fractions to GStreamer: 29.97 is 30000/1001, 30 is 30/1."""
    if abs(fps - round(fps)) < 1e-6:
        return f"{round(fps)}/1"
    if abs(fps * 1.001 - round(fps * 1.001)) < 2e-2:
        return f"{round(fps * 1.001) * 1000}/1001"
    return f"{round(fps * 1000)}/1000"
