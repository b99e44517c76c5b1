"""python -m app events."""

import contextlib
import csv
import gzip
import io
import json
import re
import sqlite3
import time

import pytest
from made_results import ANN, frame, result, track

from app.commands.events import moment
from app.events.log import EventLog
from app.events.reading import LogReader
from app.events.stream import EventStream
from app.types import ChannelCounters, ChannelState, ChannelStatus, Match, Reason

EVE = Match("Eve", Reason.MATCHED, 0.7)
NEAR_EVE = Match(None, Reason.BELOW_THRESHOLD, 0.31, nearest="Eve")
BEGIN = 1_800_000_000.0


@pytest.fixture
def log(tmp_path):
    """Ann for 3 s at the front, an unknown person for 1 s in the yard, Eve a day later, a camera lost for 40 s."""
    path = tmp_path / "visits.jsonl"
    sink, stream = EventLog(path), EventStream(visit_gap_s=5)

    def see(seconds, source, *matches):
        begin = BEGIN + 86400 if EVE in matches else BEGIN
        there = [
            track(number, match, first_seen=begin, last_seen=BEGIN + seconds) for number, match in enumerate(matches, 1)
        ]
        made = frame(source=source, captured_at=BEGIN + seconds)
        boxes = [(1, 2, 30, 40)] * len(there)
        seen = result(made, boxes, matches, there, track_ids=[one.id for one in there])
        for event in stream.handle(seen):
            sink.write(event)

    see(0, "front", ANN)
    see(3, "front", ANN)
    see(0, "yard", NEAR_EVE)
    see(1, "yard", NEAR_EVE)
    see(10, "yard")
    see(10, "front")
    for seconds, state in ((20, ChannelState.RECONNECTING), (60, ChannelState.RUNNING)):
        status = ChannelStatus("front", "address", state, ChannelCounters(), True, None, None, "front: connection lost")
        for event in stream.handle_status(status, BEGIN + seconds, BEGIN + seconds):
            sink.write(event)
    see(86400, "front", EVE)
    sink.close()
    return path


def rows(text):
    """The cells of a table below its header and line."""
    return [line.split() for line in text.splitlines()[2:]]


