"""The whole program on a live RTSP camera: a real server with the demo's people that is killed and started again."""

import json
import re
import signal
import time
import urllib.request
from datetime import datetime
from pathlib import Path

import cv2
import pytest
from ports import free_port
from waiting import PATIENT_S, until


def events_of(path):
    """The complete ones; the program may be writing the last one."""
    written = path.read_bytes().rpartition(b"\n")[0] if path.is_file() else b""
    return [event for event in map(json.loads, written.splitlines()) if event["event"] != "log"]


def moments_s(path):
    """When the frames of a video are shown."""
    video, found = cv2.VideoCapture(str(path)), [0.0]
    while video.read()[0]:
        found.append(video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    return found


def be_patient(config):
    """A busy machine is not a broken camera, and those whom it does not look at for a while have not left."""
    with config.open("a", encoding="utf-8") as file:
        file.write(f"capture:\n  open_timeout_s: {PATIENT_S}\n  read_timeout_s: {PATIENT_S}\n")
        file.write("tracking:\n  visit_gap_s: 300\n")


def test_people_are_named_again_after_the_camera_came_back(program, camera, people_gallery, tmp_path):
    events = tmp_path / "visits.jsonl"
    be_patient(tmp_path / "test.yaml")
    process = program(
        "--rtsp", f"door={camera.url}", "--gallery", people_gallery, "--save", "door.mp4", "--events", events,
    )  # fmt: skip

    def named():
        """The numbers of the events that name people, and of the one after which the camera was back."""
        assert process.poll() is None, process.stderr.read()
        found = events_of(events)
        back = [event["sequence"] for event in found if event["event"] == "source_back"]
        return [event["sequence"] for event in found if event["event"] == "identified"], back

    until(lambda: named()[0])
    camera.kill()
    camera.start()
    until(lambda: named()[1] and named()[0][-1] > named()[1][-1])
    until(lambda: "Grace Hopper" in {event.get("name") for event in events_of(events)[named()[1][-1] :]})
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENT_S)

    assert process.returncode == 0, err
    assert "reconnecting" in err or "again" in err
    (row,) = [line.split() for line in out.splitlines() if line.startswith("Grace Hopper")]
    assert row[-2] == "2", "two visits"
    # In the log, they left when the camera was lost, and not when it came back.
    kinds = [event["event"] for event in events_of(events)]
    assert kinds.count("source_lost") == kinds.count("source_back") == 1
    between = events_of(events)[kinds.index("source_lost") + 1 : kinds.index("source_back")]
    assert {"Grace Hopper"} <= {event["name"] for event in between}
    assert {event["reason"] for event in between} == {"source_lost"}
    # The video follows the clock, including the seconds without a camera. On a busy machine more of it may be left out.
    (lost_s,) = (event["lost_s"] for event in events_of(events) if event["event"] == "source_back")
    moments = moments_s(tmp_path / "door.mp4")
    assert max(later - earlier for earlier, later in zip(moments, moments[1:])) > lost_s / 2


def libfaketime():
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("no libfaketime: apt-get install libfaketime")
    return str(found[0])


@pytest.mark.slow
@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_clock_that_is_set_ends_no_visit_and_changes_no_duration(program, camera, people_gallery, tmp_path, step_s):
    clock, events, video = tmp_path / "clock", tmp_path / "visits.jsonl", tmp_path / "door.mp4"
    clock.write_text("+0")
    be_patient(tmp_path / "test.yaml")
    fake = {
        "LD_PRELOAD": libfaketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    port = free_port()
    began = time.monotonic()
    process = program(
        *("--rtsp", f"door={camera.url}", "--gallery", people_gallery),
        *("--save", video, "--events", events, "--metrics-port", port),
        **fake,
    )

    def named():
        assert process.poll() is None, process.stderr.read()
        return {event["name"] for event in events_of(events) if event["event"] == "identified"}

    def processed():
        assert process.poll() is None, process.stderr.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENT_S) as reply:
            return float(
                re.search(rb"^face_recognition_frames_processed_total.* (\S+)$", reply.read(), re.MULTILINE)[1]
            )

    until(lambda: "Grace Hopper" in named())
    before = processed()
    clock.write_text(f"{step_s:+}")
    # More than can have waited since before the clock was set.
    until(lambda: processed() > before + 10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENT_S)
    took_s = time.monotonic() - began

    assert process.returncode == 0, err
    (left,) = (event for event in events_of(events) if event["event"] == "left" and event["name"] == "Grace Hopper")
    assert left["reason"] == "run_ended"
    assert 0 < left["duration_s"] < took_s
    first, last = (datetime.fromisoformat(left[moment][:-1]) for moment in ("first_seen", "last_seen"))
    assert (last - first).total_seconds() == pytest.approx(left["duration_s"] + step_s, abs=2)
    assert moments_s(video)[-1] < took_s


def test_the_program_waits_for_a_camera_and_hides_its_password(program, camera, people_gallery):
    camera.kill()
    address = camera.url.replace("://", "://ann:s3cret@")
    process = program("--rtsp", f"door={address}", "--gallery", people_gallery, "--wait", "--max-frames", "2")
    shown = Path(f"/proc/{process.pid}/cmdline")
    until(lambda: b"ann:***@" in shown.read_bytes())
    assert b"s3cret" not in shown.read_bytes()
    # The first line that says that it waits comes before the camera.
    for line in process.stderr:
        if "--no-wait" in line:
            break
    camera.start()
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0, err


@pytest.mark.slow
def test_recordings_go_on_after_kill_9_with_the_same_command(program, camera, people_gallery, tmp_path):
    command = ("--rtsp", f"door={camera.url}", "--gallery", people_gallery, "--record", "videos")

    def recorded():
        return sorted((tmp_path / "videos").rglob("*.mp4"))

    killed = program(*command)
    until(lambda: killed.poll() is None and recorded() and recorded()[0].stat().st_size > 8000)
    killed.kill()
    killed.wait()
    before = recorded()
    process = program(*command, "--record-when", "visits")

    def goes_on():
        # On a busy machine, a visit may end and begin again: then there are more.
        assert process.poll() is None, process.stderr.read()
        return [path for path in recorded() if path not in before and path.stat().st_size > 8000]

    until(goes_on)
    whole = [*before[:1], *goes_on()]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0, err
    assert "written: videos" in out.splitlines()
    assert all(cv2.VideoCapture(str(path)).read()[0] for path in whole)
    assert {path.relative_to(tmp_path).parts[:2] for path in recorded()} == {("videos", "door")}
