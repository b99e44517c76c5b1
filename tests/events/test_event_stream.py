"""Who came, who it was, who left: derived from results alone."""

import dataclasses

import pytest
from made_results import ANN, STRANGER, frame, result, track

from app.events.event import EventKind, LeftReason
from app.events.stream import EventStream
from app.settings import Settings
from app.types import NOT_COMPARED_YET, ChannelCounters, ChannelState, ChannelStatus, Match, Reason

EVE = Match("Eve", Reason.MATCHED, 0.7)
IN_DOUBT = Match(None, Reason.TRACK_IN_DOUBT, 0.67, nearest="Ann")


def play(*steps, fps=10, **options):
    """The events of a recording. A step: for how many frames, and by track who is seen, or `HIDDEN`."""
    stream, first, events, index = EventStream(**options), {}, [], 0
    for frames, faces in steps:
        for _ in range(frames):
            now = index / fps
            there = []
            for number, match in faces.items():
                begin, last, _ = first.get(number, (now, now, None))
                last, shown = (last, first[number][2]) if match is HIDDEN else (now, match)
                first[number] = (begin, last, shown)
                there.append(track(number, shown, first_seen=begin, last_seen=last))
            visible = [one for one in there if faces[one.id] is not HIDDEN]
            made = frame(index, position=now, captured_at=1000.0 + now)
            hidden = [one for one in there if faces[one.id] is HIDDEN]
            events += stream.handle(seen(made, *visible, hidden=hidden))
            index += 1
    return events + stream.close()


HIDDEN = object()


def outline(events):
    """Of each event: kind, visit, name, and of `left` the reason and the seconds from first to last seen."""
    return [
        (event.kind.value, event.visit, event.match.name)
        + ((event.left_reason.value, round(event.last_seen - event.first_seen, 3)) if event.left_reason else ())
        for event in events
    ]


def events_of(results):
    stream = EventStream()
    return [event for made in results for event in stream.handle(made)] + stream.close()


def seen(made_frame, *tracks, hidden=()):
    """A result in which the faces of `tracks` are visible."""
    ids, boxes, matches = zip(*((one.id, one.box, one.match) for one in tracks)) if tracks else ((), (), ())
    return result(made_frame, boxes, matches, [*tracks, *hidden], track_ids=ids)


def test_a_visit_is_three_events_and_the_last_one_is_where_the_face_was_last_seen():
    enter, identified, left = events_of(
        [
            result(frame(0, position=0.0, captured_at=100.0)),
            seen(frame(1, position=0.04, captured_at=100.5), track(7, NOT_COMPARED_YET, first_seen=0.0)),
            seen(frame(2, position=0.08, captured_at=101.0), track(7, ANN, (1, 2, 3, 4), last_seen=0.08)),
            seen(frame(3, position=0.12, captured_at=101.5), hidden=[track(7, ANN, (1, 2, 3, 4), last_seen=0.08)]),
            result(frame(4, position=0.16, captured_at=102.0)),
        ]
    )
    assert [event.sequence for event in (enter, identified, left)] == [1, 2, 3]
    assert (enter.kind, enter.frame, enter.time, enter.position) == (EventKind.ENTER, 1, 100.5, 0.04)
    assert (enter.channel, enter.track, enter.match, enter.box) == ("front", 7, NOT_COMPARED_YET, (10, 21, 30, 40))
    assert (identified.kind, identified.match, identified.previous_name) == (EventKind.IDENTIFIED, ANN, None)
    assert (left.kind, left.frame, left.time, left.position) == (EventKind.LEFT, 2, 101.0, 0.08)
    assert (left.match, left.left_reason, left.box) == (ANN, LeftReason.GONE, (1, 2, 3, 4))
    assert (left.first_seen, left.last_seen) == (0.0, 0.08)


def test_who_left_is_reported_in_his_own_picture_and_not_in_the_next_one():
    """A user read `left` and got 18 wrong names for 63 photos."""
    pictures = [frame(i, continues=False, file=f"{i}.jpg", captured_at=100.0 + i) for i in range(3)]
    eve = Match("Eve", Reason.MATCHED, 0.7)
    events = events_of(
        [seen(pictures[0], track(1, ANN), track(2, STRANGER)), seen(pictures[1], track(3, eve)), seen(pictures[2])]
    )
    left = [(event.match.name, event.file, event.frame) for event in events if event.kind is EventKind.LEFT]
    assert left == [("Ann", "0.jpg", 0), (None, "0.jpg", 0), ("Eve", "1.jpg", 1)]