def records(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("view", [[], ["--visits"], ["--daily"]])
def test_a_misspelt_person_is_answered_with_the_name_that_was_meant(answered, log, view):
    code, out, err = answered("events", log, "--person", "Anm", *view)
    assert (code, out) == (0, "") and "'Ann'" in err
    code, out, err = answered("events", log, "--person", "Ann", "--since", "2030-01-01", *view)
    assert (code, out) == (0, "") and "'" not in err, "the name is right, the time is not"


def test_all_events_are_a_table(answered, log):
    code, out, err = answered("events", log)
    assert (code, err) == (0, "")
    assert [row[3] for row in rows(out)] == [
        "enter", "identified", "enter", "left", "left", "source_lost", "source_back", "enter", "identified",
    ]  # fmt: skip
    left = next(row for row in rows(out) if row[2:5] == ["yard", "left", "unknown"])
    assert left[:2] == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(BEGIN + 1)).split()
    assert "nearest Eve" in out and "connection lost" in out and "40 s" in out


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["--person", "ann"], [1, 2, 5]),
        (["--person", "Ann", "--person", "Eve"], [1, 2, 5, 8, 9]),
        (["--unknown"], [3, 4]),
        (["--unknown", "--person", "Eve"], [3, 4, 8, 9]),
        (["--channel", "yard"], [3, 4]),
        (["--kind", "left"], [4, 5]),
        (["--kind", "source_lost", "--kind", "source_back"], [6, 7]),
        (["--since", "2027-01-16"], [8, 9]),
        (["--person", "Nobody"], []),
    ],
    ids=str,
)
def test_events_are_filtered(answered, log, words, numbers, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    code, out, _ = answered("events", log, "--format", "json", *words)
    assert (code, [record["sequence"] for record in records(out)]) == (0, numbers)


@pytest.mark.parametrize("view", [[], ["--visits"]])
def test_runs_of_one_recording_are_told_apart(answered, tmp_path, view):
    path = tmp_path / "visits.jsonl"
    tables = []
    for run in range(2):
        sink, stream = EventLog(path), EventStream()
        there = [track(1, ANN, first_seen=2.0, last_seen=2.0)]
        made = frame(position=2.0, captured_at=BEGIN + 3600 * run)
        for event in [*stream.handle(result(made, [(1, 2, 30, 40)], [ANN], there, track_ids=[1])), *stream.close()]:
            sink.write(event)
        sink.close()
        tables.append(answered("events", path, *view)[1])
    first, both = map(rows, tables)
    assert [row[0] for row in both] == ["0:02.0"] * 2 * len(first)
    clocks = [time.strftime("%H:%M:%S", time.localtime(BEGIN + 3600 * run)) for run in range(2)]
    assert [row[-1] for row in both] == [clock for clock in clocks for _ in first]
    assert "processed" in tables[1] and "processed" not in tables[0]
    since = time.strftime("%Y-%m-%dT%H:%M", time.localtime(BEGIN + 1800))
    assert rows(answered("events", path, *view, "--since", since)[1]) != []


def test_json_is_the_lines_of_the_log(answered, log):
    _, out, _ = answered("events", log, "--format", "json")
    assert records(out) == [line for line in records(log.read_text(encoding="utf-8")) if line["event"] != "log"]


def test_csv_has_a_column_for_every_field(answered, log):
    _, out, _ = answered("events", log, "--format", "csv")
    written = list(csv.DictReader(io.StringIO(out)))
    fields = set().union(*records(log.read_text(encoding="utf-8"))[1:])
    assert fields - set(written[0]) == {"schema", "box"}
    assert (written[4]["event"], written[4]["name"], written[4]["duration_s"]) == ("left", "Ann", "3.0")


def test_visits_have_a_duration(answered, log):
    _, out, _ = answered("events", log, "--visits", "--format", "json")
    assert [(visit["name"], visit["channel"], visit["duration_s"], visit["ended"]) for visit in records(out)] == [
        ("Ann", "front", 3.0, "gone"),
        (None, "yard", 1.0, "gone"),
        ("Eve", "front", 0.0, None),
    ]
    _, out, _ = answered("events", log, "--visits", "--person", "Ann")
    assert [row[4:] for row in rows(out)] == [["3", "s", "front", "Ann", "gone"]]
    _, out, _ = answered("events", log, "--visits", "--format", "csv", "--unknown")
    assert [row["nearest"] for row in csv.DictReader(io.StringIO(out))] == ["Eve"]


def test_a_visit_that_has_not_ended_is_shown_without_a_duration(answered, log):
    _, out, _ = answered("events", log, "--visits", "--person", "Eve")
    assert len(rows(out)) == 1
    assert not re.search(r"\d+ s", out)


def test_a_day_is_summarised_by_person(answered, log):
    _, out, _ = answered("events", log, "--daily", "--format", "json")
    assert [(day["name"], day["visits"], day["total_s"]) for day in records(out)] == [
        ("Ann", 1, 3.0),
        (None, 1, 1.0),
        ("Eve", 1, 0.0),
    ]
    _, out, _ = answered("events", log, "--daily")
    assert [row[1] for row in rows(out)] == ["Ann", "unknown", "Eve"]


def test_missing_and_damaged_lines_give_a_warning_and_exit_code_1(answered, log):
    lines = log.read_bytes().splitlines(keepends=True)
    del lines[2]
    lines[5] = lines[5][:50] + b"\n"
    log.write_bytes(b"".join(lines))
    code, _, err = answered("events", log)
    assert code == 1
    assert "1 damaged line" in err and "2 events missing" in err


def test_a_name_cannot_command_the_terminal(answered, tmp_path):
    sink = EventLog(tmp_path / "e.jsonl")
    for event in EventStream().handle(result(tracks=[track(1, Match("Eve\x1b[2J\nforged", Reason.MATCHED, 0.7))])):
        sink.write(event)
    sink.close()
    _, out, _ = answered("events", tmp_path / "e.jsonl")
    assert "\x1b" not in out and len(out.splitlines()) == 4


@pytest.mark.parametrize(
    "words",
    [
        ["missing.jsonl"],
        ["LOG", "--visits", "--kind", "left"],
        ["LOG", "--daily", "-f"],
        ["LOG", "--sqlite", "x.db", "--person", "Ann"],
        ["LOG", "--visits", "--daily"],
        ["LOG", "--since", "soon"],
        ["LOG", "--kind", "leave"],
        ["--config", "LOG"],
    ],
    ids=str,
)
def test_mistakes_have_exit_code_2(answered, log, words):
    code, out, err = answered("events", *(str(log) if word == "LOG" else word for word in words))
    assert (code, out) == (2, "") and err


def test_an_index_for_sql_is_made_and_replaced(answered, log, tmp_path):
    index = tmp_path / "visits.db"
    for _ in range(2):
        code, out, _ = answered("events", log, "--sqlite", index)
        assert code == 0 and "9 events" in out and "3 visits" in out
    with contextlib.closing(sqlite3.connect(str(index))) as database:
        assert database.execute("SELECT sequence FROM events").fetchall() == [(number,) for number in range(1, 10)]
        (content,) = database.execute("SELECT json FROM events WHERE event = 'left' AND name = 'Ann'").fetchone()
        assert json.loads(content)["box"] == [10, 21, 30, 40]
        total = "SELECT name, sum(duration_s) FROM visits GROUP BY name ORDER BY name"
        assert database.execute(total).fetchall() == [(None, 1.0), ("Ann", 3.0), ("Eve", 0.0)]
    assert {path.name for path in tmp_path.iterdir()} >= {"visits.db", "visits.jsonl"}
    assert not list(tmp_path.glob(".*.part"))


def test_an_index_does_not_replace_another_file(answered, log):
    before = log.read_bytes()
    code, _, err = answered("events", log, "--sqlite", log)
    assert code == 2 and log.name in err
    assert log.read_bytes() == before
    assert answered("events", log, "--sqlite", log.parent / "no" / "visits.db")[0] == 2


def test_a_name_that_is_not_text_is_no_problem_for_the_index(answered, tmp_path):
    sink = EventLog(tmp_path / "e.jsonl")
    for event in EventStream().handle(result(tracks=[track(1, Match("\udce9", Reason.MATCHED, 0.7))])):
        sink.write(event)
    sink.close()
    assert answered("events", tmp_path / "e.jsonl", "--sqlite", tmp_path / "e.db")[0] == 0


def test_without_a_file_the_log_of_the_settings_is_read(answered, log, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("output:\n  events: log/visits-{date}.jsonl\n", encoding="utf-8")
    code, _, err = answered("events", "--config", config)
    assert code == 2 and "visits-{date}.jsonl" in err
    (tmp_path / "log").mkdir()
    content = log.read_bytes()
    (tmp_path / "log" / "visits-2027-01-15.jsonl").write_bytes(content)
    (tmp_path / "log" / "visits-2027-01-14.jsonl.1.gz").write_bytes(
        gzip.compress(content.replace(b'"after": 0', b'"after": 1', 1))
    )
    (tmp_path / "log" / "visits-door.jsonl").write_text("another file", encoding="utf-8")
    code, out, _ = answered("events", "--config", config, "--format", "json", "--kind", "source_lost")
    assert (code, len(records(out))) == (0, 2)
    config.write_text("run:\n  max_frames: 1\n", encoding="utf-8")
    code, _, err = answered("events", "--config", config)
    assert code == 2 and "output.events" in err


def test_following_ends_with_ctrl_c(answered, log, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    follow = LogReader.follow
    monkeypatch.setattr(LogReader, "follow", lambda reader: follow(reader, interrupt))
    code, out, _ = answered("events", log, "-f", "--kind", "left")
    assert code == 0
    assert [line.split()[3] for line in out.splitlines()] == ["left", "left"]


def test_local_times(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)  # 2027-01-15 09:00 in Berlin
    assert moment("09:00") == moment("2027-01-15T09:00") == moment("2027-01-15 09:00:00") == 1_800_000_000.0
    assert moment("today") == moment("2027-01-15") == 1_800_000_000.0 - 9 * 3600
    assert moment("yesterday") == moment("2027-01-14")
    assert [moment(text) - 1_800_000_000.0 for text in ("90m", "2h", "3d")] == [-5400, -7200, -259200]


@pytest.fixture(autouse=True)
def local_time_as_before(monkeypatch):
    yield
    monkeypatch.undo()  # or it would read the time zone of the test once more
    time.tzset()
