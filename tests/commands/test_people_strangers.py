"""Strangers on the command line, with the demo's portraits and the real networks."""

import csv
import json
import os
import re
import shlex
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from json_schema import require_event
from made_results import ANN, frame, result, track
from planted_visits import BASIS, mixed, visit
from waiting import until

from app.events.event import EventKind, RelabelEvent
from app.events.log import EventLog
from app.events.stream import EventStream
from app.gallery.stranger_journal import StrangerJournal, encoded
from app.identity.strangers import Denied, Named, Seen
from app.text import parse_time
from app.types import Match, Reason


@pytest.fixture
def gallery(tmp_path, people_gallery):
    """Collins is enrolled, Hopper is not."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    for number in (1, 2):
        shutil.copy(people_gallery / f"Eileen Collins_{number}.jpg", folder)
    return folder


@pytest.fixture
def planted(gallery):
    """Strangers that were made by hand: 1 twice, 2 once."""
    journal = StrangerJournal(gallery / ".strangers")
    visits = [
        visit("a", 0, stranger=1, first_seen=1000.0, last_seen=1010.0, crop_quality=0.5),
        visit("b", 0, stranger=1, first_seen=2000.0, last_seen=2010.0, channel="garden"),
        visit("c", 1, stranger=2, first_seen=3000.0, last_seen=3010.0),
    ]
    journal.update(lambda book: list(map(Seen, visits)))
    return journal


def book_of(gallery):
    journal = StrangerJournal(gallery / ".strangers")
    journal.refresh()
    return journal.book


def lines_of(path):
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        require_event(line)
    return lines


def files_with(folder, text):
    """The files whose content or name contains the text, compressed or not."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if text in path.name or (path.is_file() and text.encode() in path.read_bytes())
    ]


@pytest.mark.slow
def test_a_stranger_becomes_a_person_and_is_forgotten_again(
    completed, people_video, gallery, tmp_path, portraits, config_file
):
    with config_file.open("a") as file:
        file.write("output:\n  visit_snapshots: faces\n")
    run = ("--video", people_video, "--events", "v.jsonl", "--no-window")
    log, portrait = tmp_path / "v.jsonl", tmp_path / "hopper.jpg"
    cv2.imwrite(str(portrait), portraits[1].image)

    code, out, err = completed(*run)
    assert code == 0, err
    assert "stranger-1" in out and "gallery/.strangers" in err
    assert [line["stranger"] for line in lines_of(log) if line["event"] == "stranger"] == ["stranger-1"]
    listed = completed("people", "strangers")[1]
    assert listed.splitlines()[2].split()[:2] == ["stranger-1", "1"]

    searched = json.loads(completed("people", "search", portrait, "--json")[1])
    assert [found["stranger"] for found in searched["visits"]] == ["stranger-1"]

    code, out, err = completed("people", "name", "stranger-1", "Grace", "--events", "v.jsonl")
    assert code == 0, out + err
    assert (gallery / "Grace" / "stranger-1-1.jpg").is_file()
    relabel = lines_of(log)[-1]
    assert (relabel["event"], relabel["stranger"], relabel["name"]) == ("relabel", "stranger-1", "Grace")
    visits = list(csv.DictReader(completed("events", "v.jsonl", "--visits", "--format", "csv")[1].splitlines()))
    assert [one["name"] for one in visits if one["stranger"] == "stranger-1"] == ["Grace"]
    completed("events", "v.jsonl", "--sqlite", "v.db")
    assert sqlite3.connect(str(tmp_path / "v.db")).execute(
        "SELECT count(*) FROM visits WHERE name = 'Grace'"
    ).fetchone() == (1,)
    (tmp_path / "v.db").unlink()

    code, out, err = completed(*run)
    assert "Grace" in out and "stranger-" not in out, "the same person is recognised now"
    again = [line for line in lines_of(log) if line["event"] == "identified" and line["name"] == "Grace"]
    assert len(again) == 1 and again[0]["photo"].startswith("Grace/")

    code, out, err = completed("people", "export", "Grace", "data", "--events", "v.jsonl")
    assert code == 0, out + err
    data = json.loads((tmp_path / "data" / "data.json").read_text())
    assert len(data["visits"]) == 2 and len(data["photos"][0]["embedding"]) == 128 and data["events"]
    assert all(line.get("nearest") in (None, "Grace") for line in data["events"])
    shutil.rmtree(tmp_path / "data")

    assert len(list((tmp_path / "faces").iterdir())) == 6
    code, out, err = completed("people", "forget", "Grace", "--events", "v.jsonl", "--yes")
    assert code == 0, out + err
    assert files_with(tmp_path, "Grace") == [] and files_with(tmp_path, "stranger-1") == []
    assert len(list((tmp_path / "faces").iterdir())) == 4, "the pictures of both visits are deleted"
    sequences = [line["sequence"] for line in lines_of(log) if "sequence" in line]
    assert sequences == list(range(1, len(sequences) + 1)), "no number is missing"
    assert any(line.get("name") == "Eileen Collins" for line in lines_of(log))
    assert {kept.name for kept in book_of(gallery).visits.values()} == {"Eileen Collins"}
    code, _, err = completed("events", "v.jsonl", "--visits")
    assert code == 0, err
    assert json.loads(completed("people", "search", portrait, "--json")[1])["visits"] == []


