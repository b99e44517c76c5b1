"""kill -9 of the whole program at any moment, on a live camera whose pictures show the time."""

import json
import random
import signal
import time

import cv2
import pytest
from waiting import until

from app.tools.soak.camera_process import CameraProcess
from app.tools.soak.scene import write_scenery
from app.tools.soak.stamp import age_s, now_ms, read_stamp

pytest.importorskip("skimage", reason="the people come with scikit-image")
KILLS = 4
MAX_LOST_S = 6.0
"""At some moment: 2 s where the machine keeps up with its camera; elsewhere frames also wait for the encoder."""


@pytest.fixture
def camera(portraits, tmp_path):
    wall, heads = write_scenery(tmp_path, portraits)
    process = CameraProcess("door", wall, heads[:2])
    yield process
    process.close()


def last_stamp(path):
    video, found = cv2.VideoCapture(str(path)), None
    while True:
        more, image = video.read()
        if not more:
            return found
        found = read_stamp(image) or found


def lost_s(path):
    """How old the last picture in the video was just before it was read, which takes a while."""
    now = now_ms()
    return age_s(min(last_stamp(path), now), now)


@pytest.mark.slow
def test_kills_leave_videos_a_log_and_a_gallery_that_the_next_run_goes_on_with(
    program, camera, people_gallery, tmp_path
):
    chance, log = random.Random(4), tmp_path / "visits.jsonl"

    def start(number):
        return program(
            "--video", f"door={camera.address}", "--gallery", people_gallery,
            "--save", f"door-{number}.mp4", "--events", log,
        )  # fmt: skip

    for number in range(KILLS):
        video = tmp_path / f"door-{number}.mp4"
        process = start(number)
        until(lambda path=video: path.exists() and path.stat().st_size > 100_000)
        time.sleep(chance.uniform(0, 3))  # any moment will do
        if number == 0:
            until(lambda path=video: lost_s(path) <= MAX_LOST_S, lambda: time.sleep(0.5))
        on_disk = last_stamp(video)
        process.kill()
        process.wait()
        assert age_s(on_disk, last_stamp(video)) < 3600, "nothing that was on the disk is lost"
    # A cache that is written again is another file.
    cache = {path: path.stat().st_ino for path in people_gallery.glob(".*") if path.is_file()}
    process = start(KILLS)
    video = tmp_path / f"door-{KILLS}.mp4"
    # With frames in it: until everything is open, Ctrl-C has nothing to finish, and the exit code is 130.
    until(lambda: video.exists() and video.stat().st_size > 100_000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()

    assert process.returncode == 0, err
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    events = [record for record in records if record["event"] != "log"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    entered, left = ([event["visit"] for event in events if event["event"] == kind] for kind in ("enter", "left"))
    assert sorted(entered) == sorted(left)
    assert len([record for record in records if record["event"] == "log"]) == KILLS + 1
    assert cache and cache == {path: path.stat().st_ino for path in cache}, "photos were examined again"
    assert not list(people_gallery.glob("*.part"))
