"""The summary of a run."""

import dataclasses
import json
from functools import partial

import pytest
from made_results import frame
from made_results import result as made_result
from made_results import track as made_track

from app.assembly import open_summary
from app.events.sinks import EventPublisher
from app.events.stream import EventStream
from app.output.summary import STRANGERS_KEPT, Sighting
from app.text import table
from app.types import NO_TRACK, ChannelCounters, ChannelState, ChannelStatus, Match, Reason


def match(name):
    return Match(name, Reason.MATCHED if name else Reason.BELOW_THRESHOLD)


def result(position, *seen, hidden=(), source="tape", **facts):
    """One frame in which these (track, name) are visible and those of `hidden` are remembered."""
    made_frame = frame(source=source, position=position, **facts)
    made = made_result(
        made_frame,
        [(0, 0, 1, 1)] * len(seen),
        [match(name) for _, name in seen],
        [
            made_track(number, match(name), first_seen=made_frame.source_time, last_seen=made_frame.source_time)
            for number, name in (*seen, *hidden)
            if number != NO_TRACK
        ],
    )
    timings = {"detect": 4.0 + (position or 0.0)}
    return dataclasses.replace(made, track_ids=tuple(number for number, _ in seen), timings_ms=timings)


def with_stranger(stranger, made):
    return dataclasses.replace(made, tracks=[dataclasses.replace(one, stranger=stranger) for one in made.tracks])


def channel(name="tape", **counters):
    state = ChannelState.ENDED
    return ChannelStatus(name, "address", state, ChannelCounters(**counters), False, None, None, None)


def summary(*results, visit_gap_s=1.0):
    events = EventPublisher((), EventStream(visit_gap_s=visit_gap_s))
    collected = open_summary(events)
    for one in results:
        events.handle(one)
        collected.handle(one)
    events.close()
    return collected


@pytest.mark.parametrize(("visit_gap_s", "visits"), [(5.0, 2), (10.0, 1)])
def test_a_person_is_counted_once_per_visit_and_once_per_frame(visit_gap_s, visits):
    collected = summary(
        result(0.0, (1, None)), result(0.5, (1, "Ann")), result(1.0, hidden=[(1, "Ann")]), result(2.0, (1, "Ann")),
        result(5.0), result(9.0, (2, "Ann")),
        visit_gap_s=visit_gap_s,
    )  # fmt: skip
    ann = collected.people["Ann"]
    assert (ann.first.seconds, ann.last.seconds, ann.frames, ann.visits) == (0.0, 9.0, 4, visits)
    assert collected.unknown_visits == 0


def test_a_visit_that_ended_counts_for_the_person_of_its_end():
    collected = summary(result(0.0, (1, "Ann")), result(0.1, (1, "Bob")), result(0.2, (1, "Bob")))
    assert {name: (seen.visits, seen.frames) for name, seen in collected.people.items()} == {
        "Ann": (1, 1),
        "Bob": (1, 2),
    }


def test_a_face_that_never_gets_a_name_is_one_unknown_visit():
    collected = summary(result(0.0, (1, None), (2, "Ann")), result(0.1, (1, None)), result(0.2), result(0.3, (3, None)))
    assert collected.unknown_visits == 2


def test_the_same_track_number_in_two_channels_is_two_visits():
    collected = summary(result(0.0, (1, "Ann"), source="door"), result(0.0, (1, "Ann"), source="yard"))
    assert collected.people["Ann"].visits == 2


def test_faces_without_a_track_are_faces_but_no_visits():
    collected = summary(result(0.0, (0, None)))
    assert (collected.faces, collected.unknown_visits) == (1, 0)


def test_the_text_has_frames_people_and_stages():
    text = summary(result(61.0, (1, "José")), result(63.0, (1, "José"))).text([channel(read=5, dropped=3)])
    lines = [line.split() for line in text.splitlines()]
    assert text.startswith("2 frames in ")
    assert ["channel", "read", "processed", "dropped", "ended"] in lines
    assert ["tape", "5", "2", "3", "ended"] in lines
    assert ["José", "1:01.0", "1:03.0", "1", "2"] in lines
    assert ["detect", "66.00", "66.90"] in lines


def test_rare_counters_are_shown_when_they_are_not_zero():
    broken = dataclasses.replace(
        channel("door", read=9, skipped=7, beyond_max_fps=36, stalls=2, reconnects=3, unreadable=4),
        state=ChannelState.RECONNECTING,
        last_error="door (rtsp://ann:secret@10.0.0.2/cam): connection refused",
    )
    text = summary().text([channel(), broken])
    lines = [line.split() for line in text.splitlines()]
    header = [
        "channel",
        "read",
        "processed",
        "dropped",
        "skipped",
        "beyond_max_fps",
        "unreadable",
        "stalls",
        "reconnects",
        "ended",
    ]
    assert header in lines
    assert ["door", "9", "0", "0", "7", "36", "4", "2", "3", "stopped"] in lines
    assert "connection refused" in text and "secret" not in text