def test_nothing_is_kept_where_strangers_are_off(completed, people_video, gallery):
    code, out, err = completed("--video", people_video, "--no-strangers", "--max-frames", 20)
    assert code == 0, err
    assert "stranger-" not in out + err and "strangers" not in out + err
    assert not (gallery / ".strangers").exists()


def test_no_picture_of_an_unknown_face_is_kept_where_a_person_is_covered(completed, people_video, gallery):
    code, _, err = completed("--video", people_video, "--no-window", "--cover", "Eileen Collins")
    assert code == 0, err
    assert book_of(gallery).strangers == [1] and not book_of(gallery).crops()
    assert list((gallery / ".strangers" / "crops").iterdir()) == []


@pytest.mark.slow
def test_a_name_that_was_wrong_is_denied(completed, people_video, gallery, tmp_path):
    run = ("--video", people_video, "--events", "v.jsonl", "--no-window", "--max-frames", 30)
    completed(*run)
    event = next(line for line in lines_of(tmp_path / "v.jsonl") if line.get("name") == "Eileen Collins")
    code, out, err = completed("people", "not", "Eileen Collins", event["sequence"], "--events", "v.jsonl")
    assert code == 0, out + err
    (denied,) = book_of(gallery).denied
    assert denied.name == "Eileen Collins"
    completed(*run)
    reasons = {line["why"].split()[0] for line in lines_of(tmp_path / "v.jsonl")[-8:] if "why" in line}
    assert "not_this_person" in reasons
    completed("people", "not", "Eileen Collins", event["sequence"], "--events", "v.jsonl", "--undo")
    assert book_of(gallery).denied == []


def test_taking_back_a_denial_keeps_what_a_run_stores_meanwhile(program, planted, gallery, tmp_path):
    planted.update(lambda book: [Seen(visit("m", 2)), Denied("Eileen Collins", "planted", BASIS[2], 0.0, "m")])
    log = EventLog(tmp_path / "v.jsonl")
    for event in EventStream(log.sequence).handle(result(frame(0), tracks=[track(1, ANN)])):
        log.write(event)
    log.close()
    (event,) = (line for line in lines_of(tmp_path / "v.jsonl") if line["event"] == "enter")
    seen = parse_time(event["time"])
    fields = {"channel": event["channel"], "track": event["track"], "first_seen": seen, "last_seen": seen}
    planted.update(lambda book: [Seen(visit("m", 2, **fields))])
    with planted._locked(0) as is_locked:
        assert is_locked
        words = ("people", "not", "Eileen Collins", event["sequence"], "--events", "v.jsonl", "--undo")
        command = program(*words)
        lock = str(gallery / ".strangers" / ".lock")
        opened = Path("/proc", str(command.pid), "fd")
        until(lambda: lock in map(os.path.realpath, map(str, opened.glob("*"))))
        planted._append(encoded(Seen(visit("late", 3, stranger=7))))
    assert command.wait() == 0, command.communicate()
    assert book_of(gallery).denied == [] and 7 in book_of(gallery).strangers


