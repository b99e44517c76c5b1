"""When each frame is shown in a video."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import frame

from app.output.video_writers import PICTURE_SECONDS, TICKS_PER_S, VideoClock, frames_to_fill, ticks


def shown(frames):
    clock = VideoClock()
    return [clock.seconds(made) for made in frames]


def test_a_recording_keeps_its_own_time_from_zero():
    assert shown([frame(i, position=5 + i / 25) for i in range(4)]) == pytest.approx([0, 0.04, 0.08, 0.12])


def test_a_camera_that_stalls_does_not_speed_up_the_video():
    times = [100.0, 100.04, 107.5, 107.54]
    assert shown([frame(i, captured_at=t) for i, t in enumerate(times)]) == pytest.approx([0, 0.04, 7.5, 7.54])


def test_pictures_are_shown_for_a_second_each():
    assert shown([frame(i, continues=False) for i in range(3)]) == [0, PICTURE_SECONDS, 2 * PICTURE_SECONDS]


def test_equal_times_still_advance():
    assert ticks(shown([frame(i, position=1.0) for i in range(3)])[2]) == 2


def test_a_source_that_starts_again_continues_at_its_usual_rate():
    positions = [9.0, 9.1, 9.2, 0.0, 0.1]
    assert shown([frame(i, position=p) for i, p in enumerate(positions)]) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_clock_that_is_set_changes_no_duration(step_s):
    moments = [(100.0, 9.0), (100.5, 9.5), (101.0 + step_s, 10.0), (101.5 + step_s, 10.5)]
    made = [frame(i, captured_at=wall, clock_s=clock) for i, (wall, clock) in enumerate(moments)]
    assert shown(made) == pytest.approx([0, 0.5, 1.0, 1.5])


def test_a_damaged_time_stamp_leaves_no_gap_of_years():
    times = [3.0, 3.04, 1_800_000_000.0, 1_800_000_000.04]
    assert shown([frame(i, captured_at=t) for i, t in enumerate(times)]) == pytest.approx([0, 0.04, 0.08, 0.12])


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.booleans()), min_size=1, max_size=60))
def test_time_always_advances_by_at_least_one_tick(steps):
    stamps = [ticks(s) for s in shown([frame(i, captured_at=t, continues=c) for i, (t, c) in enumerate(steps)])]
    assert stamps[0] == 0
    assert all(later > earlier for earlier, later in zip(stamps, stamps[1:]))


@given(st.lists(st.floats(0, 5), min_size=1, max_size=80), st.sampled_from([10.0, 24.0, 25.0, 29.97, 60.0]))
def test_a_constant_rate_keeps_every_frame_within_half_a_frame_of_its_time(gaps, fps):
    written, now = 0, 0.0
    for gap in gaps:
        now += gap
        written += frames_to_fill(written, now, fps)
        assert abs(written / fps - now) <= 0.5 / fps + 1e-6 or written / fps > now
        assert written / fps <= now + 0.5 / fps + 1e-6


def test_slow_frames_are_repeated_and_fast_ones_left_out():
    assert frames_to_fill(10, 1.0, 25.0) == 15
    assert frames_to_fill(25, 1.0, 25.0) == 0
    assert frames_to_fill(26, 1.0, 25.0) == 0


def test_the_tick_is_fine_enough_for_every_usual_rate():
    for fps in (23.976, 25, 29.97, 30, 50, 59.94, 60, 120):
        assert abs(ticks(1 / fps) / TICKS_PER_S - 1 / fps) < 1e-5
