"""Who came, who it was, who left: derived from results alone."""

from made_results import ANN, STRANGER, frame, result, track

from app.events.event import EventKind, LeftReason
from app.events.stream import EventStream, changes
from app.types import NOT_COMPARED_YET, ChannelCounters, ChannelState, ChannelStatus, Match, Reason


def happened(previous, current):
    return [(change.kind.value, change.track.id, change.previous_name) for change in changes(previous, current)]


def events_of(results):
    stream = EventStream()
    return [event for made in results for event in stream.handle(made)] + stream.close()


def test_nothing_new_makes_no_event():
    assert happened([track(1, ANN)], [track(1, ANN)]) == []


def test_a_new_track_enters():
    assert happened([], [track(1)]) == [("enter", 1, None)]


def test_a_track_that_starts_with_a_name_enters_and_is_identified():
    assert happened([], [track(1, ANN)]) == [("enter", 1, None), ("identified", 1, None)]


def test_a_name_that_appears_changes_or_goes_is_reported_with_the_previous_one():
    eve = Match("Eve", Reason.MATCHED, 0.7)
    assert happened([track(1)], [track(1, ANN)]) == [("identified", 1, None)]
    assert happened([track(1, ANN)], [track(1, eve)]) == [("identified", 1, "Ann")]
    assert happened([track(1, ANN)], [track(1)]) == [("identified", 1, "Ann")]


def test_departures_are_reported_before_arrivals():
    assert happened([track(1), track(2)], [track(2), track(3)]) == [("left", 1, None), ("enter", 3, None)]


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
    assert stream.handle_status(RUNNING, 100.1) == []
    lost, left = stream.handle_status(LOST, 105.0)
    assert (lost.sequence, lost.kind, lost.channel, lost.time) == (4, EventKind.SOURCE_LOST, "front", 105.0)
    assert "connection lost" in lost.error and "secret" not in lost.error
    assert (left.sequence, left.kind, left.time, left.match.name) == (5, EventKind.LEFT, 100.0, "Ann")
    assert left.left_reason is LeftReason.SOURCE_LOST
    assert stream.handle_status(LOST, 106.0) == [], "it is reported once"
    (back,) = stream.handle_status(RUNNING, 165.0)
    assert (back.sequence, back.kind, back.time, back.lost_s) == (6, EventKind.SOURCE_BACK, 165.0, 60.0)
    assert [event.channel for event in stream.close()] == ["yard"]


def test_a_frame_proves_that_the_source_is_back_unless_it_had_waited():
    stream = EventStream()
    stream.handle_status(LOST, 105.0)
    assert stream.handle(seen(frame(2, captured_at=104.9), track(1, ANN))) == []
    events = stream.handle(seen(frame(3, captured_at=110.0), track(2, ANN)))
    assert facts(events) == [(2, "source_back", 110.0), (3, "enter", 110.0), (4, "identified", 110.0)]
    assert stream.handle_status(RUNNING, 110.1) == []


def test_a_track_that_is_continued_after_the_loss_is_a_visit_of_its_own():
    """Its time until the loss was reported already."""
    stream = EventStream()
    stream.handle(seen(frame(1, captured_at=100.0), track(1, ANN, first_seen=90.0, last_seen=100.0)))
    _, left = stream.handle_status(LOST, 105.0)
    assert (left.first_seen, left.last_seen) == (90.0, 100.0)
    back, enter, _ = stream.handle(seen(frame(2, captured_at=108.0), track(1, ANN, first_seen=90.0, last_seen=108.0)))
    assert (back.lost_s, enter.first_seen) == (3.0, 108.0)
    stream.handle(seen(frame(3, captured_at=112.0), track(1, ANN, first_seen=90.0, last_seen=112.0)))
    (left,) = stream.close()
    assert (left.first_seen, left.last_seen) == (108.0, 112.0)


def test_a_camera_that_is_off_at_the_start_is_lost_and_a_recording_never_is():
    stream = EventStream()
    assert facts(stream.handle_status(status(ChannelState.FAILED), 1.0)) == [(1, "source_lost", 1.0)]
    for state in ChannelState:
        assert stream.handle_status(status(state, "tape", live=False), 2.0) == []


def test_opening_and_stalling_are_no_events():
    stream = EventStream()
    for state in (ChannelState.OPENING, ChannelState.RUNNING, ChannelState.STALLED, ChannelState.RUNNING):
        assert stream.handle_status(status(state), 1.0) == []