def test_strangers_are_listed_as_a_table_json_and_a_picture(completed, planted, tmp_path):
    planted.crops.mkdir(exist_ok=True)
    cv2.imwrite(str(planted.crops / "a.jpg"), np.full((200, 100, 3), 127, np.uint8))
    code, out, err = completed("people", "strangers", "--sheet", "sheet.png")
    assert code == 0, err
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [["stranger-1", "2"], ["stranger-2", "1"]]
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (184, 320, 3)
    first, second = map(json.loads, completed("people", "strangers", "--json")[1].splitlines())
    assert (first["stranger"], first["channels"]) == ("stranger-1", ["door", "garden"])
    assert second["first_seen"] == "1970-01-01T00:50:00.000Z"


def test_no_picture_of_no_strangers(completed, gallery, tmp_path):
    code, _, err = completed("people", "strangers", "--sheet", "sheet.png")
    assert code == 0 and "gallery/.strangers" in err and "sheet.png" not in err
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.slow
def test_a_stranger_without_a_good_picture_is_named_once_the_person_has_a_photo(completed, planted, gallery):
    planted.crops.mkdir(exist_ok=True)
    cv2.imwrite(str(planted.crops / "a.jpg"), np.full((200, 100, 3), 127, np.uint8))
    code, out, _ = completed("people", "name", "stranger-1", "Eva")
    assert code == 1 and "people add Eva PHOTO" in out and "people name stranger-1 Eva" in out
    assert completed("people", "name", "stranger-2", "Eva")[0] == 1, "has no picture at all"
    for stranger in ("stranger-1", "stranger-2"):
        code, out, err = completed("people", "name", stranger, "Eileen Collins")
        assert code == 0, out + err
    assert {kept.name for kept in book_of(gallery).visits.values()} == {"Eileen Collins"}


def test_an_ignored_stranger_is_not_listed_until_it_is_undone(completed, planted, gallery):
    assert completed("people", "ignore", "stranger-1")[0] == 0
    _, out, err = completed("people", "strangers")
    assert "stranger-1" not in out and "1 more" in err and "--all" in err
    assert "--all" not in completed("people", "strangers", "--all")[2]
    assert "ignored" in completed("people", "strangers", "--all")[1]
    assert completed("people", "ignore", "stranger-1", "--undo")[0] == 0
    assert book_of(gallery).ignored == set()


def test_strangers_are_merged_under_the_first_number(completed, planted, gallery):
    code, out, _ = completed("people", "merge", "stranger-2", "stranger-1")
    assert code == 0 and "3 visits" in out
    assert book_of(gallery).strangers == [2]
    code, _, err = completed("people", "merge", "stranger-2", "stranger-9")
    assert code == 2 and "stranger-9" in err


def test_a_stranger_who_is_two_people_is_split(completed, planted, gallery):
    planted.update(lambda book: [Seen(visit("d", 0, stranger=1, embedding=mixed(5, 0, 0.9), first_seen=5000.0))])
    code, out, _ = completed("people", "split", "stranger-1")
    assert code == 0 and "stranger-3: 1 visit" in out
    book = book_of(gallery)
    assert [kept.id for kept in book.visits_of(1)] == ["a", "b"] and [kept.id for kept in book.visits_of(3)] == ["d"]
    assert completed("people", "split", "stranger-2")[0] == 2, "it has one visit only"


def test_both_halves_of_an_ignored_stranger_stay_ignored(completed, planted, gallery):
    planted.update(lambda book: [Seen(visit("d", 0, stranger=1, embedding=mixed(5, 0, 0.9), first_seen=5000.0))])
    completed("people", "ignore", "stranger-1")
    code, out, err = completed("people", "split", "stranger-1")
    assert code == 0 and "stranger-3: 1 visit" in out, out + err
    assert book_of(gallery).ignored == {1, 3}


