"""The event log: every run appends to it, and neither crashes nor rotation lose or repeat a line."""

import contextlib
import json
import logging
import os
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import ANN, STRANGER, frame, result, track

from app import __version__
from app.errors import OutputError
from app.events.event import SCHEMA, EventKind, RelabelEvent
from app.events.history import read_history, records
from app.events.log import EventLog
from app.events.reading import LogReader
from app.events.sqlite import write_index
from app.events.stream import EventStream
from app.events.visits import visits
from app.types import Match, Reason

NOON = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))
DAY_S = 86400


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def events_in(*paths):
    return [line for path in paths for line in lines_of(path) if line["event"] != "log"]


def numbers(*paths):
    return [event["sequence"] for event in events_in(*paths)]


class Writer:
    """A run that writes to a log; `visit` writes three events."""

    def __init__(self, path, **options):
        self.log = EventLog(path, **options)
        self.stream = EventStream(self.log.sequence)
        self.track = 0

    def write(self, events):
        for event in events:
            self.log.write(event)

    def enter(self, match=ANN):
        self.track += 1
        self.write(self.stream.handle(result(frame(self.track), tracks=[track(self.track, match)])))

    def leave(self):
        self.write(self.stream.handle(result(frame(self.track + 1))))

    def visit(self, match=ANN):
        self.enter(match)
        self.leave()

    def end(self):
        self.write(self.stream.close())
        self.log.close()

    def kill(self):
        self.log._file.close()


def events_for(*matches):
    """Enter and identified, for each face."""
    tracks = [track(number, match) for number, match in enumerate(matches, 1)]
    return EventStream().handle(result(frame(), tracks=tracks))


def test_every_event_is_one_line_in_the_file_at_once_after_a_header(tmp_path):
    path = tmp_path / "e.jsonl"
    log = EventLog(path, clock=lambda: 1_800_000_000.25)
    events = events_for(Match("张伟 José", Reason.MATCHED, 0.5))
    for count, event in enumerate(events, 1):
        log.write(event)
        header, *lines = lines_of(path)
        assert lines == [written.as_json() for written in events[:count]]
    assert header.pop("log")
    assert header == {
        "event": "log",
        "schema": SCHEMA,
        "program": __version__,
        "time": "2027-01-15T08:00:00.250Z",
        "after": 0,
        "open": [],
    }
    assert "张伟 José" in path.read_text(encoding="utf-8")
    log.close()


def test_a_name_that_is_not_text_does_not_break_the_log(tmp_path):
    log = EventLog(tmp_path / "e.jsonl")
    log.write(events_for(Match("\udce9", Reason.MATCHED, 0.5))[0])
    log.close()
    assert events_in(tmp_path / "e.jsonl")[0]["name"] == "\udce9"


def test_the_next_run_appends_and_continues_the_numbers(tmp_path):
    path = tmp_path / "new" / "e.jsonl"
    for _ in range(3):
        run = Writer(path)
        run.visit()
        run.end()
    assert numbers(path) == list(range(1, 10))
    headers = [line for line in lines_of(path) if line["event"] == "log"]
    assert [header["after"] for header in headers] == [0, 3, 6]
    assert len({header["log"] for header in headers}) == 1


def test_visits_of_a_run_that_was_killed_are_closed_by_the_next_one(tmp_path, caplog):
    path = tmp_path / "e.jsonl"
    run = Writer(path)
    run.visit()
    ann, eve = track(7, ANN, (1, 2, 3, 4), first_seen=1.8e9), track(8, STRANGER, first_seen=1.8e9)
    run.write(run.stream.handle(result(frame(50), tracks=[ann, eve])))
    run.kill()
    Writer(path).kill()
    *_, header, first, second = lines_of(path)
    assert (header["after"], [visit["track"] for visit in header["open"]]) == (6, [7, 8])
    assert (first["sequence"], first["event"], first["reason"], first["name"]) == (7, "left", "restart", "Ann")
    assert (first["frame"], first["time"], first["box"]) == (50, "2027-01-15T08:00:02.000Z", [1, 2, 3, 4])
    assert (first["first_seen"], first["last_seen"]) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:00:02.000Z")
    assert first["duration_s"] == 2.0 and "previous_name" not in first
    assert (second["sequence"], second["track"], second["name"]) == (8, 8, None)
    assert len([record for record in caplog.records if "closed 2 visits" in record.getMessage()]) == 1
    Writer(path).enter()
    assert numbers(path) == list(range(1, 11)), "they are closed once"


