"""Passwords go to the camera that the user named, and to no other host; servers that answer in hostile ways."""

import contextlib
import dataclasses
import functools
import re
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import cv2
import pytest
from quiet_http import Files, QuietServer
from real_sources import frame_number
from tcp_link import stop_listening
from waiting import PATIENT_S
from web_server import certificate

from app.capture.opening import open_reader
from app.capture.probe import Trust, why_unreachable
from app.capture.reader_process import start_reader
from app.capture.uri import parse_source
from app.errors import SourceError
from app.settings import CaptureSettings

SETTINGS = CaptureSettings(open_timeout_s=PATIENT_S, read_timeout_s=PATIENT_S)
LOGIN = "admin:s3cret@"
ASKS_FOR_PASSWORD = '401 Unauthorized\r\nWWW-Authenticate: Basic realm="camera"'


class RawServer:
    """Sends `answers` in turn, the last one again and again, and keeps what it receives. "drip" never ends."""

    def __init__(self, *answers, host="127.0.0.1", tls=None):
        self.answers = list(answers)
        self.received = b""
        self._tls = tls
        self._listener = socket.create_server((host, 0))
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        self.closed = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            while True:
                request = connection.recv(65536)
                if not request:
                    return
                self.received += request
                number = [line[5:] for line in request.decode().splitlines() if line.startswith("CSeq:")]
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer == "drip":
                    while not self.closed.wait(0.02):
                        connection.sendall(b"R")
                    return
                if request.startswith(b"OPTIONS"):
                    self.answers.insert(0, answer)
                    answer = "200 OK\r\nPublic: DESCRIBE, SETUP, PLAY"
                connection.sendall(f"RTSP/1.0 {answer}\r\nCSeq:{number[0]}\r\n\r\n".encode())

    def close(self):
        self.closed.set()
        stop_listening(self._listener)


