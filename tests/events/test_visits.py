"""Visits from the lines of a log."""

import dataclasses
import itertools

import pytest
from made_results import frame, result, track

from app.events.event import EventKind, RelabelEvent
from app.events.history import now_of, relabels_of
from app.events.log import EventLog
from app.events.reading import LogReader
from app.events.stream import EventStream
from app.events.visits import days, visits

NUMBERS = itertools.count(1)


def header(log="a", open_visits=()):
    return {"event": "log", "schema": 4, "log": log, "after": 0, "open": list(open_visits)}


def face(event, second, name=None, track=1, position=None, **fields):
    made = {"sequence": next(NUMBERS), "event": event, "channel": "door", "visit": track, "track": track, "name": name}
    made.update(time=f"2026-11-29T18:04:{second:02d}.000Z", position=position, reason="matched", nearest=None)
    made.update(similarity=None, first_seen=position if position is not None else "2026-11-29T18:04:00.000Z")
    if event == "left":
        made.update(reason="gone", last_seen=made["time"] if position is None else position)
    return {**made, **fields}


def found(*records):
    return [(visit.name, visit.ended, visit.duration_s) for visit in visits(records)]


def test_a_visit_is_the_time_from_first_to_last_seen_and_its_name_the_first_one():
    records = [face("enter", 1), face("identified", 3, "Ann"), face("left", 9, "Ann")]
    (visit,) = visits([header(), *records])
    assert (visit.name, visit.ended, visit.duration_s) == ("Ann", "gone", 9.0)
    assert (visit.visit, visit.channel, visit.track) == (1, "door", 1)
    assert (visit.first_seen, visit.last_seen) == ("2026-11-29T18:04:00.000Z", "2026-11-29T18:04:09.000Z")


def test_a_track_that_changes_its_name_is_two_visits():
    """12.3 s of Ross in a user's log were 6.9 s of Chandler and 5.4 s of Ross."""
    at_7 = {"visit": 9, "first_seen": "2026-11-29T18:04:07.000Z"}
    assert found(
        face("enter", 1), face("identified", 2, "Chandler"),
        face("enter", 7, "Ross", **at_7), face("changed", 7, "Ross", previous_name="Chandler", **at_7),
        face("left", 7, "Chandler", reason="name_changed"), face("left", 12, "Ross", **at_7),
    ) == [("Chandler", "name_changed", 7.0), ("Ross", "gone", 5.0)]  # fmt: skip


def test_a_person_who_comes_back_with_another_track_is_one_visit():
    (visit,) = visits([face("enter", 1, "Ann"), face("left", 20, "Ann", track=2, visit=1)])
    assert (visit.visit, visit.track, visit.duration_s) == (1, 2, 20.0)


def test_who_has_not_left_comes_last_and_has_not_ended():
    assert found(face("enter", 1, "Ann"), face("enter", 2, "Eve", track=2), face("left", 9, "Eve", track=2)) == [
        ("Eve", "gone", 9.0),
        ("Ann", None, 1.0),
    ]


def test_a_visit_that_began_in_an_earlier_file_is_known_from_the_header():
    enter = face("enter", 1, "Ann")
    assert found(header(open_visits=[enter]), face("left", 9, "Ann")) == [("Ann", "gone", 9.0)]
    assert found(enter, header(open_visits=[enter]), face("left", 9, "Ann")) == [("Ann", "gone", 9.0)]


def test_another_log_is_another_run():
    records = [header("a"), face("enter", 1, "Ann"), header("b"), face("enter", 2, "Eve"), face("left", 9, "Eve")]
    assert found(*records) == [("Ann", None, 1.0), ("Eve", "gone", 9.0)]


def test_visits_in_a_recording_have_positions():
    (visit,) = visits([face("enter", 1, "Ann", position=2.0), face("left", 5, "Ann", position=9.5, first_seen=2.0)])
    assert (visit.first_seen, visit.last_seen, visit.duration_s) == (2.0, 9.5, 7.5)


def test_events_of_sources_are_no_visits():
    assert found({"sequence": 1, "event": "source_lost", "channel": "door", "time": "2026-11-29T18:04:00.000Z"}) == []