def test_visits_in_a_recording_have_positions(tmp_path):
    path = tmp_path / "e.jsonl"
    run = Writer(path)
    run.write(run.stream.handle(result(frame(9, position=3.6), tracks=[track(1, ANN, first_seen=0.5)])))
    run.kill()
    Writer(path).kill()
    left = events_in(path)[-1]
    assert (left["first_seen"], left["last_seen"], left["duration_s"]) == (0.5, 3.6, 3.1)


@pytest.mark.parametrize("size", [1, 30, 200])
def test_an_incomplete_last_line_is_removed_and_reported_once(tmp_path, caplog, size):
    path = tmp_path / "e.jsonl"
    run = Writer(path)
    run.visit()
    run.kill()
    with path.open("ab") as file:
        file.write(json.dumps(events_for(ANN)[0].as_json()).encode()[:size])
    for _ in range(2):
        run = Writer(path)
        run.visit()
        run.kill()
    assert numbers(path) == list(range(1, 10))
    assert len([record for record in caplog.records if "incomplete last line" in record.getMessage()]) == 1


def test_zeros_after_a_power_failure_are_removed(tmp_path):
    path = tmp_path / "e.jsonl"
    Writer(path).visit()
    with path.open("ab") as file:
        file.write(b"\0" * 100_000)
    Writer(path).visit()
    assert numbers(path) == [1, 2, 3, 4, 5, 6]


def test_a_last_line_that_only_lacks_its_end_is_kept(tmp_path):
    path = tmp_path / "e.jsonl"
    Writer(path).visit()
    path.write_bytes(path.read_bytes()[:-1])
    Writer(path).visit()
    assert numbers(path) == [1, 2, 3, 4, 5, 6]


def test_a_header_that_was_cut_off_is_written_again(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'{"event')
    Writer(path).visit()
    assert numbers(path) == [1, 2, 3]


def test_a_log_of_an_older_version_is_continued(tmp_path):
    path = tmp_path / "e.jsonl"
    old = {"schema": 2, "sequence": 41, "event": "enter", "channel": "door", "frame": 3, "position": None}
    old.update(time="2026-11-29T18:04:09.120Z", track=7, name="Ann", box=[1, 2, 3, 4], reason="matched")
    path.write_text(json.dumps(old) + "\n", encoding="utf-8")
    Writer(path).enter()
    assert numbers(path) == [41, 42, 43]


def test_a_file_that_is_no_event_log_is_refused_and_stays_as_it_is(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear Ann", encoding="utf-8")
    with pytest.raises(OutputError, match=r"letter\.txt.*another name"):
        EventLog(path)
    assert path.read_text(encoding="utf-8") == "Dear Ann"


@pytest.mark.parametrize(
    "line", ['{"event": "note"}', '{"event": "enter", "sequence": 2, "channel": "door", "track": 1}', '{"event": 1}']
)
def test_a_line_that_is_no_event_is_reported_and_ignored(tmp_path, caplog, line):
    path = tmp_path / "e.jsonl"
    first = Writer(path)
    first.visit()
    first.end()
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    assert EventLog(path).sequence == 3
    assert [line in record.getMessage().replace("'", '"') for record in caplog.records] == [True]


def test_two_runs_never_write_the_same_log(tmp_path):
    path = tmp_path / "e.jsonl"
    run = Writer(path)
    run.visit()
    with pytest.raises(OutputError, match=r"e\.jsonl.*another run"):
        EventLog(path)
    assert numbers(path) == [1, 2, 3]
    run.end()
    Writer(path).end()


def test_a_log_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "e.jsonl", tmp_path / "folder"):
        with pytest.raises(OutputError, match=path.name):
            EventLog(path)