@pytest.fixture
def raw_server():
    made = []

    def make(*answers, **options):
        made.append(RawServer(*answers, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Certificates that their servers signed themselves: of localhost and of another host."""
    folder = tmp_path_factory.mktemp("certificates")
    return {name: certificate(folder, name) for name in ("localhost", "camera.example")}


def tls_of(certificates, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates[name])
    return context


def refusal(address, settings=SETTINGS):
    with pytest.raises(SourceError) as caught:
        open_reader(parse_source(address, "door"), settings).close()
    assert "s3cret" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps"])
def test_a_password_does_not_follow_a_redirection_to_another_host(raw_server, certificates, scheme):
    tls = tls_of(certificates, "localhost") if scheme == "rtsps" else None
    thief = raw_server(ASKS_FOR_PASSWORD, host="127.0.0.2", tls=tls)
    camera = raw_server(f"302 Moved\r\nLocation: {scheme}://{thief.address}/cam", tls=tls)
    trusting = dataclasses.replace(SETTINGS, ca_file=certificates["localhost"][0])
    said = refusal(f"{scheme}://{LOGIN}{camera.address}/cam", trusting)
    assert f"redirects to {scheme}://{thief.address}/cam" in said
    assert thief.received == b""


def test_a_redirection_from_rtsps_to_rtsp_is_refused(raw_server, certificates):
    camera = raw_server("302 Moved\r\nLocation: rtsp://localhost/cam", tls=tls_of(certificates, "localhost"))
    trusting = dataclasses.replace(SETTINGS, ca_file=certificates["localhost"][0])
    assert "redirects to rtsp://localhost/cam" in refusal(f"rtsps://{LOGIN}{camera.address}/cam", trusting)


def test_what_a_host_answers_reaches_messages_without_control_characters(raw_server):
    camera = raw_server("302 Moved\r\nLocation: rtsp://evil/\x1b[2J\x07" + "x" * 5000)
    said = refusal(f"rtsp://{LOGIN}{camera.address}/cam")
    assert "redirects to rtsp://evil/" in said and said.isprintable() and len(said) < 600


def test_a_host_that_drips_has_one_time_out_for_everything(raw_server):
    camera = raw_server("drip")
    began = time.monotonic()
    cause = why_unreachable(f"rtsp://{LOGIN}{camera.address}/cam", 0.5, Trust())
    assert "within 0.5 s" in cause.text
    assert time.monotonic() - began < PATIENT_S, "64 KiB would take 20 minutes"


@pytest.mark.parametrize("scheme", ["rtsps", "https"])
@pytest.mark.parametrize(
    ("named", "trusted", "host", "said"),
    [
        ("localhost", None, "localhost", "self"),
        ("localhost", "camera.example", "localhost", "self"),
        ("camera.example", "camera.example", "localhost", "not for localhost"),
    ],
    ids=["signed by itself", "another certificate is trusted", "of another host"],
)
def test_no_password_is_sent_to_a_host_with_an_untrusted_certificate(
    raw_server, certificates, scheme, named, trusted, host, said
):
    camera = raw_server(ASKS_FOR_PASSWORD, tls=tls_of(certificates, named))
    settings = dataclasses.replace(SETTINGS, ca_file=certificates[trusted][0] if trusted else None)
    address = camera.address.replace("127.0.0.1", host)
    message = refusal(f"{scheme}://{LOGIN}{address}/cam", settings)
    assert said in message and "capture.ca_file" in message and address in message
    assert camera.received == b""


def ffmpeg_verifies_rtsps():
    version = re.search(r"avformat:\s+YES \((\d+)", cv2.getBuildInformation())
    return version is not None and int(version[1]) >= 62


@pytest.mark.parametrize(
    "scheme",
    [
        "https",
        pytest.param("rtsps", marks=pytest.mark.skipif(not ffmpeg_verifies_rtsps(), reason="FFmpeg is older than 8")),
    ],
)
def test_ffmpeg_itself_verifies_certificates(raw_server, certificates, scheme, monkeypatch):
    """The host could show another certificate to FFmpeg than to the check before."""
    monkeypatch.setattr("app.capture.opening._host_checked", lambda *_: contextlib.nullcontext())
    camera = raw_server(ASKS_FOR_PASSWORD, tls=tls_of(certificates, "camera.example"))
    refusal(f"{scheme}://{LOGIN}{camera.address}/cam")
    assert camera.received == b""


@pytest.mark.parametrize("content", [None, "nothing"])
def test_a_ca_file_that_cannot_be_used_is_named(raw_server, certificates, tmp_path, content):
    path = tmp_path / "camera.pem"
    if content:
        path.write_text(content)
    camera = raw_server(ASKS_FOR_PASSWORD, tls=tls_of(certificates, "localhost"))
    assert str(path) in refusal(f"rtsps://{camera.address}/cam", dataclasses.replace(SETTINGS, ca_file=path))


@pytest.fixture
def https_recording(recording, certificates):
    """A recording on a server whose certificate is of another host than its address."""
    video = recording("clip.avi", codec="MJPG", frames=6)
    files = functools.partial(Files, directory=str(video.parent))
    with contextlib.closing(QuietServer(files, tls=tls_of(certificates, "camera.example"))) as server:
        yield f"{server.address}/clip.avi"


@pytest.mark.parametrize("changed", ["ca_file", "tls_verify"])
def test_a_kept_certificate_is_trusted_at_any_ip_address(https_recording, certificates, changed):
    value = certificates["camera.example"][0] if changed == "ca_file" else False
    settings = dataclasses.replace(SETTINGS, **{changed: value})
    with contextlib.closing(start_reader(parse_source(https_recording), settings)) as reader:
        reader.finish_opening()
        assert frame_number(reader.read().image) == 0


def test_a_kept_certificate_of_an_rtsps_camera(rtsp_server, certificates):
    camera = rtsp_server("digest", "admin", "s3cret")
    tls = tls_of(certificates, "camera.example")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_relay, args=(listener, tls, camera.port), daemon=True).start()
        address = f"rtsps://{LOGIN}127.0.0.1:{listener.getsockname()[1]}/cam"
        assert "cannot be trusted" in refusal(address)
        settings = dataclasses.replace(SETTINGS, ca_file=certificates["camera.example"][0])
        with contextlib.closing(open_reader(parse_source(address), settings)) as reader:
            assert reader.read().image.shape == (240, 320, 3)
        stop_listening(listener)


def _relay(listener, tls, port):
    """What stunnel does: TLS outside, plain RTSP inside."""

    def pump(one, other):
        with contextlib.suppress(OSError):
            while True:
                part = one.recv(65536)
                if not part:
                    break
                other.sendall(part)
        with contextlib.suppress(OSError):
            other.close()

    with contextlib.suppress(OSError):
        while True:
            plain, _ = listener.accept()
            with contextlib.suppress(ssl.SSLError):
                outside, inside = (
                    tls.wrap_socket(plain, server_side=True),
                    socket.create_connection(("127.0.0.1", port)),
                )
                for ends in ((outside, inside), (inside, outside)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()


class Thief(BaseHTTPRequestHandler):
    seen: ClassVar = []

    def do_GET(self):
        self.seen.append(dict(self.headers))
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="thief"')
        self.end_headers()

    def log_message(self, *_):
        pass


def test_ffmpeg_sends_no_password_along_with_a_redirection_of_http():
    thief = HTTPServer(("127.0.0.2", 0), Thief)

    class Redirecting(Thief):
        def do_GET(self):
            if "Authorization" not in self.headers:
                super().do_GET()
                return
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.2:{thief.server_address[1]}/stolen")
            self.end_headers()

    camera = HTTPServer(("127.0.0.1", 0), Redirecting)
    for server in (thief, camera):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    Thief.seen.clear()
    refusal(f"http://{LOGIN}127.0.0.1:{camera.server_address[1]}/cam")
    for server in (thief, camera):
        server.shutdown()
        server.server_close()
    stolen = [headers for headers in Thief.seen if headers["Host"].startswith("127.0.0.2")]
    assert stolen and not any("Authorization" in headers for headers in stolen)
