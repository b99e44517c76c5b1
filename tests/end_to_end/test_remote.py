"""Two real programs: `serve` embeds, and a run names the people of a live camera over it. The server is killed."""

import contextlib
import json
import re
import signal
import time
import urllib.request

import cv2
import numpy as np
import pytest
from ports import free_port
from quiet_http import Handler, QuietServer
from serve_process import ServeProcess
from waiting import until

from app.service.tokens import add_token
from app.tools.demo.portraits import crowd_picture

pytest.importorskip("skimage", reason="the people come with scikit-image")
pytest.importorskip("prometheus_client")
pytest.importorskip("starlette")

PATIENT_MS = 60_000
"""A server that works answers within this time, however busy the machine is."""


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    server = ServeProcess(folder)
    server.tokens.with_name("device").write_text(add_token(server.tokens, "door", "read"))
    yield server
    server.kill()


class Camera:
    """Motion JPEG over HTTP: people, or the wall behind them."""

    def __init__(self, portraits):
        people = cv2.resize(crowd_picture(portraits, 3), (640, 360), interpolation=cv2.INTER_AREA)
        self._pictures = {
            shown: cv2.imencode(".jpg", image)[1].tobytes()
            for shown, image in ((True, people), (False, np.full_like(people, 96)))
        }
        self.shows_people = True
        camera = self

        class Stream(Handler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    while True:
                        jpeg = camera._pictures[camera.shows_people]
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                        time.sleep(0.1)  # 10 frames/s

        self._server = QuietServer(Stream)
        self.url = f"{self._server.address}/"
        self.close = self._server.close


@pytest.fixture
def camera(portraits):
    with contextlib.closing(Camera(portraits)) as camera:
        yield camera


@pytest.mark.slow
def test_people_keep_their_names_while_the_server_is_killed_and_started_again(
    program, config_file, server, camera, people_gallery, tmp_path
):
    port, log, summary = free_port(), tmp_path / "visits.jsonl", tmp_path / "summary.json"
    with config_file.open("a", encoding="utf-8") as config:
        config.write(
            f"remote:\n  url: {server.url}\n  token: file:{server.tokens.with_name('device')}\n"
            f"  timeout_ms: {PATIENT_MS}\ntracking:\n  visit_gap_s: 0\n  forget_after_s: 0.3\n"
        )
    server.start()
    run = program(
        "--video", f"door={camera.url}", "--gallery", people_gallery, "--events", log,
        "--metrics-port", port, "--summary-json", summary,
    )  # fmt: skip

    def metric(name, **labels):
        assert run.poll() is None, run.stderr.read()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as reply:
                text = reply.read().decode()
        except OSError:
            return 0
        found = re.findall(rf"^face_recognition_{name}\{{(.*)\}} (\S+)$", text, re.MULTILINE)
        fitting = [value for of, value in found if all(f'{key}="{one}"' in of for key, one in labels.items())]
        return float(fitting[0]) if fitting else 0

    def answered(by):
        return metric("remote_requests_total", network="embedder", result=by)

    def events(kind):
        # The last line may be half written.
        lines = log.read_bytes().rpartition(b"\n")[0].splitlines() if log.exists() else []
        return [event["name"] for event in map(json.loads, lines) if event["event"] == kind and event.get("name")]

    def somebody_comes():
        """They were away before, and get their names again."""
        camera.shows_people = False
        until(lambda: len(events("left")) == len(events("identified")))
        named = len(events("identified"))
        camera.shows_people = True
        until(lambda: len(events("identified")) >= named + 2)

    until(lambda: set(events("identified")) == {"Eileen Collins", "Grace Hopper"})
    assert metric("remote_up", network="embedder") == 1
    assert answered("answered") > 0 and answered("local") == answered("failed") == 0
    server.kill()
    somebody_comes()
    # A request has failed, or the check every 30 s came first.
    until(lambda: metric("remote_up", network="embedder") == 0 and answered("local") > 0)
    before = answered("answered")
    server.start()
    until(lambda: metric("remote_up", network="embedder") == 1)
    somebody_comes()
    until(lambda: answered("answered") > before)
    # By now, nothing is left that was begun here before.
    here, before = answered("local"), answered("answered")
    somebody_comes()
    until(lambda: answered("answered") > before)
    assert answered("local") == here, "the server is asked again, and only it"
    run.send_signal(signal.SIGINT)
    out, err = run.communicate()

    assert run.returncode == 0, err
    assert set(events("identified")) == {"Eileen Collins", "Grace Hopper"}
    remote = json.loads(summary.read_text(encoding="utf-8"))["remotes"]["embedder"]
    assert remote["answered"] > before and remote["local"] == here
    assert f"embedder on {server.url}" in out
    assert f"ERROR   mobilefacenet: {server.url}" in err and f"runs on {server.url}, model mobilefacenet again" in err
    assert f"while {server.url} does not answer" in err, "what runs here is not what embeds"