def test_a_restart_reads_no_more_than_what_follows_the_last_header(tmp_path, monkeypatch):
    monkeypatch.setattr("app.events.log.HEADER_EVERY", 5)
    path = tmp_path / "e.jsonl"
    run = Writer(path)
    run.enter()
    for _ in range(4):
        run.visit()
    run.kill()
    assert [line["event"] == "log" for line in lines_of(path)].count(True) == 4
    assert lines_of(path)[6]["after"] == 5
    content = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(
        content[0] + b"".join(b"#" * len(line[:-1]) + b"\n" for line in content[1:6]) + b"".join(content[6:])
    )
    Writer(path).visit()
    assert numbers_of(path) == list(range(6, 19))


def numbers_of(path):
    """Of a file with damaged lines."""
    return [line["sequence"] for line in records(path.read_bytes().splitlines()) if line["event"] != "log"]


# Whatever the file holds.

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats()
    | st.sampled_from(["log", "left", "enter", "2026-11-29"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
FIELDS = ["event", "schema", "sequence", "time", "track", "channel", "open", "log", "after", "position", "first_seen"]


@given(st.data())
def test_no_line_that_was_changed_by_others_stops_a_run(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("log") / "e.jsonl"
    run = Writer(path)
    run.visit()
    run.enter(STRANGER)
    run.kill()
    lines = lines_of(path)
    line = data.draw(st.sampled_from([*lines[1:], lines[0]]))
    line.update(data.draw(st.dictionaries(st.sampled_from([*line, *FIELDS]), VALUES, max_size=3)))
    for field in data.draw(st.sets(st.sampled_from(list(line)), max_size=3)):
        del line[field]
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
        file.write(data.draw(st.sampled_from(["", "null\n", "[]\n", "[" * 5000 + "\n", "\0\n"])))
    try:
        run = Writer(path)
    except OutputError:
        assert not path.read_bytes().startswith((b'{"event": "log"', b'{"schema"'))
        return
    run.visit()
    run.kill()
    sound = list(records(path.read_bytes().splitlines()))
    assert read_history(path) == run.log._history
    list(visits(sound))
    new = [record["sequence"] for record in sound[-3:]]
    assert new == [new[0], new[0] + 1, new[0] + 2]


@given(st.lists(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([ANN, STRANGER])), max_size=3), max_size=8))
def test_reading_a_log_gives_the_state_that_its_writer_had(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("log") / "e.jsonl"
    run = Writer(path)
    for number, step in enumerate(steps):
        there = [track(at, match) for at, match in dict(step).items()]
        run.write(run.stream.handle(result(frame(number), tracks=there)))
        assert read_history(path) == run.log._history
        assert len(run.log._history.visits) == len(there)
    run.kill()


# Rotation.


def test_a_file_that_logrotate_renamed_is_continued_under_the_old_name(tmp_path):
    path = tmp_path / "e.jsonl"
    run = Writer(path)
    run.enter()
    path.rename(tmp_path / "e.jsonl.1")
    run.leave()
    run.visit()
    assert numbers(tmp_path / "e.jsonl.1") == [1, 2] and numbers(path) == [3, 4, 5, 6]
    header = lines_of(path)[0]
    assert (header["after"], header["log"]) == (2, lines_of(tmp_path / "e.jsonl.1")[0]["log"])
    assert [visit["name"] for visit in header["open"]] == ["Ann"]


def test_a_file_that_logrotate_truncated_begins_again_with_a_header(tmp_path):
    path = tmp_path / "e.jsonl"
    run = Writer(path)
    run.visit()
    os.truncate(path, 0)
    run.visit()
    assert b"\0" not in path.read_bytes()
    assert (lines_of(path)[0]["after"], numbers(path)) == (3, [4, 5, 6])


def test_a_file_that_was_deleted_is_made_again(tmp_path):
    path = tmp_path / "e.jsonl"
    run = Writer(path)
    run.visit()
    path.unlink()
    run.visit()
    assert numbers(path) == [4, 5, 6]


def test_while_the_folder_is_away_events_are_kept(tmp_path):
    path = tmp_path / "drive" / "e.jsonl"
    run = Writer(path)
    run.visit()
    path.parent.rename(tmp_path / "away")
    (event,) = run.stream.handle(result(frame(9), tracks=[track(9)]))
    for _ in range(2):
        with pytest.raises(OutputError, match="No such file"):
            run.log.write(event)
    path.parent.mkdir()
    run.log.write(event)
    assert numbers(tmp_path / "away" / "e.jsonl", path) == [1, 2, 3, 4]


def test_with_a_date_in_its_name_the_log_continues_in_a_new_file_at_midnight(tmp_path):
    now = [NOON]
    run = Writer(tmp_path / "e-{date}.jsonl", clock=lambda: now[0])
    run.enter()
    now[0] += DAY_S
    run.leave()
    assert run.log.path == tmp_path / "e-2026-11-22.jsonl"
    assert numbers(tmp_path / "e-2026-11-21.jsonl") == [1, 2]
    assert numbers(tmp_path / "e-2026-11-22.jsonl") == [3]


def test_a_run_on_the_next_day_continues_the_numbers_and_closes_the_visits(tmp_path):
    run = Writer(tmp_path / "e-{date}.jsonl", clock=lambda: NOON)
    run.enter()
    run.kill()
    (tmp_path / "e-door-2026-11-21.jsonl").write_text("the log of another run\n", encoding="utf-8")
    Writer(tmp_path / "e-{date}.jsonl", clock=lambda: NOON + DAY_S).enter()
    first, second = events_in(tmp_path / "e-2026-11-22.jsonl")[:2]
    assert (first["sequence"], first["event"], first["reason"]) == (3, "left", "restart")
    assert (second["sequence"], second["event"]) == (4, "enter")


def test_the_log_of_the_day_before_is_in_use_while_its_run_is(tmp_path):
    run = Writer(tmp_path / "e-{date}.jsonl", clock=lambda: NOON)
    with pytest.raises(OutputError, match=r"e-2026-11-21\.jsonl.*another run"):
        Writer(tmp_path / "e-{date}.jsonl", clock=lambda: NOON + DAY_S)
    run.kill()


def test_a_log_that_is_full_is_renamed_and_nothing_is_lost(tmp_path):
    path = tmp_path / "e.jsonl"
    run = Writer(path, max_bytes=2500, clock=lambda: 1_800_000_000.0)
    for _ in range(6):
        run.visit()
    run.end()
    names = ["e-20270115T080000Z.jsonl", *(f"e-20270115T080000Z-{number}.jsonl" for number in range(2, 9))]
    files = [tmp_path / name for name in names if (tmp_path / name).exists()] + [path]
    assert len(files) > 2 and numbers(*files) == list(range(1, 19))
    assert all(file.stat().st_size <= 2500 and lines_of(file)[0]["event"] == "log" for file in files)
    path.unlink()
    Writer(path).visit()
    assert numbers(path)[0] > 10, "the newest of the renamed files is continued"


def test_a_limit_smaller_than_a_line_does_not_lose_anything(tmp_path):
    run = Writer(tmp_path / "e.jsonl", max_bytes=1)
    run.visit()
    assert sorted(numbers(*tmp_path.iterdir())) == [1, 2, 3]


# On the disk.


@pytest.fixture
def synced(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", calls.append)
    return calls


@pytest.mark.parametrize(("sync", "after_write", "after_close"), [("event", 2, 2), ("second", 0, 1), ("never", 0, 0)])
def test_how_soon_lines_are_on_the_disk_is_a_setting(tmp_path, synced, sync, after_write, after_close):
    log = EventLog(tmp_path / "e.jsonl", sync=sync)
    for event in events_for(ANN):
        log.write(event)
    assert len(synced) == after_write
    log.close()
    assert len(synced) == after_close


def test_once_a_second_without_an_event(tmp_path, synced, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log = EventLog(tmp_path / "e.jsonl", sync="second")
    log.write(events_for(ANN)[0])
    now[0] += 0.75
    assert log.idle() == 0.25 and not synced
    now[0] += 0.25
    assert log.idle() is None and len(synced) == 1
    assert log.idle() is None and len(synced) == 1


class FullDisk:
    """A file that takes only so many bytes, until there is room again."""

    def __init__(self, file, room):
        self._file = file
        self.room = room

    def write(self, content):
        if not self.room:
            raise OSError(28, "No space left on device")
        written = self._file.write(content[: self.room])
        self.room -= written
        return written

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def fileno(self):
        return self._file.fileno()


@pytest.mark.parametrize("rotated", [False, True])
def test_a_line_that_a_full_disk_cut_in_half_is_completed_when_there_is_room_again(tmp_path, rotated):
    path, failures = tmp_path / "e.jsonl", 0
    log = EventLog(path)
    disk = log._file = FullDisk(log._file, room=500)
    for event in events_for(ANN, ANN, ANN):
        while True:
            try:
                log.write(event)
                break
            except OutputError:
                failures += 1
                disk.room = 500
                if rotated and failures == 1:
                    path.rename(tmp_path / "old.jsonl")
    log.close()
    assert failures == 1 if rotated else failures > 1
    if rotated:
        whole, torn = (tmp_path / "old.jsonl").read_bytes().rsplit(b"\n", 1)
        (tmp_path / "old.jsonl").write_bytes(whole + b"\n")
        assert torn and numbers(tmp_path / "old.jsonl", path) == [1, 2, 3, 4, 5, 6]
    else:
        assert numbers(path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_disk_that_is_full_at_the_start_does_not_prevent_the_run(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    path = tmp_path / "e.jsonl"
    monkeypatch.setattr(
        "app.events.log.open_locked", lambda opened, **options: FullDisk(opened.open("ab+", buffering=0), 0)
    )
    monkeypatch.setattr(FullDisk, "seek", lambda self, *at: self._file.seek(*at), raising=False)
    monkeypatch.setattr(FullDisk, "read", lambda self, size: self._file.read(size), raising=False)
    run = Writer(path)
    assert "No space left" in caplog.text
    run.log._file.room = 10_000
    run.visit()
    assert numbers(path) == [1, 2, 3]


def test_an_index_that_is_made_twice_at_once_is_whole(tmp_path):
    """The second one begins while the first is being made."""
    path, log = tmp_path / "e.db", EventLog(tmp_path / "e.jsonl")
    log.close()
    lines = list(LogReader([tmp_path / "e.jsonl"]).read())

    def slowly():
        yield from lines
        write_index(path, lines)

    assert write_index(path, slowly()) == (0, 0)
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (0,)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["e.db", "e.jsonl"]


def test_a_log_that_another_program_writes_leaves_no_empty_file(tmp_path):
    """With the time in its name, each attempt would make another one."""
    running = EventLog(tmp_path / "e-{time}.jsonl", clock=lambda: NOON)
    for seconds in (1, 2):
        with pytest.raises(OutputError, match="another run"):
            EventLog(tmp_path / "e-{time}.jsonl", clock=lambda seconds=seconds: NOON + seconds)
    running.close()
    assert list(tmp_path.iterdir()) == [running.path]


def test_numbers_go_on_when_the_clock_is_set_back_over_midnight(tmp_path):
    """As on a machine without a battery: after a power failure its clock goes on from some time before."""
    template, now = tmp_path / "e-{date}.jsonl", [NOON]

    def visits_of_a_run():
        log = EventLog(template, clock=lambda: now[0])
        log.write(RelabelEvent(log.last + 1, EventKind.RELABEL, "", now[0], "stranger-7", "Eve"))
        return log

    first = visits_of_a_run()
    now[0] += DAY_S
    first.write(RelabelEvent(2, EventKind.RELABEL, "", now[0], "stranger-7", "Ann"))
    first.close()
    now[0] -= DAY_S
    second = visits_of_a_run()
    assert (second.sequence, second.id) == (2, first.id)
    now[0] += 2 * DAY_S
    second.write(RelabelEvent(4, EventKind.RELABEL, "", now[0], "stranger-7", "Ann"))
    now[0] -= DAY_S
    second.write(RelabelEvent(5, EventKind.RELABEL, "", now[0], "stranger-7", "Eve"))
    second.close()
    days = ["2026-11-21", "2026-11-22", "2026-11-23"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"e-{day}.jsonl" for day in days]
    reader = LogReader.of_log(template)
    assert [record["sequence"] for record in reader.read() if "sequence" in record] == [1, 2, 3, 4, 5]
    assert reader.missing == 0
