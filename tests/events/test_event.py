"""The JSON form of an event."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from made_results import ANN, STRANGER

from app.events.event import SCHEMA, EventKind, FaceEvent, LeftReason, SourceEvent
from app.types import NOT_COMPARED_YET, FaceAttributes, Gender, HeadPose, Match, Reason

ENTER = FaceEvent(
    sequence=1,
    kind=EventKind.ENTER,
    channel="front",
    frame=1,
    time=1_800_000_000.25,
    position=0.04,
    file=None,
    visit=1,
    track=7,
    match=ANN,
    box=(10, 21, 30, 40),
    first_seen=0.0,
)


def record(**changes):
    return dataclasses.replace(ENTER, **changes).as_json()


def test_every_field_of_an_enter_event():
    near = Match("Ann", Reason.MATCHED, 0.671234, "Ann", "Ann/1.jpg", runner_up="Eve", runner_up_similarity=0.312345)
    near = dataclasses.replace(near, measured=0.671234, limit=0.42, confidence=0.99871)
    assert record(match=near) == {
        "schema": SCHEMA,
        "sequence": 1,
        "event": "enter",
        "channel": "front",
        "frame": 1,
        "time": "2027-01-15T08:00:00.250Z",
        "position": 0.04,
        "visit": 1,
        "track": 7,
        "name": "Ann",
        "stranger": None,
        "similarity": 0.6712,
        "confidence": 0.9987,
        "nearest": "Ann",
        "photo": "Ann/1.jpg",
        "runner_up": "Eve",
        "runner_up_similarity": 0.3123,
        "box": [10, 21, 30, 40],
        "reason": "matched",
        "why": "matched 0.67",
        "measured": 0.6712,
        "limit": 0.42,
        "votes": 0,
        "time_to_first_name_s": None,
        "first_seen": 0.0,
    }


def test_the_end_of_a_track_also_says_why_it_had_no_name():
    far = Match(None, Reason.BELOW_THRESHOLD, 0.33, "Ann", measured=0.33, limit=0.42)
    left = record(kind=EventKind.LEFT, match=far, left_reason=LeftReason.GONE, last_seen=1.0)
    assert (left["reason"], left["why"]) == ("gone", "below_threshold 0.33<0.42")


def test_an_unknown_face_says_whom_it_resembles():
    near = Match(None, Reason.BELOW_THRESHOLD, 0.36, nearest="Ann")
    unknown = record(match=near)
    assert (unknown["name"], unknown["nearest"], unknown["similarity"]) == (None, "Ann", 0.36)
    assert (unknown["runner_up"], unknown["runner_up_similarity"]) == (None, None)


@pytest.mark.parametrize(
    "match", [NOT_COMPARED_YET, Match(None, Reason.TOO_SMALL), Match(None, Reason.NO_ONE_ENROLLED)]
)
def test_a_face_that_was_not_compared_has_no_similarity(match):
    small = record(match=match)
    fields = ("similarity", "confidence", "nearest", "photo", "runner_up", "runner_up_similarity")
    assert [small[field] for field in fields] == [None] * 6
    assert small["reason"] == match.reason.value


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_null(number):
    assert record(match=dataclasses.replace(STRANGER, similarity=number))["similarity"] is None


def test_changed_and_left_have_fields_of_their_own():
    changed = record(kind=EventKind.CHANGED, previous_name="Eve", previous_visit=3, time_to_first_name_s=0.04049)
    assert (changed["previous_name"], changed["previous_visit"], changed["time_to_first_name_s"]) == ("Eve", 3, 0.04)
    assert "duration_s" not in changed
    times = {"first_seen": 1.0, "last_seen": 3.00049, "duration_s": 2.00049}
    left = record(kind=EventKind.LEFT, left_reason=LeftReason.RUN_ENDED, **times)
    assert (left["reason"], left["first_seen"], left["last_seen"], left["duration_s"]) == ("run_ended", 1.0, 3.0, 2.0)
    assert "previous_name" not in left and "previous_visit" not in left


def test_live_visits_have_dates_and_those_of_recordings_have_positions():
    times = {"kind": EventKind.LEFT, "first_seen": 1_800_000_000.25, "last_seen": 1_800_000_001.75, "duration_s": 1.5}
    live, recorded = record(position=None, **times), record(**times)
    assert (live["first_seen"], live["last_seen"]) == ("2027-01-15T08:00:00.250Z", "2027-01-15T08:00:01.750Z")
    assert (recorded["first_seen"], recorded["last_seen"]) == (1_800_000_000.25, 1_800_000_001.75)
    assert live["duration_s"] == recorded["duration_s"] == 1.5


def test_events_of_sources_have_no_face():
    common = {"schema": SCHEMA, "channel": "front", "time": "2027-01-15T08:00:00.250Z"}
    lost = SourceEvent(1, EventKind.SOURCE_LOST, "front", 1_800_000_000.25, error="connection refused")
    back = SourceEvent(2, EventKind.SOURCE_BACK, "front", 1_800_000_000.25, lost_s=61.20049)
    assert lost.as_json() == {**common, "sequence": 1, "event": "source_lost", "error": "connection refused"}
    assert back.as_json() == {**common, "sequence": 2, "event": "source_back", "lost_s": 61.2}


def test_the_file_is_a_field_only_for_pictures():
    assert "file" not in record()
    assert record(file="photos/1.jpg", position=None)["file"] == "photos/1.jpg"


def test_attributes_are_fields_only_where_they_were_measured():
    attributes = FaceAttributes(
        gender=Gender.FEMALE,
        age=33.62,
        mask=False,
        mask_probability=0.123456,
        no_mask_probability=0.876544,
        live_probability=0.99,
        pose=HeadPose(12.34, -5.0, 1.0),
        landmarks106=np.full((106, 2), 7.25, np.float32),
    )
    full, plain = record(attributes=attributes), record()
    assert {field: full[field] for field in full.keys() - plain.keys()} == {
        "gender": "female",
        "age": 33.6,
        "mask": False,
        "mask_probability": 0.1235,
        "no_mask_probability": 0.8765,
        "live": 0.99,
        "pose": {"yaw": 12.3, "pitch": -5.0, "roll": 1.0},
        "landmarks106": [[7.2, 7.2]] * 106,
    }


def test_every_field_and_reason_is_documented():
    page = Path(__file__).parents[2].joinpath("docs/events.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`([a-z_0-9]+)`", page))
    fields = {
        *record(kind=EventKind.CHANGED, file="1.jpg"),
        *record(kind=EventKind.LEFT, left_reason=LeftReason.GONE, last_seen=1.0),
        *SourceEvent(1, EventKind.SOURCE_LOST, "front", 1.0).as_json(),
        *SourceEvent(1, EventKind.SOURCE_BACK, "front", 1.0).as_json(),
    }
    assert fields <= documented
    assert {str(value) for value in (*Reason, *LeftReason, *EventKind)} <= documented
