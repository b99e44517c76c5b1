"""The planner: where the detector looks, given what moves and where faces are expected."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.look import NOBODY, ExpectedFaces, Look
from app.settings import AttentionSettings
from app.vision.attention import CELL_PX, AttentionState, Scene, everything, plan_look, tiles_of

SIZE = (1280, 720)
SCAN_PX = 640
STILL = np.empty((0, 4), np.int32)


def expected(*boxes, unseen_s=1.0, patience_s=0.0, reach=0.35):
    count = len(boxes)
    return ExpectedFaces(
        np.arange(1, count + 1),
        np.array(boxes, float).reshape(-1, 4),
        np.full(count, unseen_s),
        np.full(count, patience_s),
        np.full(count, reach),
        np.zeros(count, np.bool_),
    )


class Watching:
    """Plans one frame after another."""

    def __init__(self, size=SIZE, fps=10, level=0, **settings):
        self.size, self.step_s, self.level = size, 1 / fps, level
        self.settings = AttentionSettings(**settings)
        self.state, self.time = AttentionState(), 0.0

    def frame(self, areas=STILL, faces=NOBODY, everywhere=False, cut=False):
        scene = Scene(self.size, self.time, np.array(areas).reshape(-1, 4), everywhere, cut, faces)
        plan, self.state = plan_look(self.state, scene, self.settings, SCAN_PX, self.level)
        self.time += self.step_s
        return plan

    def settle(self, seconds=2.0):
        """The first looks at a new picture are over."""
        for _ in range(round(seconds / self.step_s)):
            self.frame()
        return self


def shown(window, box):
    return window.left <= box[0] and window.top <= box[1] and window.right >= box[2] and window.bottom >= box[3]


def test_a_still_picture_without_faces_is_scanned_now_and_then_and_left_alone_otherwise():
    watching = Watching(scan_every_s=5).settle()
    plans = [watching.frame() for _ in range(100)]
    assert sum(plan.scan for plan in plans) == 2
    assert sum(plan.look is Look.IDLE for plan in plans) >= 80


def test_a_face_that_is_lost_is_searched_where_it_was_for_a_while():
    watching = Watching().settle()
    small, large = [400, 300, 420, 320], [900, 200, 1000, 300]
    for _ in range(10):
        watching.frame(faces=expected(small, large, patience_s=5.0))
    plans = [watching.frame() for _ in range(100)]
    scans = np.flatnonzero([plan.scan for plan in plans])
    assert scans[0] <= 5 and np.diff(scans).max() <= 6
    # The large one is seen in the scans.
    seen = [any(shown(window, small) for window in plan.windows) for plan in plans]
    assert np.diff(np.flatnonzero(seen)).max() <= 6
    later = [watching.frame() for _ in range(50)]
    assert sum(plan.look is Look.IDLE for plan in later) >= 30


def test_everything_is_looked_at_after_a_stall():
    watching = Watching().settle()
    assert not any(watching.frame().scan for _ in range(5))
    watching.time += 1.5
    assert watching.frame().scan


@pytest.mark.parametrize("fps", [5, 10, 25])
@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (3840, 2160), (2560, 1440)])
def test_every_part_of_the_picture_is_seen_in_full_resolution_within_the_interval(size, fps):
    watching = Watching(size, fps, scan_every_s=5)
    watching.settle(10)
    tiles = {tuple(tile) for tile in tiles_of(size, 16, SCAN_PX).tolist()}
    seen = {window[:4] for _ in range(5 * fps + 1) for window in watching.frame().windows if window.searches}
    assert seen == tiles


def test_a_picture_that_a_scan_shows_in_full_resolution_has_no_tiles():
    assert len(tiles_of((640, 480), 16, SCAN_PX)) == 0
    assert len(tiles_of((1280, 720), 32, SCAN_PX)) == 0


@given(
    st.tuples(st.integers(700, 4096), st.integers(200, 4096)),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(16, 500),
)
def test_every_face_that_is_too_small_for_a_scan_fits_into_a_tile(size, x, y, side):
    smallest_in_scan = 16 * max(size) / SCAN_PX
    if not 16 <= side < smallest_in_scan or side > min(size):
        return
    left, top = x * (size[0] - side), y * (size[1] - side)
    ratios = [
        side * CELL_PX / max(x2 - x1, y2 - y1, CELL_PX)
        for x1, y1, x2, y2 in tiles_of(size, 16, SCAN_PX).tolist()
        if x1 <= left + 1 and y1 <= top + 1 and x2 >= left + side - 1 and y2 >= top + side - 1
    ]
    assert max(ratios, default=0) >= 15.5, "large enough there"


def test_where_something_moves_is_looked_at_at_once_in_full_resolution_and_in_a_scan():
    watching = Watching().settle()
    moving = [400, 300, 440, 380]
    plan = watching.frame([moving])
    assert plan.scan
    assert any(shown(window, moving) for window in plan.windows)
    assert len(plan.windows) <= 4


def test_motion_that_goes_on_is_looked_at_again_within_half_a_second():
    watching = Watching().settle()
    plans = [watching.frame([[400, 300, 440, 380]]) for _ in range(100)]
    scans = np.flatnonzero([plan.scan for plan in plans])
    assert np.diff(scans).max() <= 6 and len(scans) <= 25
    tiles = np.flatnonzero([any(window.searches for window in plan.windows) for plan in plans])
    assert np.diff(tiles).max() <= 6


def test_a_cut_and_a_changed_picture_are_scanned_at_once():
    watching = Watching().settle()
    assert watching.frame(cut=True).scan
    watching.settle()
    assert watching.frame(everywhere=True).scan
    assert sum(watching.frame(everywhere=True).scan for _ in range(20)) <= 10, "but not all the time"


def test_a_followed_person_who_moves_is_no_reason_to_scan_every_frame():
    watching = Watching(fps=25).settle()
    face, body = [600, 100, 680, 200], [560, 90, 720, 700]
    plans = [watching.frame([body], expected(face, unseen_s=0.1, patience_s=0.4)) for _ in range(100)]
    assert sum(plan.scan for plan in plans) <= 5
    assert sum(plan.look is Look.PREDICTED for plan in plans) > 60


def test_a_face_is_looked_at_when_its_time_has_come_in_a_window_around_it():
    watching = Watching().settle()
    face = [600, 100, 680, 200]
    assert watching.frame(faces=expected(face, unseen_s=0.1, patience_s=0.4)).look is Look.PREDICTED
    plan = watching.frame(faces=expected(face, unseen_s=0.4, patience_s=0.4))
    assert plan.look is Look.REGIONS and plan.looked_at == {1}
    (window,) = plan.windows
    assert shown(window, face) and window.right - window.left < 300


def test_faces_that_are_near_to_each_other_share_a_window_and_others_do_not():
    watching = Watching().settle()
    plan = watching.frame(faces=expected([100, 100, 160, 160], [180, 110, 240, 170], [900, 400, 960, 460]))
    assert plan.looked_at == {1, 2, 3} and len(plan.windows) == 2


def test_a_small_face_is_looked_at_in_a_window_even_in_a_scan():
    watching = Watching()
    plan = watching.frame(faces=expected([100, 100, 120, 120], [600, 100, 700, 220]))
    assert plan.scan and plan.looked_at == {1, 2}
    tracked = [window for window in plan.windows if not window.searches]
    assert len(tracked) == 1 and shown(tracked[0], [100, 100, 120, 120])


@given(
    st.lists(st.tuples(*[st.integers(0, 1100)] * 2, st.integers(17, 600)), min_size=1, max_size=8), st.integers(0, 4)
)
def test_every_face_that_is_due_is_shown_with_its_surroundings(places, level):
    boxes = [[x, min(y, 500), x + side, min(y, 500) + side] for x, y, side in places]
    plan = Watching(level=level).settle().frame(faces=expected(*boxes))
    assert plan.looked_at == set(range(1, len(boxes) + 1))
    for box in boxes:
        inside = np.clip(box, 0, [1280, 720, 1280, 720])
        assert plan.scan or any(shown(window, inside) for window in plan.windows)


def test_when_the_machine_falls_behind_faces_are_predicted_for_longer_and_windows_are_smaller():
    face = [600, 100, 680, 200]
    late = expected(face, unseen_s=0.5, patience_s=0.4)
    assert Watching(level=1).settle().frame(faces=late).look is Look.REGIONS
    assert Watching(level=2).settle().frame(faces=late).look is Look.PREDICTED
    usual, small = (Watching(level=level).settle().frame(faces=expected(face)).windows[0] for level in (0, 3))
    assert usual.input_px > small.input_px


def test_faces_too_small_for_a_scan_are_not_searched_at_level_3():
    watching = Watching(level=3)
    plans = [watching.frame() for _ in range(100)]
    assert any(plan.scan for plan in plans) and not any(plan.windows for plan in plans)
    watching.level = 0
    assert any(watching.frame().windows for _ in range(10)), "and are again when the machine has recovered"


def test_a_picture_of_a_folder_is_looked_at_whole_and_in_all_tiles():
    plan = everything(SIZE, AttentionSettings(), SCAN_PX)
    assert plan.look is Look.SCAN and len(plan.windows) == len(tiles_of(SIZE, 16, SCAN_PX))
