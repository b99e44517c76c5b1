"""Unknown people get numbers that stay: scenes with planted faces, on one and several channels, and after restarts."""

import json

import cv2
import numpy as np
import pytest
from planted_visits import BASIS, MODEL, mixed
from stranger_stage import START, StrangerStage

from app.events.event import EventKind
from app.events.sinks import EventPublisher
from app.events.stream import EventStream
from app.gallery.stranger_journal import StrangerJournal
from app.identity.stranger_rules import without
from app.identity.strangers import Denied, Ignored, Merged, Named
from app.watches import StrangerWatch

DAY_S = 86400.0


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "gallery" / ".strangers"


@pytest.fixture
def commands(folder):
    """Another program that uses the same folder."""

    def change(*changes):
        return StrangerJournal(folder).update(lambda book: list(changes))

    return change


def strangers_of(stage):
    return [event.stranger for event in stage.events if event.kind is EventKind.STRANGER]


def test_an_unknown_person_gets_a_number_after_two_good_looks():
    stage = StrangerStage()
    assert [stage.show(("Eva", 100))[0] for _ in range(3)] == [None, None, "stranger-1"]
    assert strangers_of(stage) == ["stranger-1"]


def test_the_number_of_looks_is_a_setting():
    stage = StrangerStage(min_looks=4)
    assert [stage.show(("Eva", 100))[0] for _ in range(5)] == [None, None, None, None, "stranger-1"]


def test_unclear_looks_make_no_stranger():
    assert StrangerStage().show(("Eva", 100, {"size": 22}), frames=100) == [None]


def test_a_face_that_is_partly_outside_the_picture_makes_no_stranger():
    assert StrangerStage().show(("Eva", -30), frames=100) == [None]


def test_people_with_names_are_no_strangers():
    stage = StrangerStage()
    assert stage.show(("Ann", 100), ("Bob", 300), frames=30) == ["Ann", "Bob"]
    stage.close()
    assert stage.live.book.strangers == [] and strangers_of(stage) == []
    assert {visit.name for visit in stage.live.book.visits.values()} == {"Ann", "Bob"}


def test_two_strangers_next_to_each_other_have_two_numbers():
    assert StrangerStage().show(("Eva", 100), ("Max", 300), frames=10) == ["stranger-1", "stranger-2"]


def test_nobody_is_there_twice():
    """Of two similar people in one picture, the second one is another stranger."""
    twin = mixed(2, 5, 0.9)
    assert StrangerStage().show(("Eva", 100), (twin, 300), frames=10) == ["stranger-1", "stranger-2"]


def test_a_stranger_who_comes_back_has_the_same_number_on_every_channel():
    stage = StrangerStage()
    stage.show(("Eva", 100), frames=10)
    stage.leave()
    assert stage.show(("Max", 100), frames=10) == ["stranger-2"]
    assert stage.show(("Eva", 300), channel="garden", frames=10) == ["stranger-1"]
    assert len(stage.live.book.visits_of(1)) == 2


def test_a_stranger_who_resembles_a_known_person_is_not_that_person():
    stage = StrangerStage()
    similar = mixed(2, 0, 0.94)  # 0.34 like Ann
    assert stage.show((similar, 100), frames=10) == ["stranger-1"]
    stage.leave()
    assert stage.show(("Ann", 100), frames=10) == ["Ann"]
    assert stage.live.book.strangers == [1]


def test_a_face_that_gets_a_name_later_was_no_stranger(folder):
    stage = StrangerStage(folder)
    assert stage.show((mixed(0, 5, 0.4), 100), frames=5) == ["stranger-1"]
    assert stage.show((mixed(0, 5, 0.8), 100), frames=60) == ["Ann"]
    stage.leave()
    stage.show(("Eva", 100), frames=3)
    stage.close()
    assert StrangerStage(folder).live.book.strangers == [2], "the number is not used again"


def test_pictures_need_only_one_look():
    stage = StrangerStage()
    assert stage.show(("Eva", 100), continues=False) == ["stranger-1"]
    assert stage.show(("Max", 100), continues=False) == ["stranger-2"]
    assert stage.show(("Eva", 300), continues=False) == ["stranger-1"]


def test_numbers_and_faces_survive_a_restart(folder):
    stage = StrangerStage(folder)
    stage.show(("Eva", 100), ("Max", 300), frames=10)
    stage.close()
    again = StrangerStage(folder, start=START + DAY_S)
    assert again.show(("Max", 100), ("Tom", 300), frames=10) == ["stranger-2", "stranger-3"]


def test_a_killed_program_loses_no_stranger(folder):
    stage = StrangerStage(folder)
    stage.show(("Eva", 100), frames=10)  # never closed
    assert StrangerStage(folder).show(("Max", 100), ("Eva", 300), frames=10) == ["stranger-2", "stranger-1"]


def test_two_programs_share_a_folder_without_giving_out_a_number_twice(folder):
    one, other = StrangerStage(folder), StrangerStage(folder)
    assert one.show(("Eva", 100), frames=3) == ["stranger-1"]
    assert other.show(("Max", 100), ("Eva", 300), frames=3) == ["stranger-2", "stranger-1"]
    assert one.show(("Eva", 100), ("Tom", 300), frames=3) == ["stranger-1", "stranger-3"]


def test_the_best_picture_is_kept_and_shows_more_than_the_face(folder):
    stage = StrangerStage(folder)
    stage.show(("Eva", 100, {"size": 60}), frames=3)
    stage.show(("Eva", 100, {"size": 90}), frames=60)
    stage.close()
    (crop,) = stage.live.book.crops_of(1)
    picture = cv2.imread(str(folder / "crops" / crop))
    assert 170 <= picture.shape[0] <= 190
    assert (folder / "crops" / crop).stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


