"""A person is removed from event logs; numbers, times and other people stay."""

import dataclasses
import gzip
import json

import pytest
from json_schema import require_event
from made_results import ANN, STRANGER, frame, result, track

from app.errors import OutputError
from app.events.event import EventKind, RelabelEvent
from app.events.history import records
from app.events.log import EventLog
from app.events.reading import LogReader
from app.events.redaction import LockedLogs, Person, of_person, without
from app.events.stream import EventStream
from app.events.visits import visits
from app.types import Candidate, Match, Reason

EVE = Match("Eve", Reason.MATCHED, 0.7, nearest="Eve", photo="Eve/1.jpg", runner_up="Ann", runner_up_similarity=0.3)
NEAR = Match(
    None,
    Reason.AMBIGUOUS,
    0.5,
    candidates=(Candidate("Ann", 0.5, "Ann/1.jpg"), Candidate("Eve", 0.49, "Eve/1.jpg")),
    nearest="Ann",
    photo="Ann/1.jpg",
    runner_up="Eve",
    measured=0.01,
)


@pytest.fixture
def path(tmp_path):
    """A killed run with Ann, a face between Ann and Eve, Eve, and a stranger who was named Ann later."""
    log = EventLog(tmp_path / "v.jsonl")
    stream = EventStream(log.sequence, visit_gap_s=0.0)
    seven = dataclasses.replace(track(4, STRANGER), stranger="stranger-7")
    steps = [
        [track(1, dataclasses.replace(ANN, nearest="Ann", photo="Ann/1.jpg"))],
        [track(2, NEAR)],
        [track(3, EVE)],
        [seven],
        [seven, track(5, EVE)],
    ]
    for index, tracks in enumerate(steps):
        for event in stream.handle(result(frame(index), tracks=tracks)):
            log.write(event)
    log.write(RelabelEvent(99, EventKind.RELABEL, "", 1.8e9, "stranger-7", "Ann"))
    log._file.close()
    return tmp_path / "v.jsonl"


ANN_AND_SEVEN = Person(["Ann"], ["stranger-7"])


def redacted(path):
    logs = LockedLogs([path])
    visits = ANN_AND_SEVEN.visits(logs.records())
    changed = logs.replace(lambda log, record: without(record, ANN_AND_SEVEN, visits.get(log, ())), ["Ann"])
    logs.close()
    return changed


def test_nothing_of_the_person_is_left_and_everything_else_is(path):
    before = list(records(path.read_bytes().splitlines()))
    EventLog(path).close()  # the next run repeats open visits and names in its header
    assert redacted(path) > 0
    text = path.read_text(encoding="utf-8")
    assert "Ann" not in text and "stranger-7" not in text and "Eve" in text
    after = [json.loads(line) for line in text.splitlines()]
    for line in after:
        require_event(line)
    kept = [(line["sequence"], line["event"], line["time"]) for line in after if "sequence" in line]
    assert kept[: len(before) - 1] == [
        (one["sequence"], one["event"], one["time"]) for one in before if "sequence" in one
    ]
    names = [visit.name for visit in visits(LogReader([path]).read(), LogReader([path]).relabels())]
    assert names.count("Eve") == 2 and set(names) == {None, "Eve"}


def test_a_second_time_nothing_changes(path):
    redacted(path)
    content = path.read_bytes()
    assert redacted(path) == 0 and path.read_bytes() == content


def test_compressed_files_and_damaged_lines_are_cleaned_too(path, tmp_path):
    (tmp_path / "v.jsonl.1.gz").write_bytes(gzip.compress(path.read_bytes() + b'{"torn": "Ann\n'))
    redacted(path)
    assert b"Ann" not in gzip.decompress((tmp_path / "v.jsonl.1.gz").read_bytes())


def test_what_was_cleaned_before_an_error_is_corrected_in_the_database_too(path, tmp_path):
    (tmp_path / "v.jsonl.1.gz").write_bytes(gzip.compress(path.read_bytes()))
    log = next(records(path.read_bytes().splitlines()))["log"]
    cursors = tmp_path / f"cursors-{log}.json"
    cursors.write_text(json.dumps({"log": log, "delivered": {"postgres": 9, "kafka": 9}}))
    logs = LockedLogs([path])
    logs.paths[-1].unlink()
    with pytest.raises(OutputError):
        logs.replace(lambda log, record: without(record, ANN_AND_SEVEN, {1}), ["Ann"])
    logs.close()
    assert json.loads(cursors.read_text())["delivered"] == {"postgres": 0, "kafka": 9}


def test_a_log_that_is_being_written_is_refused(path):
    log = EventLog(path)
    with pytest.raises(OutputError, match="another run"):
        LockedLogs([path])
    log.close()


def test_the_lines_of_a_person_do_not_name_others(path):
    lines = of_person(records(path.read_bytes().splitlines()), ANN_AND_SEVEN)
    assert {line["event"] for line in lines} >= {"enter", "identified", "left", "relabel"}
    assert "Eve" not in json.dumps(lines)
