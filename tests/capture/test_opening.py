"""The error for a source that cannot be opened says which one, why, and what to try."""

import contextlib
import functools
import os
import socket

import cv2
import numpy as np
import pytest
from quiet_http import Files, Handler, QuietServer
from real_sources import frame_number, held_port
from waiting import PATIENT_S

from app.capture.opening import open_reader
from app.capture.uri import parse_source
from app.errors import SourceError
from app.settings import CaptureSettings

PATIENT = CaptureSettings(open_timeout_s=PATIENT_S, read_timeout_s=PATIENT_S)
IMPATIENT = CaptureSettings(open_timeout_s=1.0, read_timeout_s=1.0)
"""For hosts that never answer."""


def refusal(address, settings=PATIENT):
    with pytest.raises(SourceError) as caught:
        open_reader(parse_source(address, "door"), settings)
    assert str(caught.value).startswith("door (")
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_refused_connection(scheme):
    with held_port() as holder:
        port = holder.getsockname()[1]
        said = refusal(f"{scheme}://admin:s3cret@127.0.0.1:{port}/cam")
    assert f"refused by 127.0.0.1:{port}" in said
    assert "s3cret" not in said and "admin:***@" in said


@pytest.mark.parametrize("port", ["99999", "554x"])
def test_an_invalid_port(port):
    said = refusal(f"rtsp://admin:s3cret@127.0.0.1:{port}/x")
    assert "65535" in said and "@ in its path" not in said and "s3cret" not in said


def test_an_unknown_name():
    assert "Unknown host no-such-host.invalid" in refusal("rtsp://no-such-host.invalid/cam")


def test_a_host_that_accepts_and_does_not_answer():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        said = refusal(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam", IMPATIENT)
    assert "within 1 s" in said


def test_a_missing_camera():
    said = refusal("camera:987")
    assert "/dev/video987" in said and "plugged in" in said


def test_a_camera_without_permission(tmp_path, monkeypatch):
    device = tmp_path / "video0"
    device.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("app.capture.uri.Source.device", str(device))
    assert "usermod -aG video" in refusal("camera:0")


def test_a_device_that_is_not_a_camera(tmp_path, monkeypatch):
    claimed = tmp_path / "null"  # not /dev/null, which another run of the tests may have claimed
    claimed.touch()
    monkeypatch.setattr("app.capture.uri.Source.device", str(claimed))
    assert "not a camera" in refusal("camera:/dev/null")


@pytest.mark.parametrize(
    ("present", "transport", "expected"),
    [
        (None, "tcp", "rtsp_transport;tcp|stimeout;1000000"),
        (None, "udp", "rtsp_transport;udp|stimeout;1000000"),
        ("rtsp_transport;tcp|stimeout;5000000", "udp", "rtsp_transport;udp|stimeout;1000000"),
        ("rtsp_transport;tcp|fflags;nobuffer", "udp", "rtsp_transport;tcp|fflags;nobuffer"),
    ],
)
def test_ffmpegs_options_are_set_but_the_users_own_stay(monkeypatch, present, transport, expected):
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    monkeypatch.setenv(name, present or "")
    if present is None:
        monkeypatch.delenv(name)
    with held_port() as holder:
        refusal(
            f"rtsp://127.0.0.1:{holder.getsockname()[1]}/cam",
            CaptureSettings(open_timeout_s=1.0, read_timeout_s=1.0, rtsp_transport=transport, tls_verify=False),
        )
    assert os.environ[name] == expected


def test_options_that_this_opencv_does_not_know_are_left_out(monkeypatch):
    monkeypatch.delattr(cv2, "CAP_PROP_N_THREADS")
    with held_port() as holder:
        port = holder.getsockname()[1]
        assert f":{port}" in refusal(f"rtsp://127.0.0.1:{port}/cam")


@pytest.fixture
def http_server():
    """Serves requests with a handler class, and is gone after the test."""
    running = []

    def serve(handler):
        running.append(QuietServer(handler))
        return running[-1].address

    yield serve
    for server in running:
        server.close()


class Quiet(Handler):
    status = 200

    def do_GET(self):
        self.reply(self.status)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "password (401)"),
        (404, "path (404)"),
        (503, "503"),
        (200, "decoded"),
    ],
)
def test_what_a_web_server_answers(http_server, status, said):
    handler = type("Handler", (Quiet,), {"status": status})
    address = http_server(handler).replace("://", "://admin:s3cret@") + "/cam.mjpg"
    answer = refusal(address)
    assert said in answer and "s3cret" not in answer


def test_a_recording_over_http_is_a_recording(http_server, recording):
    video = recording("clip.avi", codec="MJPG", frames=6)
    address = http_server(functools.partial(Files, directory=str(video.parent)))
    with contextlib.closing(open_reader(parse_source(f"{address}/clip.avi"), PATIENT)) as reader:
        numbers = []
        raw = reader.read()
        while raw is not None:
            numbers.append(frame_number(raw.image))
            raw = reader.read()
    assert (reader.live, reader.total_frames, numbers) == (False, 6, list(range(6)))


class MotionJpeg(Quiet):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = cv2.imencode(".jpg", np.full((48, 64, 3), 99, np.uint8))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
        try:
            while True:
                self.wfile.write(head + picture + b"\r\n")
        except OSError:
            return


def test_motion_jpeg_over_http_is_a_live_source(http_server):
    with contextlib.closing(open_reader(parse_source(http_server(MotionJpeg) + "/video"), PATIENT)) as reader:
        raw = reader.read()
    assert (reader.live, reader.total_frames, raw.position) == (True, None, None)
    assert raw.image.shape == (48, 64, 3)
    assert reader.time_stamp_s is None, "FFmpeg would make some up"