def test_the_nearest_person_is_that_of_the_last_comparison():
    (visit,) = visits([face("enter", 1, nearest="Ann", similarity=0.3), face("left", 9)])
    assert (visit.nearest, visit.similarity) == ("Ann", 0.3)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_day_has_the_visits_of_each_person_and_unknown_people_last(order):
    made = list(visits([
        face("enter", 1, "Eve"), face("left", 5, "Eve"), face("enter", 6, None), face("left", 8, None),
        face("enter", 9, "Eve", first_seen="2026-11-29T18:04:09.000Z"),
        face("left", 12, "Eve", first_seen="2026-11-29T18:04:09.000Z"),
    ]))  # fmt: skip
    summary = days([made[at] for at in order])
    assert [(day.name, len(day.visits), day.total_s) for day in summary] == [("Eve", 2, 8.0), (None, 1, 8.0)]
    assert (summary[0].first.last_seen, summary[0].last.last_seen) == tuple(
        f"2026-11-29T18:04:{second}.000Z" for second in ("05", "12")
    )


def test_visits_of_a_stranger_get_the_name_that_was_given_later(tmp_path):
    path = tmp_path / "v.jsonl"
    log = EventLog(path)
    stream = EventStream(log.sequence)
    numbered = dataclasses.replace(track(1), stranger="stranger-7")
    other = dataclasses.replace(track(2), stranger="stranger-8")
    for event in [*stream.handle(result(frame(0), tracks=[numbered, other])), *stream.close()]:
        log.write(event)
    log.write(RelabelEvent(7, EventKind.RELABEL, "", 1.8e9, "stranger-7", "Eva"))
    log.close()
    reader = LogReader([path])
    assert reader.relabels() == {"stranger-7": "Eva"}
    found = list(visits(reader.read(), reader.relabels()))
    assert [(visit.name, visit.stranger) for visit in found] == [("Eva", "stranger-7"), (None, "stranger-8")]
    assert [(day.name, day.stranger) for day in days(found)] == [("Eva", None), (None, "stranger-8")]
    again = EventLog(path)
    assert again.relabels == {"stranger-7": "Eva"}, "the next run does not write it again"
    again.close()
    assert '"relabels": {"stranger-7": "Eva"}' in path.read_text()


def test_a_name_is_an_event_once():
    stream = EventStream(relabels={"stranger-1": "Ann"})
    names = {"stranger-1": "Ann", "stranger-7": "Eva"}
    assert [(event.stranger, event.name) for event in stream.relabel(names, 5.0)] == [("stranger-7", "Eva")]
    assert stream.relabel(names, 6.0) == []
    unknown = EventStream()
    assert unknown.relabel(names, 5.0) == [], "a pipe does not get the names of the past"
    assert [event.name for event in unknown.relabel({**names, "stranger-8": "Max"}, 6.0)] == ["Max"]


def test_a_name_that_was_taken_back_is_an_event_and_the_log_forgets_it(tmp_path):
    stream = EventStream(relabels={"stranger-7": "Eva", "stranger-8": "Max"})
    events = stream.relabel({"stranger-7": None, "stranger-8": "Max", "stranger-9": None}, 5.0)
    assert [(event.stranger, event.name) for event in events] == [("stranger-7", None)]
    path, first, second = tmp_path / "visits.jsonl", tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    log = EventLog(path)
    for sequence, name in enumerate(("Eva", None), 1):
        log.write(RelabelEvent(sequence, EventKind.RELABEL, "", 1.8e9, "stranger-7", name))
    log.close()
    assert LogReader([path]).relabels() == {}
    assert EventLog(path).relabels == {}
    lines = path.read_text().splitlines(keepends=True)
    first.write_text("".join(lines[:2]))
    second.write_text("".join(lines[2:3]))
    assert LogReader([first, second]).relabels() == {}, "it may be in a later file"


def test_single_visits_are_another_persons_in_their_own_log_only():
    stream = EventStream(relabels={"visit-3": "Eva"}, log="a")
    said = {"a/3": "Eva", "a/4": "stranger-7", "a/5": "", "b/6": "Bob", "stranger-7": "Ann"}
    told = [event.as_json() for event in stream.relabel(said, 5.0)]
    assert [(one.get("of_visit"), one["name"], one.get("to_stranger"), one["stranger"]) for one in told] == [
        (4, None, "stranger-7", None),
        (5, None, None, None),
        (None, "Ann", None, "stranger-7"),
    ]
    names = relabels_of(told)
    assert names == {"visit-4": "stranger-7", "visit-5": "", "stranger-7": "Ann"}
    assert now_of(names, 4, "Eva", None) == ("Ann", "stranger-7")
    assert now_of(names, 5, "Eva", None) == (None, None)
    assert now_of(names, 6, "Eva", None) == ("Eva", None)
    (back,) = stream.relabel({**said, "a/4": None}, 6.0)
    assert relabels_of([back.as_json()], names) == {"visit-5": "", "stranger-7": "Ann"}
