"""The event log: who came, who it was, who went."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from made_results import ANN, STRANGER, frame, result, track

from app.errors import OutputError
from app.events.log import EventLog, changes
from app.output.outputs import OutputThread
from app.types import NOT_COMPARED_YET, FaceAttributes, Gender, HeadPose, Match, Reason


def told(previous, current):
    return [(change.event, change.track.id, change.previous_name) for change in changes(previous, current)]


def log_of(path, results):
    log = EventLog(path)
    for handed in results:
        log.handle(handed)
    log.close()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_nothing_new_makes_no_event():
    assert told([track(1, ANN)], [track(1, ANN)]) == []


def test_a_new_track_enters():
    assert told([], [track(1)]) == [("enter", 1, None)]


def test_a_track_that_comes_with_a_name_enters_and_is_identified():
    assert told([], [track(1, ANN)]) == [("enter", 1, None), ("identified", 1, None)]


def test_a_name_that_comes_changes_or_goes_is_told_with_the_one_before():
    eve = Match("Eve", Reason.MATCHED, 0.7)
    assert told([track(1)], [track(1, ANN)]) == [("identified", 1, None)]
    assert told([track(1, ANN)], [track(1, eve)]) == [("identified", 1, "Ann")]
    assert told([track(1, ANN)], [track(1)]) == [("identified", 1, "Ann")]


def test_who_left_is_told_before_who_came():
    assert told([track(1), track(2)], [track(2), track(3)]) == [("left", 1, None), ("enter", 3, None)]


def test_a_visit_is_written_as_lines_of_json(tmp_path):
    at = 1_800_000_000.25
    visit = [
        result(frame(0, position=0.0, captured_at=at)),
        result(frame(1, position=0.04, captured_at=at), tracks=[track(7, NOT_COMPARED_YET)]),
        result(frame(2, position=0.08, captured_at=at), tracks=[track(7, ANN, first_seen=0.04, last_seen=0.08)]),
        result(frame(3, position=0.12, captured_at=at), tracks=[track(7, ANN, first_seen=0.04, last_seen=0.12)]),
        result(frame(4, position=0.16, captured_at=at)),
    ]
    enter, identified, left = log_of(tmp_path / "events.jsonl", visit)
    assert enter == {
        "schema": 1,
        "sequence": 1,
        "event": "enter",
        "channel": "front",
        "frame": 1,
        "time": "2027-01-15T08:00:00.250Z",
        "position": 0.04,
        "track": 7,
        "name": None,
        "similarity": None,
        "box": [10, 21, 30, 40],
        "reason": "not_compared_yet",
    }
    assert (identified["name"], identified["previous_name"], identified["similarity"]) == ("Ann", None, 0.67)
    assert (left["event"], left["frame"], left["name"], left["reason"]) == ("left", 4, "Ann", "gone")
    assert left["duration_s"] == 0.08
    assert [event["sequence"] for event in (enter, identified, left)] == [1, 2, 3]


def test_channels_do_not_mix_though_their_track_numbers_are_the_same(tmp_path):
    events = log_of(
        tmp_path / "e.jsonl",
        [
            result(frame(0, source="front"), tracks=[track(1)]),
            result(frame(0, source="yard"), tracks=[track(1, ANN)]),
            result(frame(1, source="front"), tracks=[track(1)]),
        ],
    )
    assert [(event["channel"], event["event"]) for event in events] == [
        ("front", "enter"),
        ("yard", "enter"),
        ("yard", "identified"),
        ("front", "left"),
        ("yard", "left"),
    ]
    assert {event["reason"] for event in events if event["event"] == "left"} == {"run_ended"}


def test_every_event_is_on_disk_at_once_and_readable_while_the_run_goes_on(tmp_path):
    log = EventLog(tmp_path / "e.jsonl")
    log.handle(result(tracks=[track(1, Match("张伟 José", Reason.MATCHED, 0.5))]))
    text = (tmp_path / "e.jsonl").read_text(encoding="utf-8")
    assert text.count("\n") == 2 and "张伟 José" in text
    log.close()


def test_a_name_that_is_no_text_does_not_break_the_log(tmp_path):
    events = log_of(tmp_path / "e.jsonl", [result(tracks=[track(1, Match("\udce9", Reason.MATCHED, 0.5))])])
    assert events[0]["name"] == "\udce9"


def test_a_similarity_that_is_no_number_is_null(tmp_path):
    broken = Match(None, Reason.BELOW_THRESHOLD, float("nan"))
    assert log_of(tmp_path / "e.jsonl", [result(tracks=[track(1, broken)])])[0]["similarity"] is None
    assert log_of(tmp_path / "f.jsonl", [result(tracks=[track(1, STRANGER)])])[0]["similarity"] == 0.21


def test_an_existing_log_is_kept_unless_overwriting_is_asked_for(tmp_path):
    path = tmp_path / "new" / "e.jsonl"
    EventLog(path).close()
    path.write_text("precious\n", encoding="utf-8")
    with pytest.raises(OutputError, match="--overwrite"):
        EventLog(path)
    assert path.read_text(encoding="utf-8") == "precious\n"
    EventLog(path, overwrite=True).close()
    assert path.read_text(encoding="utf-8") == ""


def test_a_log_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        EventLog(tmp_path / "file" / "e.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_drops_the_log_and_not_the_run(caplog):
    thread = OutputThread(EventLog(Path("/dev/full"), overwrite=True))
    for i in range(5):
        thread.handle(result(frame(i, position=i / 25), tracks=[track(1)]))
    thread.close()
    assert "No space left on device" in str(thread.error)
    assert sum("is dropped" in record.getMessage() for record in caplog.records) == 1


def test_what_is_told_of_a_face_is_written_and_what_is_not_is_left_out(tmp_path):
    told = FaceAttributes(
        gender=Gender.FEMALE,
        age=33.62,
        mask=False,
        mask_probability=0.123456,
        no_mask_probability=0.876544,
        live_probability=0.99,
        pose=HeadPose(12.34, -5.0, 1.0),
        landmarks106=np.full((106, 2), 7.25, np.float32),
    )
    seen = dataclasses.replace(track(1), attributes=told)
    (enter, _) = log_of(tmp_path / "all.jsonl", [result(tracks=[seen])])
    assert {key: enter[key] for key in ("gender", "age", "mask", "live")} == {
        "gender": "female",
        "age": 33.6,
        "mask": False,
        "live": 0.99,
    }
    assert (enter["mask_probability"], enter["no_mask_probability"]) == (0.1235, 0.8765)
    assert enter["pose"] == {"yaw": 12.3, "pitch": -5.0, "roll": 1.0}
    assert enter["landmarks106"] == [[7.2, 7.2]] * 106
    (plain, _) = log_of(tmp_path / "none.jsonl", [result(tracks=[track(1)])])
    assert set(enter) - set(plain) == {
        "gender",
        "age",
        "mask",
        "mask_probability",
        "no_mask_probability",
        "live",
        "pose",
        "landmarks106",
    }
