"""A person is removed from event logs; numbers, times and other people stay."""

import dataclasses
import gzip
import io
import json
import os
import time
from pathlib import Path

import pytest
from json_schema import require_event
from made_results import ANN, STRANGER, frame, result, track

from app.errors import OutputError
from app.events.event import EventKind, RelabelEvent
from app.events.history import records
from app.events.log import EventLog
from app.events.opening import open_events
from app.events.reading import LogReader
from app.events.redaction import LockedLogs, Person, of_person, without
from app.events.stream import EventStream
from app.events.visits import visits
from app.settings import OutputSettings, Settings
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
    return sum(changed.values())


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


def named_jsonl(log):
    return [line["name"] for line in records(log.read_bytes().splitlines()) if line.get("name")]


def test_a_file_that_is_renamed_before_it_is_locked_is_cleaned_under_its_new_name(path, tmp_path, monkeypatch):
    older = tmp_path / "v.jsonl.1"
    older.write_bytes(path.read_bytes())
    list_folder, renamings = Path.glob, [older]

    def list_and_rotate(folder, pattern):
        found = list(list_folder(folder, pattern))
        if renamings:
            renamings.pop().rename(tmp_path / "v.jsonl.2")
        return found

    monkeypatch.setattr(Path, "glob", list_and_rotate)
    open_file = io.FileIO

    def open_and_rotate(name, mode):
        if name == path and path.exists() and not older.exists():
            path.rename(older)
        return open_file(name, mode)

    monkeypatch.setattr(io, "FileIO", open_and_rotate)
    redacted(path)
    left = [one for one in tmp_path.iterdir() if one.name.startswith("v.jsonl")]
    assert sorted(one.name for one in left) == ["v.jsonl.1", "v.jsonl.2"]
    assert [named_jsonl(one).count("Ann") for one in left] == [0, 0]


def test_a_log_is_refused_while_a_run_continues_it_in_a_new_file(path, tmp_path, monkeypatch):
    """The run has read who was there, and the new file is still empty."""
    refused = []
    path.rename(tmp_path / "v.jsonl.1")
    start = EventLog._start_file

    def redact_before_start(log):
        try:
            LockedLogs([path]).close()
        except OutputError:
            refused.append(log.path)
        start(log)

    monkeypatch.setattr(EventLog, "_start_file", redact_before_start)
    EventLog(path).close()
    assert refused == [path]


def test_a_file_that_is_renamed_while_it_is_cleaned_is_not_replaced(path, tmp_path):
    logs = LockedLogs([path])
    content = path.read_bytes()

    def rename(log, record):
        if not (tmp_path / "v.jsonl.1").exists():
            path.rename(tmp_path / "v.jsonl.1")
            path.write_bytes(b"the next file\n")
        return without(record, ANN_AND_SEVEN, {1})

    with pytest.raises(OutputError, match="renamed"):
        logs.replace(rename, ["Ann"])
    logs.close()
    assert path.read_bytes() == b"the next file\n" and (tmp_path / "v.jsonl.1").read_bytes() == content


def test_the_next_run_goes_on_after_the_newest_file_when_only_an_older_one_was_cleaned(path, tmp_path):
    first = EventLog(path)
    path.rename(tmp_path / "v.jsonl.2")
    first.close()
    second = EventLog(path)
    second.write(RelabelEvent(second.sequence + 1, EventKind.RELABEL, "", 1.8e9, "stranger-8", "Eve"))
    second.close()
    path.rename(tmp_path / "v.jsonl.1")
    os.utime(tmp_path / "v.jsonl.2", (1.0, 1.0))
    last = second.last
    assert redacted(path) > 0 and b"Ann" not in (tmp_path / "v.jsonl.2").read_bytes()
    third = EventLog(path)
    third.close()
    assert (third.sequence, third.id) == (last, second.id)


@pytest.mark.parametrize("is_rotated", [False, True])
def test_a_run_that_begins_while_a_person_is_removed_waits_for_it(path, tmp_path, monkeypatch, is_rotated):
    """It would end with exit code 2, after which systemd does not start it again."""
    if is_rotated:
        path.rename(tmp_path / "v.jsonl.1")
    logs = LockedLogs([path])
    slept = []

    def clean_meanwhile(seconds):
        slept.append(seconds)
        logs.replace(lambda log, record: without(record, ANN_AND_SEVEN, {1, 4}), ["Ann"])
        logs.close()

    monkeypatch.setattr(time, "sleep", clean_meanwhile)
    publisher = open_events(Settings(output=OutputSettings(events=path)))
    publisher.close()
    assert len(slept) == 1
    assert all(b"Ann" not in one.read_bytes() for one in tmp_path.glob("v.jsonl*"))