def test_the_json_form_has_the_same_numbers():
    door = dataclasses.replace(
        channel("door", read=9, reconnects=3),
        state=ChannelState.RECONNECTING,
        live=True,
        last_error="door (rtsp://ann:secret@10.0.0.2/cam): connection refused",
    )
    made = summary(
        result(61.0, (1, "José"), (2, None)), result(63.0, (1, "José")), result(None, (1, "Ann"), source="door")
    ).as_json([channel(read=5, dropped=3), door])
    assert (made["frames"], made["faces"], made["unknown_visits"]) == (3, 4, 1)
    assert sum(made["reasons"].values()) == 4 and set(made["reasons"]) == {"matched", "below_threshold"}
    jose, ann = made["people"]
    assert jose == {
        "name": "José", "first_seen": 61.0, "last_seen": 63.0, "first_file": None, "last_file": None,
        "visits": 1, "frames": 2,
    }  # fmt: skip
    assert ann["first_seen"] == "2027-01-15T08:00:00.000Z"
    tape, door = made["channels"]
    assert (tape["read"], tape["processed"], tape["dropped"], tape["state"]) == (5, 2, 3, "ended")
    assert (door["reconnects"], door["live"], door["state"]) == (3, True, "reconnecting")
    assert "connection refused" in door["last_error"] and "secret" not in door["last_error"]
    assert made["stages"]["detect"] == {"p50_ms": 65.0, "p95_ms": 66.8}
    json.dumps(made)


def test_the_json_form_names_pictures():
    seen = [result(None, (i, "Ann"), continues=False, captured_at=1e9 + i, file=f"album/{i}.jpg") for i in (1, 2, 3)]
    (ann,) = summary(*seen).as_json([])["people"]
    assert (ann["first_file"], ann["last_file"]) == ("album/1.jpg", "album/3.jpg")
    assert ann["first_seen"] == "2001-09-09T01:46:41.000Z"


def test_the_time_stops_with_the_run():
    collected = summary(result(0.0))
    collected.close()
    assert (collected.elapsed_s, collected.cpu_s) == (collected.elapsed_s, collected.cpu_s)


def test_a_run_without_a_single_frame_has_a_summary_too():
    assert "0 frames" in summary().text([])


@pytest.mark.parametrize(
    ("sighting", "shown"),
    [
        (Sighting(0, False, None), "0:00.0"),
        (Sighting(754.26, False, None), "12:34.3"),
        (Sighting(1.7e9, False, "photos/IMG_1.jpg"), "IMG_1.jpg"),
    ],
)
def test_recordings_show_their_position_and_pictures_their_file(sighting, shown):
    assert str(sighting) == shown


def test_live_sources_show_date_and_time():
    assert len(str(Sighting(1.7e9, True, None))) == len("2023-11-14 22:13:20")


def test_pictures_are_named_in_the_table_of_people():
    seen = [result(None, (i, "Ann"), continues=False, captured_at=1e9 + i, file=f"album/{i}.jpg") for i in (1, 2, 3)]
    assert ["Ann", "1.jpg", "3.jpg", "3", "3"] in [line.split() for line in summary(*seen).text([]).splitlines()]


def test_columns_are_aligned():
    assert table(("name", "n"), [("Ann", "12"), ("José", "3")]).splitlines() == [
        "name   n",
        "----  --",
        "Ann   12",
        "José   3",
    ]


def test_strangers_are_counted_and_listed_with_their_visits():
    results = [result(at, (track, None)) for at, track in [(0.0, 1), (0.1, 1), (9.0, 2)]]
    collected = summary(*map(partial(with_stranger, "stranger-7"), results))
    (stranger,) = collected.as_json(())["strangers"]
    assert (stranger["name"], stranger["visits"], stranger["frames"]) == ("stranger-7", 2, 3)
    assert "stranger-7" in collected.text(()) and collected.unknown_visits == 2


def test_of_very_many_strangers_the_latest_are_kept():
    collected = summary(
        *(
            with_stranger(f"stranger-{number}", result(float(number), (number, None)))
            for number in range(STRANGERS_KEPT + 50)
        )
    )
    assert list(collected.strangers) == [f"stranger-{number}" for number in range(50, STRANGERS_KEPT + 50)]
