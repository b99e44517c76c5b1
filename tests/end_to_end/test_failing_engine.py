"""A network that cannot be run any more in the middle of a video: another backend goes on, or the program ends well."""

import importlib.util
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from shipped import ROOT
from waiting import PATIENT_S, until

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")


def events_of(path):
    return [json.loads(line)["event"] for line in path.read_text(encoding="utf-8").splitlines()]


@needs_openvino
def test_another_backend_goes_on_and_no_frame_is_lost(completed, trapped, video, people_gallery, tmp_path):
    trapped()
    code, out, err = completed(
        "--video", video, "--gallery", people_gallery, "--events", "e.jsonl", "--save", "o.mp4", "--no-window"
    )
    assert code == 0, err
    assert "27 frames" in out and "Eileen Collins" in out
    errors = [line for line in err.splitlines() if " ERROR " in line]
    assert len(errors) == 3 and "ONNX Runtime failed" in errors[0] and "runs on OpenVINO" in errors[-1]


@needs_openvino
def test_without_a_backend_the_program_ends_with_a_reason_and_complete_files(
    completed, trapped, video, people_gallery, tmp_path
):
    trapped(also_openvino=True)
    code, _, err = completed(
        "--video", video, "--gallery", people_gallery, "--events", "e.jsonl", "--save", "o.mp4", "--no-window"
    )
    assert code == 3, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: retinaface_mnet025") and "OpenVINO" in err
    events = events_of(tmp_path / "e.jsonl")
    assert events.count("enter") == events.count("left") == 3
    recording = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    frames = 0
    while recording.read()[0]:
        frames += 1
    assert frames == 12


@needs_openvino
def test_a_server_whose_networks_cannot_be_run_any_more_ends_with_a_reason(trapped, config_file, people_gallery):
    pytest.importorskip("starlette")
    from http_client import Client, free_port

    trapped(also_openvino=True)
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--config", str(config_file), "--gallery", str(people_gallery),
         "--port", str(port)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        client = Client(port)
        until(lambda: server.poll() is not None or answers(client))
        white = cv2.imencode(".png", np.full((480, 640, 3), 255, np.uint8))[1].tobytes()
        assert client.request("POST", "/api/v1/detect", white, {"Content-Type": "image/png"}).status == 500
        _, err = server.communicate(timeout=PATIENT_S)
        assert server.returncode == 3, err
        assert "Traceback" not in err
        assert err.splitlines()[-1].startswith("error: retinaface_mnet025")
    finally:
        server.kill()
        server.communicate()


def answers(client):
    try:
        return client.get("/api/v1/health").status == 200
    except OSError:
        return False
