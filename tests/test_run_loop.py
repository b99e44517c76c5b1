"""The loop: frames go in, results go out, until there are no more, a limit is reached or an output stops it."""

import dataclasses
import threading

import pytest
from made_results import STRANGER, frame, result, track

from app.output.outputs import Control, Outputs
from app.pipeline import Limits, run_loop, something_happens
from app.types import Look


class Camera:
    """A source of so many frames; `empty` makes it return nothing that often before each frame."""

    def __init__(self, count, empty=0):
        self.left = count
        self.finished = count == 0
        self.timeouts = []
        self.needs = []
        self._empty, self._silent = empty, empty

    def set_need(self, channel, is_needed):
        self.needs.append((channel, is_needed))

    def take(self, timeout_s):
        self.timeouts.append(timeout_s)
        if self._silent or not self.left:
            self._silent -= 1
            return None
        self._silent = self._empty
        self.left -= 1
        self.finished = not self.left
        return frame(self.left)


class Echo:
    """A pipeline that finds nothing, with so many jobs of other threads."""

    def __init__(self, jobs=0):
        self.pending_runs = 0
        self.jobs = jobs

    def run_pending(self, after_frame=False):
        self.pending_runs += 1
        self.jobs = max(0, self.jobs - 1)
        return self.jobs > 0

    def process(self, given):
        return result(given)


class Screen:
    """An interactive output that wants these things one after the other, and then to run."""

    name = "screen"

    def __init__(self, *wanted):
        self.wanted = list(wanted)
        self.results = []

    def handle(self, handed):
        self.results.append(handed)

    def poll(self):
        return self.wanted.pop(0) if self.wanted else Control.RUN

    def close(self):
        pass


def run(camera, screen, max_frames=None, duration_s=None, stop=None):
    pipeline = Echo()
    run_loop(camera, pipeline, Outputs([screen]), Limits(max_frames, duration_s, stop or threading.Event()))
    return pipeline


def test_every_frame_becomes_a_result_until_the_source_ends():
    camera, screen = Camera(5, empty=2), Screen()
    pipeline = run(camera, screen)
    assert (len(screen.results), camera.left) == (5, 0)
    assert pipeline.pending_runs >= 15, "other work for the networks is done while no frames come"


def test_the_loop_does_not_wait_for_a_frame_while_jobs_wait_for_the_networks():
    camera = Camera(1, empty=5)
    run_loop(camera, Echo(jobs=3), Outputs([]), Limits(None, None, threading.Event()))
    assert camera.timeouts[:2] == [0, 0] and min(camera.timeouts[2:]) > 0


@pytest.mark.parametrize("limit", [1, 3])
def test_the_limit_of_frames_ends_the_run(limit):
    camera, screen = Camera(5), Screen()
    run(camera, screen, max_frames=limit)
    assert (len(screen.results), camera.left) == (limit, 5 - limit)


def test_the_limit_of_time_ends_the_run():
    camera, screen = Camera(5), Screen()
    run(camera, screen, duration_s=0.0)
    assert camera.left == 5


def test_ctrl_c_ends_the_run():
    stop = threading.Event()
    stop.set()
    camera, screen = Camera(5), Screen()
    run(camera, screen, stop=stop)
    assert camera.left == 5


def test_while_an_output_pauses_no_frame_is_taken_but_other_work_goes_on():
    camera, screen = Camera(5), Screen(Control.RUN, *[Control.PAUSE] * 4, Control.STOP)
    pipeline = run(camera, screen)
    assert (len(screen.results), camera.left) == (1, 4)
    assert pipeline.pending_runs == 6


def test_an_output_can_stop_the_run():
    camera, screen = Camera(5), Screen(Control.STOP)
    run(camera, screen)
    assert camera.left == 5


def test_the_channels_are_told_where_something_happens():
    camera = Camera(2)
    run_loop(camera, Echo(), Outputs([]), Limits(None, None, threading.Event()))
    assert camera.needs == [("front", False)] * 2


@pytest.mark.parametrize(
    ("boxes", "tracks", "look", "expected"),
    [
        ((), (), Look.SCAN, False),
        ((), (), Look.IDLE, False),
        ((), (), Look.REGIONS, True),
        ([(10, 10, 50, 50)], (), Look.SCAN, True),
        ((), [track(1)], Look.PREDICTED, True),
    ],
)
def test_something_happens_where_somebody_is_or_something_moves(boxes, tracks, look, expected):
    made = result(boxes=boxes, matches=[STRANGER] * len(boxes), tracks=tracks)
    assert something_happens(dataclasses.replace(made, look=look)) is expected
