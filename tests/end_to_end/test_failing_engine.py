"""A network that cannot be run any more in the middle of a video: another backend goes on, or the program ends well."""

import importlib.util
import json

import cv2
import pytest

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
