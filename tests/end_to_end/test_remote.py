"""Two real programs: `serve` embeds, and a run names the people of a live camera over it. The server is killed."""

import json
import re
import signal
import urllib.request

import pytest
from ports import free_port
from serve_process import ServeProcess
from waiting import until

from app.service.tokens import add_token
from app.tools.soak.camera_process import CameraProcess
from app.tools.soak.scene import write_scenery

pytest.importorskip("skimage", reason="the people come with scikit-image")
pytest.importorskip("prometheus_client")
pytest.importorskip("starlette")

PATIENT_MS = 8000
"""A server that works answers within this time, however busy the machine is."""


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    server = ServeProcess(folder)
    server.tokens.with_name("device").write_text(add_token(server.tokens, "door", "read"))
    yield server
    server.kill()


@pytest.fixture
def camera(portraits, tmp_path):
    """People walk past one after the other."""
    wall, heads = write_scenery(tmp_path, portraits)
    process = CameraProcess("door", wall, heads[:2])
    yield process
    process.close()


@pytest.mark.slow
def test_people_keep_their_names_while_the_server_is_killed_and_started_again(
    program, config_file, server, camera, people_gallery, tmp_path
):
    port, log, summary = free_port(), tmp_path / "visits.jsonl", tmp_path / "summary.json"
    with config_file.open("a", encoding="utf-8") as config:
        config.write(
            f"remote:\n  url: {server.url}\n  token: file:{server.tokens.with_name('device')}\n"
            f"  timeout_ms: {PATIENT_MS}\nrecognition:\n  reembed_after_s: 0.2\n"
        )
    server.start()
    run = program(
        "--video", f"door={camera.address}", "--gallery", people_gallery, "--events", log,
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

    def names():
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [event["name"] for event in map(json.loads, lines) if event["event"] == "identified"]

    until(lambda: answered("answered") > 0 and names())
    assert metric("remote_up", network="embedder") == 1 and answered("local") == 0
    server.kill()
    known = len(names())
    until(lambda: answered("local") > 0 and len(names()) > known)
    assert metric("remote_up", network="embedder") == 0 and answered("failed") >= 1
    before, known = answered("answered"), len(names())
    server.start()
    until(lambda: metric("remote_up", network="embedder") == 1 and answered("answered") > before)
    here = answered("local")
    until(lambda: len(names()) > known)
    assert answered("local") == here, "the server is asked again"
    run.send_signal(signal.SIGINT)
    out, err = run.communicate()

    assert run.returncode == 0, err
    assert set(names()) <= {"Eileen Collins", "Grace Hopper"}
    remote = json.loads(summary.read_text(encoding="utf-8"))["remotes"]["embedder"]
    assert remote["answered"] > before and remote["local"] == here and remote["failed"] >= 1
    assert f"embedder on {server.url}" in out
    assert f"ERROR   mobilefacenet: {server.url}" in err and f"runs on {server.url}, model mobilefacenet again" in err