def test_at_the_end_of_the_run_too():
    ann = track(1, ANN)
    *_, left = events_of([seen(frame(1), ann), seen(frame(2), ann), seen(frame(3), hidden=[ann])])
    assert (left.kind, left.frame, left.left_reason) == (EventKind.LEFT, 2, LeftReason.RUN_ENDED)


def test_channels_do_not_mix_though_their_track_numbers_are_the_same():
    events = events_of(
        [
            result(frame(0, source="front"), tracks=[track(1)]),
            result(frame(0, source="yard"), tracks=[track(1, ANN)]),
            result(frame(1, source="front"), tracks=[track(1)]),
        ]
    )
    assert [(event.sequence, event.channel, event.kind.value) for event in events] == [
        (1, "front", "enter"),
        (2, "yard", "enter"),
        (3, "yard", "identified"),
        (4, "front", "left"),
        (5, "yard", "left"),
    ]
    assert {event.left_reason for event in events[-2:]} == {LeftReason.RUN_ENDED}


def test_after_the_end_nobody_leaves_a_second_time():
    stream = EventStream()
    stream.handle(result(tracks=[track(1, STRANGER)]))
    assert len(stream.close()) == 1
    assert stream.close() == []


# Sources.


def status(state, name="front", live=True, error=None):
    return ChannelStatus(name, "address", state, ChannelCounters(), live, None, None, error)


LOST = status(ChannelState.RECONNECTING, error="front (rtsp://ann:secret@10.0.0.2/cam): connection lost")
RUNNING = status(ChannelState.RUNNING)


def facts(events):
    return [(event.sequence, event.kind.value, event.time) for event in events]


def test_when_a_source_is_lost_everybody_leaves_where_they_were_last_seen():
    stream = EventStream()
    stream.handle(seen(frame(1, captured_at=100.0), track(1, ANN)))
    stream.handle(seen(frame(1, source="yard", captured_at=100.0), track(1, STRANGER)))
    assert stream.handle_status(RUNNING, 100.1, 100.1) == []
    lost, left = stream.handle_status(LOST, 105.0, 105.0)
    assert (lost.sequence, lost.kind, lost.channel, lost.time) == (4, EventKind.SOURCE_LOST, "front", 105.0)
    assert "connection lost" in lost.error and "secret" not in lost.error
    assert (left.sequence, left.kind, left.time, left.match.name) == (5, EventKind.LEFT, 100.0, "Ann")
    assert left.left_reason is LeftReason.SOURCE_LOST
    assert stream.handle_status(LOST, 106.0, 106.0) == [], "it is reported once"
    (back,) = stream.handle_status(RUNNING, 165.0, 165.0)
    assert (back.sequence, back.kind, back.time, back.lost_s) == (6, EventKind.SOURCE_BACK, 165.0, 60.0)
    assert [event.channel for event in stream.close()] == ["yard"]


def test_a_frame_proves_that_the_source_is_back_unless_it_had_waited():
    stream = EventStream()
    stream.handle_status(LOST, 105.0, 105.0)
    assert stream.handle(seen(frame(2, captured_at=104.9), track(1, ANN))) == []
    events = stream.handle(seen(frame(3, captured_at=110.0), track(2, ANN)))
    assert facts(events) == [(2, "source_back", 110.0), (3, "enter", 110.0), (4, "identified", 110.0)]
    assert stream.handle_status(RUNNING, 110.1, 110.1) == []


def test_a_track_that_is_continued_after_the_loss_is_a_visit_of_its_own():
    """Its time until the loss was reported already."""
    stream = EventStream()
    stream.handle(seen(frame(1, captured_at=100.0), track(1, ANN, first_seen=90.0, last_seen=100.0)))
    _, left = stream.handle_status(LOST, 105.0, 105.0)
    assert (left.first_seen, left.last_seen) == (90.0, 100.0)
    back, enter, _ = stream.handle(seen(frame(2, captured_at=108.0), track(1, ANN, first_seen=90.0, last_seen=108.0)))
    assert (back.lost_s, enter.first_seen) == (3.0, 108.0)
    stream.handle(seen(frame(3, captured_at=112.0), track(1, ANN, first_seen=90.0, last_seen=112.0)))
    (left,) = stream.close()
    assert (left.first_seen, left.last_seen) == (108.0, 112.0)


def test_a_camera_that_is_off_at_the_start_is_lost_and_a_recording_only_if_it_is_stopped():
    stream = EventStream()
    assert facts(stream.handle_status(status(ChannelState.FAILED), 1.0, 1.0)) == [(1, "source_lost", 1.0)]
    for state in set(ChannelState) - {ChannelState.STOPPED}:
        assert stream.handle_status(status(state, "tape", live=False), 2.0, 2.0) == []
    (stopped,) = stream.handle_status(status(ChannelState.STOPPED, "tape", live=False), 3.0, 3.0)
    assert (str(stopped.kind), stopped.error) == ("source_lost", "stopped by a person")