def test_the_face_of_a_run_that_kept_none_cannot_be_denied(completed, planted, tmp_path):
    log = EventLog(tmp_path / "v.jsonl")
    for event in EventStream(log.sequence).handle(result(frame(0), tracks=[track(1, ANN)])):
        log.write(event)
    log.close()
    code, _, err = completed("people", "not", "Eileen Collins", 1, "--events", "v.jsonl")
    assert code == 2 and "--cover strangers" in err and "--no-strangers" in err


@pytest.mark.parametrize(
    "words, message",
    [
        (("name", "stranger-9", "Eva"), "no stranger-9"),
        (("name", "Eva", "Eva"), "such as stranger-7"),
        (("ignore", "stranger-3"), "is Max already"),
        (("forget", "Nobody", "--yes"), "nothing is stored"),
        (("forget", "stranger-9", "--yes"), "nothing is stored"),
        (("export", "Nobody", "out"), "nothing is stored"),
        (("not", "Nobody", "1"), "no person called"),
        (("not", "Eileen Collins", "1"), "events FILE"),
        (("not", "Eileen Collins", "1", "--events", "gone.jsonl"), "no event log gone.jsonl"),
    ],
)
def test_mistakes_are_explained(completed, planted, words, message):
    planted.update(lambda book: [Seen(visit("m", 2, stranger=3)), Named(3, "Max")])
    code, _, err = completed("people", *words)
    assert code == 2 and message in err


def test_an_event_that_is_not_in_the_log_is_answered_with_the_command_that_lists_them(completed, planted, tmp_path):
    EventLog(tmp_path / "my visits.jsonl").close()
    code, _, err = completed("people", "not", "Eileen Collins", "99", "--events", "my visits.jsonl")
    listing = re.search(r"-m app (.* events .*)$", err, re.MULTILINE)
    assert code == 2 and "no event 99" in err
    assert completed(*shlex.split(listing[1]))[0] == 0


def test_nothing_is_forgotten_if_the_named_log_does_not_exist(completed, planted, gallery):
    before = sorted(gallery.iterdir())
    code, out, err = completed("people", "forget", "Eileen Collins", "--events", "nosuch.jsonl", "--yes")
    assert code == 2 and "nosuch.jsonl" in err and out == ""
    assert sorted(gallery.iterdir()) == before and before


def test_forgetting_waits_for_confirmation_and_refuses_a_log_that_is_being_written(
    completed, planted, gallery, tmp_path
):
    code, _, err = completed("people", "forget", "stranger-1")
    assert code == 2 and "--yes" in err
    log = EventLog(tmp_path / "v.jsonl")
    code, _, err = completed("people", "forget", "stranger-1", "--yes", "--events", "v.jsonl")
    assert code == 2 and "nothing was deleted" in err and "another name" not in err
    assert book_of(gallery).strangers == [1, 2]
    log.close()
    assert completed("people", "forget", "stranger-1", "--yes", "--events", "v.jsonl")[0] == 0
    assert book_of(gallery).strangers == [2]


def test_only_the_persons_own_visits_are_forgotten_where_several_logs_count_from_one(
    completed, planted, gallery, tmp_path, config_file
):
    with config_file.open("a") as file:
        file.write("delivery:\n  queue: queue\n")
    planted.update(lambda book: [Seen(visit("m", 2, name="Max"))])
    for path, name in ((tmp_path / "v.jsonl", "Max"), (tmp_path / "queue" / "events.jsonl", "Eve")):
        log = EventLog(path)
        picture = tmp_path / f"of-{name}.jpg"
        picture.write_bytes(b"")
        match = Match(name, Reason.MATCHED, 0.7, nearest=name, photo=f"{name}/1.jpg")
        stream = EventStream(log.sequence)
        for event in (*stream.handle(result(frame(0), tracks=[track(1, match)])), *stream.close()):
            is_left = event.kind is EventKind.LEFT
            log.write(replace(event, snapshot=str(picture) if is_left else None))
        log.close()
    assert completed("people", "export", "Eve", "eve", "--events", "v.jsonl")[0] == 0
    assert [line["name"] for line in json.loads((tmp_path / "eve" / "data.json").read_text())["events"]] == ["Eve"] * 3
    assert completed("people", "forget", "Max", "--yes", "--events", "v.jsonl")[0] == 0
    assert "Max" not in (tmp_path / "v.jsonl").read_text() and not (tmp_path / "of-Max.jpg").exists()
    assert [line["name"] for line in lines_of(tmp_path / "queue" / "events.jsonl")[1:]] == ["Eve"] * 3
    assert (tmp_path / "of-Eve.jpg").exists()


