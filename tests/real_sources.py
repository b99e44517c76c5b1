"""A real RTSP server to start, kill and freeze, and helpers for tests of capture."""

import functools
import os
import signal
import socket
import subprocess
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")
SERVER_PACKAGES = (
    "python3-gst-1.0 gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-ugly gstreamer1.0-tools"
)
GSTREAMER_OPENCV_PACKAGES = "python3-opencv gstreamer1.0-libav"


def system_python_can(code):
    """Whether the system's Python can run this code. Only that one has Debian's GStreamer and OpenCV."""
    if not Path(SYSTEM_PYTHON).exists():
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, check=False).returncode == 0


@functools.lru_cache(maxsize=None)
def server_missing():
    code = (
        "import gi; gi.require_version('Gst','1.0'); gi.require_version('GstRtspServer','1.0'); "
        "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
        "assert Gst.ElementFactory.find('x264enc') and Gst.ElementFactory.find('rtph264pay')"
    )
    return "" if system_python_can(code) else f"no RTSP server: apt-get install {SERVER_PACKAGES}"


@functools.lru_cache(maxsize=None)
def gstreamer_opencv_missing():
    code = (
        "import sys; assert sys.version_info >= (3, 8)\n"
        "import cv2, re; assert re.search(r'GStreamer:\\s*YES', cv2.getBuildInformation())\n"
        "import subprocess; subprocess.run(['gst-inspect-1.0', 'avdec_h264'], check=True, capture_output=True)"
    )
    packages = f"{GSTREAMER_OPENCV_PACKAGES} gstreamer1.0-tools"
    return "" if system_python_can(code) else f"no OpenCV with GStreamer: apt-get install {packages}"


def held_port():
    """A socket that reserves its port while it is open: connections are refused, until a server that also
    says SO_REUSEADDR listens there. A port that is only looked up may be another program's a moment later."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


class RtspServer:
    """The server as a process that can be killed, frozen and started again at the same port."""

    def __init__(self, *words):
        """`words` go to the server as they are; see rtsp_server.py."""
        self._holder = held_port()
        self.port = self._holder.getsockname()[1]
        self.words = words
        self.process = None
        self.start()

    @property
    def url(self):
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def start(self):
        self.process = subprocess.Popen(
            [SYSTEM_PYTHON, str(SERVER), str(self.port), *self.words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )
        assert self.process.stdout.readline() == b"ready\n", "the RTSP server did not start"

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def close(self):
        self.kill()
        self._holder.close()

    def resize(self, width, height):
        """With `--clock`: from the next frame on."""
        self.process.stdin.write(f"{width}x{height}\n".encode())
        self.process.stdin.flush()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


def _environment():
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}


def frame_number(image):
    """Which frame of a `recording` this is, modulo 20."""
    return round((float(image.mean()) - 30) / 10)