def test_opening_and_stalling_are_no_events():
    stream = EventStream()
    for state in (ChannelState.OPENING, ChannelState.RUNNING, ChannelState.STALLED, ChannelState.RUNNING):
        assert stream.handle_status(status(state), 1.0, 1.0) == []


# Visits.


def test_a_head_that_turns_away_and_comes_back_as_another_track_is_one_visit():
    events = play((10, {1: ANN}), (50, {}), (2, {2: NOT_COMPARED_YET}), (10, {2: ANN}))
    assert outline(events) == [
        ("enter", 1, "Ann"), ("identified", 1, "Ann"), ("left", 1, "Ann", "run_ended", 7.1),
    ]  # fmt: skip
    assert events[-1].track == 2


def test_after_the_gap_it_is_another_visit():
    events = play((10, {1: ANN}), (40, {}), (10, {2: ANN}), visit_gap_s=3.0)
    assert outline(events) == [
        ("enter", 1, "Ann"), ("identified", 1, "Ann"), ("left", 1, "Ann", "gone", 0.9),
        ("enter", 4, "Ann"), ("identified", 4, "Ann"), ("left", 4, "Ann", "run_ended", 0.9),
    ]  # fmt: skip
    left = events[2]
    assert (left.frame, left.position, left.time) == (9, 0.9, 1000.9)


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, -1_800_000_000.0])
def test_a_clock_that_is_set_ends_no_visit_and_changes_no_duration(step_s):
    stream, began = EventStream(visit_gap_s=10.0), 1_800_000_000.0

    def at(seconds):
        wall = began + seconds + (step_s if seconds >= 20 else 0.0)
        ann = track(1, ANN, first_seen=500.0, last_seen=500.0 + min(seconds, 30.0))
        made = frame(int(seconds), captured_at=wall, clock_s=500.0 + seconds)
        return seen(made, ann) if seconds <= 30 else result(made)

    events = [event for seconds in range(45) for event in stream.handle(at(float(seconds)))]
    assert facts(events)[:2] == [(1, "enter", began), (2, "identified", began)]
    (left,) = events[2:]
    assert (left.kind, left.left_reason, left.duration_s) == (EventKind.LEFT, LeftReason.GONE, 30.0)
    assert left.first_seen == began, "by the clock as it was set then"
    assert (left.time, left.last_seen) == (began + 30 + step_s, began + 30 + step_s)
    assert left.as_json()["duration_s"] == 30.0


def test_a_clock_that_is_set_does_not_change_how_long_a_source_was_lost():
    stream, began = EventStream(), 1_800_000_000.0
    stream.handle(seen(frame(0, captured_at=began, clock_s=50.0), track(1, ANN, first_seen=50.0, last_seen=50.0)))
    lost, left = stream.handle_status(LOST, began + 1, 51.0)
    late = frame(1, captured_at=began + 0.5, clock_s=50.5)
    assert stream.handle(seen(late, track(1, ANN, first_seen=50.0, last_seen=50.5))) == []
    back, enter, _ = stream.handle(
        seen(frame(2, captured_at=began - 3595, clock_s=56.0), track(1, ANN, first_seen=50.0, last_seen=56.0))
    )
    assert (lost.time, left.duration_s) == (began + 1, 0.0)
    assert (back.kind, back.time, back.lost_s) == (EventKind.SOURCE_BACK, began - 3595, 5.0)
    assert enter.first_seen == began - 3595


def test_left_is_written_when_the_gap_is_over_and_not_before():
    def kinds(gap_frames):
        return [event.left_reason.value for event in play((5, {1: ANN}), (gap_frames, {})) if event.left_reason]

    assert play((5, {1: ANN}), (100, {}))[-1].sequence == 3
    stream = EventStream(visit_gap_s=10.0)
    stream.handle(seen(frame(0, captured_at=100.0), track(1, ANN, first_seen=100.0, last_seen=100.0)))
    assert stream.handle(seen(frame(1, captured_at=109.9))) == []
    (left,) = stream.handle(seen(frame(2, captured_at=110.0)))
    assert (left.kind, left.time, left.left_reason) == (EventKind.LEFT, 100.0, LeftReason.GONE)
    assert kinds(50) == ["gone"]


