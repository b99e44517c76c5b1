"""A network that cannot be run any more in the middle of a video: another backend goes on, or the program ends well."""

import contextlib
import hashlib
import importlib.util
import json

import cv2
import numpy as np
import pytest
import yaml
from failing_networks import write_trapped
from shipped import CATALOG

from app.output.video_encoders import open_video_writer
from app.tools.demo.portraits import CROWD_FPS, CROWD_HEIGHT, CROWD_WIDTH, crowd_picture

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
DETECTOR = "retinaface_mnet025"


@pytest.fixture
def video(tmp_path, portraits):
    """Three people for 12 frames, a light that dazzles for 3, and the people again."""
    people = crowd_picture(portraits, 3)
    white = np.full_like(people, 255)
    path = tmp_path / "people.mp4"
    with contextlib.closing(Recording(path)) as recording:
        for image in [*[people] * 12, *[white] * 3, *[people] * 12]:
            recording.add(image)
    return path


class Recording:
    def __init__(self, path):
        self._writer = open_video_writer(path, (CROWD_WIDTH, CROWD_HEIGHT), 23, CROWD_FPS)
        self._frames = 0

    def add(self, image):
        self._writer.write(image, self._frames / CROWD_FPS)
        self._frames += 1

    def close(self):
        self._writer.close(1 / CROWD_FPS)


@pytest.fixture
def trapped(tmp_path, config_file):
    """The settings choose a detector that ONNX Runtime cannot run on bright pictures; nor can OpenVINO, if wanted."""

    def install(also_openvino=False):
        catalog = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
        entry, embedder = catalog[DETECTOR], catalog["mobilefacenet"]
        path = write_trapped(CATALOG.parent / entry["file"], tmp_path / "trapped.onnx", also_openvino)
        entry.update(file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for name in ("int8_file", "int8_sha256"):
            entry.pop(name, None), embedder.pop(name, None)
        for key in ("file", "reference"):
            (tmp_path / embedder[key]).write_bytes((CATALOG.parent / embedder[key]).read_bytes())
        models = {DETECTOR: entry, "mobilefacenet": embedder}
        (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(models), encoding="utf-8")
        text = config_file.read_text(encoding="utf-8").replace(str(CATALOG), str(tmp_path / "catalog.yaml"))
        text = text.replace("models:\n", "models:\n  threads: 2\n")
        config_file.write_text(text, encoding="utf-8")

    return install


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
