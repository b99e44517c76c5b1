"""docs/events.schema.json describes the lines of a log. Those of whole runs are checked in tests/end_to_end."""

import dataclasses
import json

import numpy as np
import pytest
from json_schema import SCHEMA, errors, require_event
from made_results import ANN, STRANGER, frame, result, track

from app.events.event import SCHEMA as VERSION
from app.events.event import EventKind, LeftReason, RelabelEvent
from app.events.log import EventLog
from app.events.stream import EventStream
from app.types import ChannelCounters, ChannelState, ChannelStatus, FaceAttributes, Gender, HeadPose, Match, Reason

EVE = Match("Eve", Reason.MATCHED, 0.7)
PHOTO_REASONS = {
    Reason.USED,
    Reason.MAIN_FACE_USED,
    Reason.SEVERAL_FACES,
    Reason.NO_FACE,
    Reason.UNREADABLE,
    Reason.ALREADY_ENROLLED,
    Reason.OTHER_PERSONS_PHOTO,
}
ATTRIBUTES = FaceAttributes(
    gender=Gender.MALE, age=33.6, mask=False, mask_probability=0.1, no_mask_probability=0.9, live_probability=0.9,
    pose=HeadPose(1.0, 2.0, 3.0), landmarks106=np.zeros((106, 2), np.float32),
)  # fmt: skip
LOST = ChannelStatus("front", "address", ChannelState.RECONNECTING, ChannelCounters(), True, None, None, "lost")
DEFINITIONS = SCHEMA["$defs"]


@pytest.fixture
def lines(tmp_path):
    """A log with every kind of event, of a recording, of pictures and of a live source, and of a killed run."""
    path = tmp_path / "e.jsonl"
    for _ in range(2):
        log = EventLog(path)
        stream = EventStream(log.sequence)
        full = dataclasses.replace(track(1, ANN), attributes=ATTRIBUTES)
        steps = [
            stream.handle(result(frame(), tracks=[full, track(2, STRANGER)])),
            stream.handle(result(frame(1), tracks=[full])),
            stream.handle(result(frame(2), [full.box], [EVE], [dataclasses.replace(full, match=EVE)], track_ids=[1])),
            stream.handle(result(frame(3), tracks=[dataclasses.replace(track(3), stranger="stranger-1")])),
            stream.handle_status(LOST, 1.9e9, 1.9e9),
            stream.handle_status(dataclasses.replace(LOST, state=ChannelState.RUNNING), 1.9e9 + 1, 1.9e9 + 1),
            stream.handle(result(frame(source="tape", position=1.0), tracks=[track(1, ANN)])),
            stream.handle(result(frame(source="album", continues=False, file="1.jpg"), tracks=[track(1, ANN)])),
        ]
        for event in (event for step in steps for event in step):
            log.write(event)
        log.write(stream.level(2, "longer_interval", 1, 1.9e9))
        log.write(RelabelEvent(event.sequence + 2, EventKind.RELABEL, "", 1.9e9, "stranger-1", "Eva"))
        log.write(RelabelEvent.of(event.sequence + 3, 1.9e9, "visit-1", "stranger-2"))
        log._file.close()
    EventLog(path).close()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_line_conforms(lines):
    for line in lines:
        require_event(line)
    assert {line["event"] for line in lines} == {"log", *map(str, EventKind)}
    assert {line.get("reason") for line in lines} >= {"restart", "source_lost", "gone"}


def test_a_line_that_does_not_conform_is_noticed(lines):
    left = next(line for line in lines if line["event"] == "left")
    wrong = [
        {"event": "gone"}, {"schema": VERSION + 1}, {"sequence": 0}, {"sequence": 1.5}, {"sequence": True},
        {"time": "2026-11-29 18:04:09"}, {"box": [1, 2, 3]}, {"reason": "matched"}, {"name": 7}, {"duration_s": -1},
        {"first_seen": None},
    ]  # fmt: skip
    for change in wrong:
        assert [*errors({**left, **change}, SCHEMA)], change
    for field in left:
        if field not in ("file", "gender"):
            assert [*errors({name: left[name] for name in left if name != field}, SCHEMA)], field


def test_the_schema_knows_every_kind_and_reason():
    assert DEFINITIONS["event"]["properties"]["schema"] == {"const": VERSION}
    assert {part["$ref"].rpartition("/")[2] for part in SCHEMA["oneOf"]} == {"log", *map(str, EventKind)}
    assert set(DEFINITIONS["match_reason"]["enum"]) == {str(reason) for reason in set(Reason) - PHOTO_REASONS}
    assert set(DEFINITIONS["left"]["properties"]["reason"]["enum"]) == set(map(str, LeftReason))