def test_a_face_in_doubt_keeps_its_visit_but_its_time_is_not_counted():
    events = play((10, {1: ANN}), (5, {1: IN_DOUBT}), (10, {1: ANN}))
    assert outline(events) == [
        ("enter", 1, "Ann"), ("identified", 1, "Ann"), ("left", 1, "Ann", "run_ended", 2.4),
    ]  # fmt: skip
    ended_in_doubt = play((10, {1: ANN}), (5, {1: IN_DOUBT}), (5, {2: EVE}))
    assert ("left", 1, "Ann", "gone", 0.9) in outline(ended_in_doubt)


def test_a_track_with_another_name_never_lends_its_time():
    """12.3 s of Ross in a user's log were 6.9 s of Chandler and 5.4 s of Ross."""
    events = play((10, {1: NOT_COMPARED_YET}), (10, {1: ANN}), (10, {1: EVE}))
    assert outline(events) == [
        ("enter", 1, None), ("identified", 1, "Ann"),
        ("enter", 3, "Eve"), ("changed", 3, "Eve"),
        ("left", 1, "Ann", "name_changed", 1.9), ("left", 3, "Eve", "run_ended", 0.9),
    ]  # fmt: skip
    changed = events[3]
    assert (changed.previous_name, changed.previous_visit) == ("Ann", 1)


def test_a_name_that_is_withdrawn_for_a_moment_does_not_end_the_visit():
    assert outline(play((10, {1: ANN}), (5, {1: STRANGER}), (10, {1: ANN}))) == [
        ("enter", 1, "Ann"), ("identified", 1, "Ann"), ("left", 1, "Ann", "run_ended", 2.4),
    ]  # fmt: skip


def test_a_name_that_stays_withdrawn_ends_the_visit():
    events = play((10, {1: ANN}), (30, {1: STRANGER}))
    assert outline(events) == [
        ("enter", 1, "Ann"), ("identified", 1, "Ann"), ("enter", 3, None),
        ("left", 1, "Ann", "name_changed", 0.9), ("left", 3, None, "run_ended", 2.9),
    ]  # fmt: skip


def test_a_name_that_moves_to_another_track_takes_its_visit_along():
    taken = Match(None, Reason.NAME_TAKEN, 0.5, nearest="Ann")
    events = play((10, {1: STRANGER, 2: ANN}), (130, {1: ANN, 2: taken}))
    assert [one for one in outline(events) if one[0] == "left"] == [
        ("left", 1, None, "name_changed", 0.9), ("left", 2, "Ann", "run_ended", 13.9),
        ("left", 4, None, "run_ended", 12.9),
    ]  # fmt: skip


def test_a_stranger_after_somebody_enters_after_a_second_at_the_latest():
    stranger_first, *_ = [event for event in play((5, {1: ANN}), (10, {}), (30, {2: STRANGER})) if event.track == 2]
    assert (stranger_first.kind, stranger_first.position, stranger_first.first_seen) == (EventKind.ENTER, 2.5, 1.5)
    alone, *_ = play((10, {}), (30, {2: STRANGER}))
    assert alone.position == 1.0


def test_a_face_that_went_before_it_got_a_name_is_reported_all_the_same():
    events = play((5, {1: ANN}), (10, {}), (3, {2: STRANGER}), (10, {}))
    assert outline(events)[2:] == [("enter", 3, None), ("left", 1, "Ann", "gone", 0.4), ("left", 3, None, "gone", 0.2)]
    ended = play((5, {1: ANN}), (10, {}), (3, {2: STRANGER}))
    assert [one[0] for one in outline(ended)[2:]] == ["enter", "left", "left"]


def test_a_late_name_of_a_person_who_was_away_is_one_visit_from_then_on():
    events = play((5, {1: ANN}), (10, {}), (20, {2: STRANGER}), (10, {2: ANN}))
    assert outline(events) == [
        ("enter", 1, "Ann"), ("identified", 1, "Ann"), ("enter", 3, None),
        ("left", 1, "Ann", "gone", 0.4), ("identified", 3, "Ann"), ("left", 3, "Ann", "run_ended", 2.9),
    ]  # fmt: skip


