"""When the level rises and falls: facts and properties, on a clock of its own."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.degrade import ChannelLoad, DegradeController, DegradeLevel, Load, LoadMeter, Pressure, pressure_of
from app.settings import DegradeSettings

SETTINGS = DegradeSettings(raise_after_s=10.0, recover_after_s=60.0)
SLOW, BETWEEN, FINE = Pressure.TOO_SLOW, Pressure.BETWEEN, Pressure.FINE


def load(dropped_share=0.0, fps=10.0, age_s=0.1):
    return Load((ChannelLoad(dropped_share, fps),), age_s)


@pytest.mark.parametrize(
    ("measured", "pressure"),
    [
        (load(), FINE),
        (load(dropped_share=0.5, fps=15), FINE),  # a camera of 30 frames/s, half of which are enough
        (load(dropped_share=0.5, fps=3), SLOW),
        (load(dropped_share=0.5, fps=15, age_s=0.6), SLOW),
        (load(dropped_share=0.0, fps=1, age_s=3.0), FINE),  # a slow camera behind a slow network: none is dropped
        (load(dropped_share=0.15, fps=3), BETWEEN),
        (load(dropped_share=0.5, fps=5.5), BETWEEN),
        (Load((), 0.0), FINE),
        (Load((ChannelLoad(0.0, 10), ChannelLoad(0.5, 3)), 0.1), SLOW),
    ],
)
def test_a_machine_is_too_slow_if_it_drops_frames_and_the_others_are_too_few_or_too_old(measured, pressure):
    assert pressure_of(measured, SETTINGS) is pressure


def levels(controller, pressures, begin_s=100):
    """The level after each second."""
    return [int(controller.update(at_s, pressure)) for at_s, pressure in enumerate(pressures, begin_s)]


def test_the_level_rises_and_falls_one_step_at_a_time_after_the_stated_times():
    seen = levels(DegradeController(SETTINGS), [SLOW] * 41 + [FINE] * 241)
    assert [seen.index(level) for level in (0, 1, 2, 3, 4)] == [0, 10, 20, 30, 40]
    assert [seen.index(level, 41) - 41 for level in (4, 3, 2, 1, 0)] == [0, 60, 120, 180, 240]


def test_an_interruption_begins_the_time_again():
    assert max(levels(DegradeController(SETTINGS), [*[SLOW] * 9, BETWEEN] * 20)) == 0
    controller = DegradeController(SETTINGS)
    levels(controller, [SLOW] * 11)
    assert min(levels(controller, [*[FINE] * 59, BETWEEN] * 20, begin_s=111)) == 1


def changes(seen):
    return [(at, after - before) for at, (before, after) in enumerate(zip(seen, seen[1:]), 1) if after != before]


@given(st.lists(st.tuples(st.sampled_from([SLOW, BETWEEN, FINE]), st.integers(1, 100)), max_size=40))
def test_the_level_never_changes_faster_than_the_stated_times(phases):
    seen = [0, *levels(DegradeController(SETTINGS), [pressure for pressure, spent in phases for _ in range(spent)])]
    last = -1000
    for at, step in changes(seen):
        assert abs(step) == 1
        assert at - last >= (SETTINGS.raise_after_s if step > 0 else SETTINGS.recover_after_s)
        last = at


@given(st.sampled_from([SLOW, BETWEEN, FINE]), st.integers(0, 4), st.integers(1, 300))
def test_a_constant_pressure_never_changes_the_direction(pressure, level, seconds):
    controller = DegradeController(SETTINGS)
    controller.level = DegradeLevel(level)
    steps = {step for _, step in changes([level, *levels(controller, [pressure] * seconds)])}
    assert steps <= {SLOW: {1}, BETWEEN: set(), FINE: {-1}}[pressure]


@pytest.mark.parametrize("needed", [1, 2, 3, 4])
def test_a_constant_load_that_needs_a_level_tries_a_lower_one_ever_more_rarely(needed):
    """The load is too high below the level and fine from it on."""
    controller, seen = DegradeController(SETTINGS), [0]
    for at in range(24 * 3600):
        pressure = FINE if seen[-1] >= needed else SLOW
        seen.append(int(controller.update(100 + at, pressure)))
    day = changes(seen)
    assert min(seen[needed * 11 :]) == needed - 1 and max(seen) == needed
    tries = [at for at, step in day if step < 0]
    pauses = [after - before for before, after in zip(tries, tries[1:])]
    assert pauses == sorted(pauses), "each pause is at least as long as the one before"
    assert pauses[-1] >= 16 * SETTINGS.recover_after_s
    assert len(tries) < 100


def test_a_new_load_later_is_answered_with_the_usual_times():
    controller = DegradeController(SETTINGS)
    for at in range(3600):
        controller.update(at, FINE if controller.level >= 1 else SLOW)
    calm = levels(controller, [FINE] * 3600, begin_s=3600)  # the load is over
    assert calm[-1] == 0
    again = levels(controller, [SLOW] * 11 + [FINE] * 61, begin_s=10_000)
    assert (again[10], again[-1]) == (1, 0)


@pytest.mark.parametrize(("level", "expected"), [("off", 0), ("0", 0), ("2", 2), ("4", 4)])
def test_a_level_that_is_set_stays(level, expected):
    controller = DegradeController(dataclasses.replace(SETTINGS, level=level))
    assert set(levels(controller, [SLOW] * 100 + [FINE] * 500)) == {expected}


def test_frozen_rises_and_stays():
    controller = DegradeController(dataclasses.replace(SETTINGS, level="frozen", max_level=2))
    assert levels(controller, [SLOW] * 100 + [FINE] * 1000)[-1] == 2


def test_recordings_are_at_the_level_that_was_set_and_else_at_none():
    automatic = DegradeController(SETTINGS)
    levels(automatic, [SLOW] * 100)
    assert (automatic.level_of(is_live=True), automatic.level_of(is_live=False)) == (4, 0)
    assert DegradeController(dataclasses.replace(SETTINGS, level="3")).level_of(is_live=False) == 3


class Camera:
    """A camera, and a loop that looks at some of its frames."""

    def __init__(self):
        self.meter = LoadMeter()
        self.now_s = 1000.0
        self.dropped = 0

    def run(self, seconds, processed_fps, dropped_fps, age_s=0.1):
        """The load after so many seconds, measured every second."""
        measured = None
        for _ in range(seconds):
            for frame in range(processed_fps):
                self.meter.add(self.now_s + (frame + 1) / processed_fps, "door", age_s)
            self.dropped += dropped_fps
            self.now_s += 1
            measured = self.meter.load(self.now_s, {"door": self.dropped})
        return measured


def test_the_load_is_that_of_the_last_seconds():
    camera = Camera()
    assert camera.run(1, 10, 0) is None, "one reading is no interval"
    (slow,) = camera.run(10, 3, 9, age_s=0.7).channels
    assert slow.dropped_share == pytest.approx(0.75) and slow.fps == pytest.approx(3)
    fast = camera.run(6, 12, 0)
    assert fast.channels == (ChannelLoad(0.0, 12.0),) and fast.age_s == pytest.approx(0.1)


def test_a_loop_that_takes_several_seconds_per_frame_is_seen():
    camera = Camera()
    camera.meter.load(camera.now_s, {"door": 0})
    for _ in range(3):
        camera.now_s += 8
        camera.dropped += 80
        camera.meter.add(camera.now_s, "door", 8.0)
        measured = camera.meter.load(camera.now_s, {"door": camera.dropped})
    assert pressure_of(measured, SETTINGS) is SLOW


def test_a_paused_run_says_nothing_and_a_silent_camera_is_fine():
    camera = Camera()
    camera.run(10, 10, 0)
    assert camera.run(10, 0, 10) is None, "frames come, and none is looked at"
    camera.run(10, 10, 0)
    assert pressure_of(camera.run(20, 0, 0), SETTINGS) is FINE


def test_what_was_measured_at_another_level_does_not_count():
    camera = Camera()
    camera.run(10, 3, 9)
    camera.meter.clear()
    assert camera.run(1, 10, 0) is None
    assert camera.run(1, 10, 0).channels == (ChannelLoad(0.0, 10.0),)