def test_nothing_is_stored_without_a_folder(tmp_path):
    stage = StrangerStage()
    stage.show(("Eva", 100), frames=10)
    stage.close()
    assert list(tmp_path.iterdir()) == []


def test_ignored_strangers_are_neither_shown_nor_named(folder, commands):
    stage = StrangerStage(folder)
    assert stage.show(("Eva", 100), frames=10) == ["stranger-1"]
    commands(Ignored(1))
    assert stage.show(("Eva", 100), frames=30) == [None]
    stage.leave()
    assert stage.show(("Eva", 300), frames=10) == [None]
    stage.leave()
    assert [event.match.reason.value for event in stage.events if event.kind is EventKind.ENTER][-1] == "ignored"


def test_a_face_that_is_denied_loses_the_name(folder, commands):
    stage = StrangerStage(folder)
    double = mixed(0, 2, 0.75)
    assert stage.show((double, 100), frames=10) == ["Ann"]
    commands(Denied("Ann", MODEL, double, START))
    assert stage.show((double, 100), frames=30)[0] != "Ann"
    stage.leave()
    assert stage.show(("Ann", 100), (double, 300), frames=10)[0] == "Ann"


def test_a_merge_is_noticed_while_the_stranger_is_there(folder, commands):
    stage = StrangerStage(folder)
    assert stage.show(("Eva", 100), ("Max", 300), frames=10) == ["stranger-1", "stranger-2"]
    commands(Merged(2, 1))
    assert stage.show(("Max", 300)) == ["stranger-1"]


def test_visits_that_go_on_while_the_stranger_is_named_get_the_name(folder, commands):
    stage = StrangerStage(folder)
    stage.show(("Eva", 100), frames=10)
    commands(Named(1, "Eva"))
    stage.show(("Eva", 100), frames=10)
    stage.close()
    assert {visit.name for visit in stage.live.book.visits.values()} == {"Eva"}
    assert stage.live.book.strangers == []


def test_a_name_that_a_command_gives_becomes_an_event_of_the_run(folder, commands):
    class Collected:
        name = "collected"

        def __init__(self):
            self.events = []

        def write(self, event):
            self.events.append(event)

        def close(self):
            pass

    sink = Collected()
    publisher = EventPublisher([sink], EventStream(relabels={}))
    stage = StrangerStage(folder)
    watch = StrangerWatch(publisher, stage.live)
    stage.show(("Eva", 100), ("Max", 300), frames=10)
    watch.poll()
    commands(Merged(2, 1), Named(1, "Eva"))
    for _ in range(3):
        stage.show(("Eva", 100))
        watch.poll()
    publisher.close()
    assert [(str(event.kind), event.stranger, event.name) for event in sink.events] == [
        ("relabel", "stranger-1", "Eva"),
        ("relabel", "stranger-2", "Eva"),
    ]


def test_who_is_forgotten_while_in_the_picture_is_not_stored_again(folder):
    stage = StrangerStage(folder)
    stage.show(("Eva", 100), ("Ann", 300), frames=10)
    before = (folder / "journal.jsonl").read_bytes()
    StrangerJournal(folder).rewrite(lambda book: without(book, strangers=[1], names=["Ann"]))
    stage.close()
    assert b"stranger" in before
    kept = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert [line.get("change") for line in kept] == [None, "numbered"]
    assert list((folder / "crops").iterdir()) == []


def test_a_forgotten_stranger_who_stays_gets_a_new_number(folder):
    stage = StrangerStage(folder)
    stage.show(("Eva", 100), frames=10)
    StrangerJournal(folder).rewrite(lambda book: without(book, strangers=[1]))
    assert stage.show(("Eva", 100), frames=80) == ["stranger-2"]


def test_strangers_who_were_not_seen_for_long_are_deleted(folder):
    stage = StrangerStage(folder)
    stage.show(("Eva", 100), frames=10)
    stage.close()
    kept = StrangerStage(folder, start=START + 29 * DAY_S)
    assert kept.live.book.strangers == [1]
    late = StrangerStage(folder, start=START + 31 * DAY_S)
    assert late.live.book.strangers == [] and list((folder / "crops").iterdir()) == []
    assert late.show(("Eva", 100), frames=10) == ["stranger-2"]


def test_there_are_never_more_strangers_than_the_maximum_after_a_start(folder):
    stage = StrangerStage(folder, max_count=2)
    for person in ("Eva", "Max", "Tom"):
        stage.show((person, 100), frames=5)
        stage.leave()
    stage.close()
    assert StrangerStage(folder, max_count=2).live.book.strangers == [2, 3]


def test_fragments_of_one_person_are_merged_when_a_visit_resembles_both(folder):
    stage = StrangerStage(folder)
    stage.show((BASIS[2], 100), frames=5)
    stage.leave()
    stage.show((BASIS[3], 100), frames=5)
    stage.leave()
    assert stage.live.book.strangers == [1, 2]
    stage.show((mixed(2, 3, 0.72), 100, {"likeness": 0.99}), frames=10)
    stage.leave()
    assert stage.live.book.strangers == [1]


def test_the_event_log_of_two_equal_runs_is_equal(tmp_path):
    def run(folder):
        stage = StrangerStage(folder)
        stage.show(("Eva", 100), ("Ann", 300), frames=20)
        stage.leave()
        stage.show(("Max", 100), ("Eva", 300), frames=20)
        stage.close()
        return [event.as_json() for event in stage.events]

    first = run(tmp_path / "a")
    assert run(tmp_path / "b") == first == run(None)
    assert [event["stranger"] for event in first if event["event"] == "stranger"] == [
        "stranger-1",
        "stranger-2",
        "stranger-1",
    ]
    assert np.all(np.diff([event["sequence"] for event in first]) == 1)