def test_a_channel_has_its_own_gap_and_cooldown():
    own = (("tracking.visit_gap_s", 1.0), ("output.events_cooldown_s", 9.0))
    settings = Settings(channels=(("door", own),))
    kinds = {}
    for channel in ("door", "hall"):
        stream, events = EventStream.from_settings(settings), []
        for index in range(50):
            made = frame(index, position=index / 10, captured_at=1000.0 + index / 10, source=channel)
            there = (
                [track(1 + index // 30, ANN, first_seen=index // 30 * 3.0, last_seen=index / 10)]
                if not 10 <= index < 30
                else []
            )
            events += stream.handle(seen(made, *there))
        kinds[channel] = [str(event.kind.value) for event in events]
    assert kinds == {"door": ["enter", "identified", "left", "enter"], "hall": ["enter", "identified"]}


def test_a_person_is_identified_once_per_cooldown():
    steps = ((10, {1: ANN}), (40, {}), (10, {2: ANN, 3: EVE}), (40, {}), (10, {4: ANN}))
    named = [
        (event.match.name, event.track)
        for event in play(*steps, visit_gap_s=1.0, cooldown_s=9.0)
        if event.kind is EventKind.IDENTIFIED
    ]
    assert named == [("Ann", 1), ("Eve", 3), ("Ann", 4)]


def test_the_time_to_the_first_name_is_that_of_the_visit():
    events = play((5, {1: NOT_COMPARED_YET}), (5, {1: ANN}), (20, {}), (3, {2: NOT_COMPARED_YET}), (5, {2: ANN}))
    assert [event.time_to_first_name_s for event in events] == [None, 0.5, 0.5]


def test_pictures_have_no_gap():
    """In a folder, the same person in the next picture is another visit."""
    pictures = [frame(i, continues=False, file=f"{i}.jpg", captured_at=100.0 + i / 10) for i in range(2)]
    shown = [
        seen(picture, track(number, ANN, first_seen=picture.captured_at, last_seen=picture.captured_at))
        for number, picture in enumerate(pictures, 1)
    ]
    events = events_of(shown)
    assert [(event.kind.value, event.file) for event in events] == [
        ("enter", "0.jpg"), ("identified", "0.jpg"), ("left", "0.jpg"),
        ("enter", "1.jpg"), ("identified", "1.jpg"), ("left", "1.jpg"),
    ]  # fmt: skip


def test_a_visit_is_numbered_by_its_enter_also_after_earlier_runs():
    events = play((5, {1: STRANGER, 2: ANN}), after=40)
    assert [(event.sequence, event.visit) for event in events if event.kind is EventKind.ENTER] == [(41, 41), (42, 42)]
    assert sorted(event.visit for event in events if event.kind is EventKind.LEFT) == [41, 42]


def play_strangers(*steps, fps=10):
    """The events of a recording with one face at most: for how many frames, and its track, name and stranger."""
    stream, events, index, first = EventStream(), [], 0, {}
    for frames, *faces in steps:
        for _ in range(frames):
            now = index / fps
            there = [
                dataclasses.replace(
                    track(number, match, first_seen=first.setdefault(number, now), last_seen=now), stranger=stranger
                )
                for number, match, stranger in faces
            ]
            events += stream.handle(seen(frame(index, position=now, captured_at=1000.0 + now), *there))
            index += 1
    return [(event.kind.value, event.visit, event.match.name, event.stranger) for event in events + stream.close()]


def test_an_unknown_person_with_a_number_makes_an_event_of_its_own():
    assert play_strangers((3, (1, STRANGER, None)), (3, (1, STRANGER, "stranger-7")), (200,)) == [
        ("enter", 1, None, None),
        ("stranger", 1, None, "stranger-7"),
        ("left", 1, None, "stranger-7"),
    ]


def test_the_visit_of_a_stranger_goes_on_through_a_gap():
    numbered, new = (5, (1, STRANGER, "stranger-7")), (3, (2, STRANGER, None))
    assert play_strangers(numbered, (50,), new, (5, (2, STRANGER, "stranger-7"))) == [
        ("enter", 1, None, None),
        ("stranger", 1, None, "stranger-7"),
        ("left", 1, None, "stranger-7"),
    ]


def test_another_stranger_is_another_visit():
    numbered, other = (5, (1, STRANGER, "stranger-7")), (5, (2, STRANGER, "stranger-8"))
    events = play_strangers(numbered, (50,), other)
    assert [event for event in events if event[0] == "stranger"] == [
        ("stranger", 1, None, "stranger-7"),
        ("stranger", 3, None, "stranger-8"),
    ]
    assert [event[0] for event in events].count("left") == 2


def test_a_stranger_who_gets_a_name_is_none_in_the_events_from_then_on():
    assert play_strangers((3, (1, STRANGER, "stranger-7")), (3, (1, ANN, None))) == [
        ("enter", 1, None, None),
        ("stranger", 1, None, "stranger-7"),
        ("identified", 1, "Ann", None),
        ("left", 1, "Ann", None),
    ]


def test_a_number_that_changes_by_a_merge_is_reported():
    events = play_strangers((3, (1, STRANGER, "stranger-7")), (3, (1, STRANGER, "stranger-2")))
    assert [event[3] for event in events] == [None, "stranger-7", "stranger-2", "stranger-2"]
