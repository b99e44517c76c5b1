"""Whose turn it is, played with a clock of the test: need comes first, and no channel waits longer than stated."""

from hypothesis import given, settings
from hypothesis import strategies as st

from app.capture.turns import PATIENCE_S, Waiting, next_turn


def waiting(since_s, last_turn=0, is_needed=False):
    return Waiting(since_s, last_turn, is_needed)


def test_without_a_frame_it_is_the_turn_of_no_channel():
    assert next_turn([], 0.0) is None
    assert next_turn([None, None], 0.0) is None


def test_need_comes_first_and_then_who_waits_longest():
    assert next_turn([waiting(0.0), waiting(0.2, is_needed=True), waiting(0.1, is_needed=True)], 0.3) == 2
    assert next_turn([waiting(0.1), None, waiting(0.0)], 0.3) == 2


def test_of_two_that_wait_equally_long_it_is_the_one_that_was_taken_from_earlier():
    assert next_turn([waiting(0.0, last_turn=5), waiting(0.0, last_turn=4)], 0.1) == 1


def test_who_has_waited_too_long_comes_before_need():
    assert next_turn([waiting(0.0), waiting(0.01, is_needed=True)], PATIENCE_S) == 0


def play(channels, seconds):
    """Plays channels (camera interval, time for one frame, need) until so many seconds have passed.

    Returns for each the waits, each from when a frame could first have been taken, and how often it was taken from.
    """
    now, turns = 0.0, 0
    since = [0.0] * len(channels)
    last = [0] * len(channels)
    waits = [[] for _ in channels]
    while now < seconds:
        there = [
            waiting(begun, turn, need) if begun <= now else None
            for begun, turn, (_, _, need) in zip(since, last, channels)
        ]
        chosen = next_turn(there, now)
        if chosen is None:
            now = min(since)
            continue
        turns += 1
        interval_s, frame_s, _ = channels[chosen]
        waits[chosen].append(now - since[chosen])
        last[chosen] = turns
        # The camera goes on by its own clock; its next frame begins to wait when it comes.
        since[chosen] = interval_s * (now // interval_s + 1)
        now += frame_s
    return waits


rates = st.tuples(st.floats(0.02, 1.0), st.floats(0.001, 0.2), st.booleans())


@settings(max_examples=50)
@given(st.lists(rates, min_size=1, max_size=12))
def test_no_channel_waits_longer_than_its_patience_and_one_frame_of_each_channel(channels):
    bound = PATIENCE_S + sum(frame_s for _, frame_s, _ in channels)
    for waited in play(channels, 20.0):
        assert waited, "every channel is taken from"
        assert max(waited) <= bound + 1e-6


def test_a_channel_with_somebody_gets_all_its_frames_while_many_idle_ones_wait():
    busy, idle = (0.1, 0.05, True), (0.1, 0.02, False)
    waits = play([idle] * 9 + [busy], 30.0)
    assert max(waits[-1]) <= 0.11, "at most a frame of another channel, or those whose patience is over"
    assert len(waits[-1]) > 10 * 30 * 0.75
    assert all(len(waited) >= 30 / (PATIENCE_S + 0.3) for waited in waits[:-1])