@pytest.mark.slow
def test_a_log_can_be_cleaned_after_everything_else_was_forgotten(completed, planted, tmp_path):
    planted.update(lambda book: [Seen(visit("m", 2, name="Max")), Seen(visit("e", 3, name="Eve"))])
    log = EventLog(tmp_path / "v.jsonl")
    nearest = Match(None, Reason.BELOW_THRESHOLD, 0.2, nearest="Max", photo="Max/1.jpg")
    tracks = [track(1, nearest), replace(track(2, Match(None, Reason.BELOW_THRESHOLD)), stranger="stranger-1")]
    for event in EventStream(log.sequence).handle(result(frame(0), tracks=tracks)):
        log.write(event)
    log.write(RelabelEvent(log.sequence + 1, EventKind.RELABEL, "", 0.0, "stranger-4", "Eve"))
    log.close()
    for name in ("Max", "Eve", "stranger-1"):
        code, out, err = completed("people", "forget", name, "--yes")
        assert code == 0 and f"people forget {name} --events" in out, out + err
        assert name in (tmp_path / "v.jsonl").read_text()
        code, _, err = completed("people", "forget", name, "--yes")
        assert code == 2 and "--events" in err
        code, out, err = completed("people", "forget", name, "--yes", "--events", "v.jsonl")
        assert code == 0 and "not changed" not in out, out + err
        assert name not in (tmp_path / "v.jsonl").read_text()
        assert completed("people", "forget", name, "--yes", "--events", "v.jsonl")[0] == 2


@pytest.mark.slow
def test_nothing_is_said_to_be_forgotten_while_another_program_keeps_the_strangers_locked(completed, planted, gallery):
    with planted._locked(0):
        code, out, err = completed("people", "forget", "stranger-1", "--yes")
    assert code == 2 and "locked" in err and "deleted" not in out
    assert book_of(gallery).strangers == [1, 2]


def test_the_name_to_display_is_forgotten_too(completed, planted, gallery):
    (gallery / "people.yaml").write_text("folder: Max  # a friend\nother: Ann\n")
    planted.update(lambda book: [Seen(visit("m", 2, name="Max"))])
    assert completed("people", "forget", "Max", "--yes")[0] == 0
    assert (gallery / "people.yaml").read_text() == "other: Ann\n"


def test_embeddings_of_another_model_are_kept_but_not_searched(completed, planted, gallery):
    photo = gallery / "Eileen Collins_1.jpg"
    found = json.loads(completed("people", "search", photo, "--json")[1])
    assert found["nearest"] == "Eileen Collins" and found["visits"] == []


def test_a_person_who_is_renamed_keeps_the_visits(completed, planted, gallery, tmp_path):
    planted.update(lambda book: [Seen(visit("m", 2, name="Eileen Collins"))])
    planted.update(lambda book: [Named(1, "Eileen Collins")])
    EventLog(tmp_path / "v.jsonl").close()
    code, out, err = completed("people", "rename", "Eileen Collins", "Eileen", "--events", "v.jsonl")
    assert code == 0, out + err
    assert book_of(gallery).visits["m"].name == "Eileen"
    relabel = lines_of(tmp_path / "v.jsonl")[-1]
    assert (relabel["event"], relabel["stranger"], relabel["name"]) == ("relabel", "stranger-1", "Eileen")
    assert completed("people", "forget", "Eileen", "--yes")[0] == 0
    assert "m" not in book_of(gallery).visits
