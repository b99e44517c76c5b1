"""One event of a log, explained from what the log contains."""

import dataclasses
import json

import numpy as np
import pytest
from made_results import result

from app.events.log import EventLog
from app.events.stream import EventStream
from app.types import Candidate, FaceQuality, Match, Reason, Track

QUALITY = FaceQuality(
    **{
        **{column.name: np.array([np.nan]) for column in dataclasses.fields(FaceQuality)},
        "size_px": np.array([57.6]),
        "yaw": np.array([-33.4]),
        "sharpness": np.array([118.2]),
    }
)
FAR = Match(
    None,
    Reason.BELOW_THRESHOLD,
    0.284,
    nearest="Ann",
    photo="Ann/1.jpg",
    runner_up="Bob",
    runner_up_similarity=0.21,
    measured=0.284,
    confidence=0.991,
    limit=0.32,
    candidates=(
        Candidate("Ann", 0.284, "Ann/1.jpg"),
        Candidate("Bob", 0.21, "Bob.png"),
        Candidate("Eve", -0.05, "E.jpg"),
    ),
    quality=QUALITY,
)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "visits.jsonl"
    sink, stream = EventLog(path), EventStream()
    tracks = [
        Track(number, np.array([10, 20, 30, 40], np.float32), match, 0.0, 1.0)
        for number, match in ((1, FAR), (2, Match(None, Reason.NOT_COMPARED_YET)))
    ]
    for event in stream.handle(result(tracks=tracks)):
        sink.write(event)
    sink.close()
    return path


def explained_with(answered, log, folder):
    config = folder / "own.yaml"
    config.write_text("quality:\n  max_yaw_deg: 60\n")
    return answered("explain", log, 1, "--config", config)[1].splitlines()


def test_the_three_nearest_people_and_the_quality_are_shown(answered, log, tmp_path):
    code, out, _ = answered("explain", log, 1)
    assert code == 0 and "unknown: below_threshold 0.28<0.32" in out
    assert "confidence 99 %" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["Ann", "0.28", "Ann/1.jpg"] in rows and ["Bob", "0.21", "Bob.png"] in rows
    assert any(row[:1] == ["Eve"] and row[-1] == "E.jpg" for row in rows)
    assert any("58" in row and row[-2:] == ["quality.min_face_px", "20"] for row in rows)
    assert any("-33" in row and row[-2:] == ["quality.max_yaw_deg", "70"] for row in rows)
    assert ["quality.max_yaw_deg", "60"] in [line.split()[-2:] for line in explained_with(answered, log, tmp_path)]
    assert "quality.max_non_face" not in out, "was not measured"


def test_the_event_itself_can_be_printed(answered, log):
    record = json.loads(answered("explain", log, 1, "--json")[1])
    assert record["sequence"] == 1 and [one["name"] for one in record["candidates"]] == ["Ann", "Bob", "Eve"]
    assert record["quality"] == {"size_px": 58, "yaw": -33, "sharpness": 118}


def test_a_face_that_was_not_compared_has_neither(answered, log):
    code, out, _ = answered("explain", log, 2)
    assert code == 0 and "not_compared_yet" in out and "no candidates" in out and "not measured" in out


def test_an_event_that_is_not_in_the_log_is_an_error(answered, log, tmp_path):
    code, _, err = answered("explain", log, 99)
    assert code == 2 and "no event 99" in err and "2" in err
    assert answered("explain", tmp_path / "none.jsonl", 1)[0] == 2
