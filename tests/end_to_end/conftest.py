"""A live camera, a video with a light that dazzles, and detectors that do not survive it."""

import contextlib
import hashlib

import cv2
import numpy as np
import pytest
import yaml
from failing_networks import write_trapped
from shipped import CATALOG

from app.output.video_encoders import open_video_writer
from app.tools.demo.portraits import CROWD_FPS, CROWD_HEIGHT, CROWD_WIDTH, crowd_picture

DETECTOR = "retinaface_mnet025"


@pytest.fixture
def camera(rtsp_server, people_video, tmp_path):
    """An RTSP server with the demo's people."""
    video = cv2.VideoCapture(str(people_video))
    _, picture = video.read()
    path = tmp_path / "people.jpg"
    cv2.imwrite(str(path), cv2.resize(picture, (640, 360), interpolation=cv2.INTER_AREA))
    return rtsp_server("--picture", str(path))


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
    """The settings choose a detector that ONNX Runtime cannot run on bright pictures (see `write_trapped`)."""

    def install(**trap):
        catalog = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
        entry, embedder = catalog[DETECTOR], catalog["mobilefacenet"]
        path = write_trapped(CATALOG.parent / entry["file"], tmp_path / "trapped.onnx", **trap)
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
