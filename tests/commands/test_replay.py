"""`python -m app replay`: two runs give the same log."""

import json
import time

import pytest

from app.events.history import EVENT_COLUMNS
from app.events.visits import visits
from app.gallery.strangers import strangers_folder
from app.settings import Settings, StrangerSettings
from app.tools.replay import alone

NOON = "2026-11-21T12:00"


def test_faces_that_count_as_no_person_are_those_of_a_run(tmp_path):
    settings = Settings(strangers=StrangerSettings(folder=tmp_path))
    assert strangers_folder(alone(settings)) == tmp_path


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_two_runs_give_the_same_bytes(completed, people_video, people_gallery, tmp_path):
    for name in ("one.jsonl", "two.jsonl"):
        words = (people_video, "--gallery", people_gallery, "--start", NOON, "--events", name)
        code, _, err = completed("replay", *words)
        assert code == 0, err
    one, two = (tmp_path / name for name in ("one.jsonl", "two.jsonl"))
    assert one.read_bytes() == two.read_bytes()
    header, *events = lines(one)
    assert (header["event"], header["after"]) == ("log", 0)
    begin = time.mktime(time.strptime(NOON, "%Y-%m-%dT%H:%M"))
    for event in events:
        assert event["time"] == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begin + event["position"])) + (
            f".{round(event['position'] * 1000) % 1000:03d}Z"
        )
    assert {visit.name for visit in visits(lines(one))} == {"Eileen Collins", "Grace Hopper", None}
    assert {"visit", "time", "position"} <= set(EVENT_COLUMNS)

    code, _, err = completed("replay", people_video, "--gallery", people_gallery, "--events", "one.jsonl")
    assert code == 2 and "one.jsonl exists" in err
    assert one.read_bytes() == two.read_bytes(), "a log is never replaced"


def test_events_go_to_standard_output_and_time_counts_from_the_file(completed, people_video, people_gallery):
    code, out, err = completed("replay", people_video, "--gallery", people_gallery, "--max-frames", "10")
    assert code == 0, err
    header, *events = map(json.loads, out.splitlines())
    written = people_video.stat().st_mtime
    assert header["time"][:19] == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(written))
    assert [event["event"] for event in events].count("left") == 3


def test_a_camera_is_no_recording(completed):
    code, _, err = completed("replay", "rtsp://localhost/x")
    assert code == 2 and "rtsp://localhost/x" in err
