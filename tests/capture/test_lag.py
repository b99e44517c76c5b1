"""How late the frames of a live stream are, whatever the two clocks say."""

import pytest

from app.capture.lag import LagMeter


class Stream:
    """A camera at 25 frames/s whose clock began at another time and may run at another speed."""

    def __init__(self, speed=1.0):
        self.meter = LagMeter()
        self.speed = speed
        self.frames = 0

    def read(self, at_s, waited):
        """The lag of the next frame, which was sent 40 ms after the one before it."""
        stamp_s = 1000 + self.frames * 0.04 * self.speed
        self.frames += 1
        return self.meter.lag_s(stamp_s, at_s, waited)

    def keep_up(self, count):
        return [self.read(50 + self.frames * 0.04, waited=True) for _ in range(count)]


def test_a_reader_that_keeps_up_is_not_late():
    assert max(Stream().keep_up(100)) == pytest.approx(0)


@pytest.mark.parametrize("speed", [0.5, 0.99, 1.01, 2.0])
def test_a_camera_whose_clock_is_wrong_is_not_late_either(speed):
    assert max(Stream(speed).keep_up(1000)[20:]) < 0.1


def test_frames_that_have_been_waiting_are_late_until_the_reader_has_caught_up():
    stream = Stream()
    stream.keep_up(50)
    # The reader stood still for 2 s; then it reads 50 frames at once.
    now = 50 + stream.frames * 0.04 + 2
    late = [stream.read(now, waited=False) for _ in range(51)]
    assert late[0] == pytest.approx(2)
    assert late[25] == pytest.approx(1)
    assert late[50] == pytest.approx(0)
    assert max(stream.keep_up(20)) == pytest.approx(0)


def test_a_frame_that_was_waited_for_while_the_reader_stood_still_is_late():
    stream = Stream()
    stream.keep_up(50)
    now = 50 + stream.frames * 0.04 + 2
    late = [stream.read(now, waited=number == 0) for number in range(3)]
    assert late == pytest.approx([2, 1.96, 1.92])


def test_a_reader_that_never_waits_falls_behind():
    stream = Stream()
    stream.keep_up(50)
    began = 50 + stream.frames * 0.04
    # A single wait, as for a lock, does not make it up to date.
    late = [stream.read(began + number * 0.05, waited=number % 10 == 0) for number in range(400)]
    assert late == sorted(late)
    assert late[-1] == pytest.approx(399 * 0.01, abs=0.05)


@pytest.mark.parametrize("jumps_s", [[64], [-64], [3, -3], [-3, -3, 6], [0.5, -0.5] * 20])
def test_a_camera_whose_clock_jumps_is_not_late(jumps_s):
    meter, stamp_s, lags = LagMeter(), 1000.0, []
    for number in range(50 + len(jumps_s)):
        stamp_s += 0.1 + (jumps_s[number - 25] if 0 <= number - 25 < len(jumps_s) else 0)
        lags.append(meter.lag_s(stamp_s, 50 + number * 0.1, waited=number % 2 == 0))
    assert max(lags) == pytest.approx(0, abs=1e-6)


def test_frames_that_were_late_before_a_jump_back_still_are():
    meter = LagMeter()
    assert meter.lag_s(1000, 50, waited=True) == 0
    assert meter.lag_s(1001, 52, waited=False) == pytest.approx(1)
    assert meter.lag_s(990, 52.1, waited=False) == pytest.approx(1)
    assert meter.lag_s(990.1, 53.2, waited=False) == pytest.approx(2)
