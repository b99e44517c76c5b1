"""Configured sources are opened, all at once; devices are read from the system's files, here from made ones."""

import socket
import threading

import cv2
import numpy as np
import pytest
from waiting import PATIENT_S

from app.capture.uri import parse_source
from app.settings import CaptureSettings, Settings
from app.tools.doctor import cameras
from app.tools.doctor.cameras import check_cameras, check_devices, check_sources
from app.tools.doctor.checks import Status

PATIENT = CaptureSettings(open_timeout_s=PATIENT_S, read_timeout_s=PATIENT_S)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A source that works is opened, however slow the machine is."""
    monkeypatch.setattr(cameras, "SOURCE_TIMEOUT_S", PATIENT_S)


@pytest.fixture
def closed_port():
    """A port of this machine on which connections are refused."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


def test_each_source_is_reported_by_its_name(closed_port, people_video):
    sources = [
        ("yard", f"rtsp://ann:secret@127.0.0.1:{closed_port}/cam"),
        ("clip", str(people_video)),
        ("no", "gone.mp4"),
    ]
    yard, clip, missing = check_cameras(Settings(tuple(sources), capture=PATIENT))[:3]
    assert str(closed_port) in yard.text and "secret" not in yard.text
    assert clip.status is Status.OK and "1280 x 720" in clip.text
    assert missing.status is Status.PROBLEM and "gone.mp4" in missing.text


def test_a_camera_that_is_off_is_a_problem_only_if_none_works(closed_port, people_video):
    yard, clip = ("yard", f"rtsp://127.0.0.1:{closed_port}/cam"), ("clip", str(people_video))
    assert check_cameras(Settings((yard,), capture=PATIENT))[0].status is Status.PROBLEM
    assert check_cameras(Settings((yard, clip), capture=PATIENT))[0].status is Status.WARNING


def test_a_picture_of_each_source_shows_a_grid_and_what_is_ignored(people_video, tmp_path):
    own = (("view.ignore", "0,0 0.5,0 0.5,0.5 0,0.5"),)
    settings = Settings((("clip", str(people_video)),), channels=(("clip", own),))
    finding = check_cameras(settings, tmp_path / "new")[0]
    (path,) = (tmp_path / "new").iterdir()
    assert str(path) in finding.text
    plain = cv2.VideoCapture(str(people_video)).read()[1]
    changed = np.abs(cv2.imread(str(path)).astype(int) - plain).max(axis=2) > 30
    height, width = changed.shape
    assert changed[height // 4, width // 2 - 3 : width // 2 + 4].any(), "the right side of the polygon"
    assert not changed[height * 3 // 4 + 20, width // 20 : width // 12].any(), "between the lines"


def test_sources_are_opened_at_the_same_time(monkeypatch):
    together = threading.Barrier(2, timeout=PATIENT_S)

    def start_reader(source, settings):
        together.wait()
        raise OSError("broken driver")

    monkeypatch.setattr(cameras, "start_reader", start_reader)
    found = check_sources([parse_source("camera:0", "a"), parse_source("camera:1", "b")], Settings())
    assert [finding.status for finding in found] == [Status.PROBLEM] * 2
    assert all("broken driver" in finding.text for finding in found)


def test_a_driver_that_hangs_is_a_problem(monkeypatch):
    end = threading.Event()
    monkeypatch.setattr(cameras, "start_reader", lambda source, settings: end.wait())
    try:
        (finding,) = check_sources([parse_source("camera:0")], Settings(), hanging_after_s=0.01)
    finally:
        end.set()
    assert finding.status is Status.PROBLEM


def test_devices_are_listed_with_their_names(tmp_path):
    assert [finding.status for finding in check_devices(tmp_path)] == [Status.NOTE]
    for name in ("video0", "video10", "video2"):
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev" / name).touch()
    facts = tmp_path / "sys/class/video4linux/video0"
    facts.mkdir(parents=True)
    (facts / "name").write_text("HD Webcam\n", encoding="utf-8")
    texts = [finding.text for finding in check_devices(tmp_path)]
    assert texts == ["/dev/video0: HD Webcam", "/dev/video2", "/dev/video10"]
