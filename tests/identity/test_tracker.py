"""A track's life, step by step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.identity.tracker import TrackerState, advance, at_time, iou, pair, restarted
from app.settings import TrackingSettings
from app.types import NO_TRACK

TRACKING = TrackingSettings(min_iou=0.3, min_hits=2, forget_after_s=1.0)


def box(x, y=100.0, size=80.0):
    return [x, y, x + size, y + size]


class Video:
    """Steps a tracker through frames and keeps its answers."""

    def __init__(self, tracking=TRACKING, fps=10.0):
        self.state = TrackerState()
        self.tracking = tracking
        self.interval = 1 / fps
        self.time = 1000.0
        self.doubtful = []

    def show(self, *boxes, after=None, clear=False):
        """The ids of the faces at `boxes` in the next frame."""
        self.time += self.interval if after is None else after
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        before = at_time(self.state, self.time, self.tracking.forget_after_s)
        pairs = pair(before, boxes, self.tracking)
        self.doubtful = pairs.doubtful.tolist()
        self.state, rows = advance(before, boxes, pairs, self.tracking, np.full(len(boxes), clear))
        return self.state.ids[rows].tolist()

    @property
    def alive(self):
        return [number for number in self.state.ids.tolist() if number != NO_TRACK]


def test_a_face_gets_its_id_when_it_was_seen_often_enough():
    video = Video(TrackingSettings(min_hits=3))
    assert [video.show(box(100)) for _ in range(4)] == [[NO_TRACK], [NO_TRACK], [1], [1]]


def test_a_face_seen_once_leaves_no_track():
    video = Video()
    video.show(box(100))
    video.show()
    assert len(video.state) == 0
    assert video.show(box(100)) == [NO_TRACK]


def test_a_face_without_an_id_may_be_missed_as_often_as_it_was_seen():
    video = Video(TrackingSettings(min_hits=3))
    for shown in (True, True, False, True):
        video.show(*[box(100)] * shown)
    assert video.show(box(100)) == [1]


def test_a_clear_face_that_was_seen_once_is_reported_when_it_is_gone():
    video = Video()
    assert video.show(box(100), clear=True) == [NO_TRACK]
    video.show()
    assert video.alive == [1]
    for _ in range(11):
        video.show()
    assert video.alive == []
    assert len(video.state) == 0


def test_a_hidden_face_keeps_its_id():
    video = Video()
    video.show(box(100))
    video.show(box(100))
    for _ in range(5):
        video.show()
        assert video.alive == [1]
        assert video.state.hidden.all()
    assert video.show(box(105)) == [1]


def test_a_face_not_seen_for_too_long_has_left_and_its_id_is_not_reused():
    video = Video()
    video.show(box(100))
    video.show(box(100))
    for _ in range(11):
        video.show()
    assert video.alive == []
    video.show(box(100))
    assert video.show(box(100)) == [2]


def test_a_face_that_moves_keeps_its_id():
    video = Video()
    ids = [video.show(box(100 + 20 * n)) for n in range(30)]
    assert ids == [[NO_TRACK]] + [[1]] * 29


def test_a_face_too_fast_for_its_last_position_is_followed_by_its_velocity():
    video = Video()
    x = 0.0
    for speed in range(0, 60, 4):
        x += speed
        video.show(box(x))
    for _ in range(10):
        x += 60
        assert video.show(box(x)) == [1]
    assert iou(np.array([box(0)]), np.array([box(60)]))[0, 0] < TRACKING.min_iou


def test_a_fast_face_that_stops_suddenly_keeps_its_id():
    video = Video()
    x = 0.0
    for speed in range(0, 64, 4):
        x += speed
        video.show(box(x))
    assert [video.show(box(x)) for _ in range(5)] == [[1]] * 5


def test_crossing_faces_keep_their_ids():
    video = Video(fps=25)
    for n in range(41):
        ids = video.show(box(100 + 10 * n, 100), box(500 - 10 * n, 120))
    assert ids == [1, 2]


def test_a_face_walking_behind_another_comes_out_as_itself():
    video = Video(fps=25)
    for n in range(61):
        walking, standing = box(10 * n, 100), box(300, 110)
        hidden = 27 <= n <= 33
        ids = video.show(standing) if hidden else video.show(standing, walking)
    assert ids == [1, 2]


def test_the_order_of_the_faces_does_not_matter():
    video = Video()
    video.show(box(100), box(400))
    assert video.show(box(100), box(400)) == [1, 2]
    assert video.show(box(400), box(100)) == [2, 1]


@pytest.mark.parametrize("fps", [5, 6, 8, 10, 12, 15, 25])
def test_a_person_who_walks_past_keeps_one_id_at_any_frame_rate(fps):
    video = Video(fps=fps)
    ids = [video.show(box(9 * 80 * n / fps))[0] for n in range(int(2 * fps))]
    assert ids == [NO_TRACK] + [1] * (len(ids) - 1)


@pytest.mark.parametrize("fps", [5, 8, 10])
def test_a_pairing_by_distance_alone_is_doubtful(fps):
    video = Video(fps=fps)
    video.show(box(100))
    video.show(box(100 + 9 * 80 / fps))
    assert video.doubtful == [True]


def test_a_face_that_appears_farther_than_anybody_walks_is_another_one():
    video = Video(fps=25)
    video.show(box(100))
    video.show(box(100))
    assert video.show(box(200)) == [NO_TRACK]


def test_a_face_of_another_size_is_another_one():
    video = Video(fps=8)
    video.show(box(100))
    video.show(box(100))
    assert video.show(box(100, size=200)) == [NO_TRACK]


def test_a_steady_face_is_not_doubtful():
    rng = np.random.default_rng(0)
    video = Video(fps=25)
    for n in range(100):
        video.show(np.array(box(100 + 2 * n)) + rng.normal(0, 1.5, 4))
        assert video.doubtful in ([], [False])


@pytest.mark.parametrize("jumped", [box(130), box(90, size=100)])
def test_a_jump_of_place_or_size_is_doubtful(jumped):
    video = Video(fps=25)
    for _ in range(5):
        video.show(box(100))
    assert video.show(jumped) == [1]
    assert video.doubtful == [True]


def test_a_pairing_with_a_rival_is_doubtful():
    video = Video(fps=25)
    for _ in range(5):
        video.show(box(100), box(150))
    assert video.doubtful == [False, False]
    video.show(box(125))
    assert video.doubtful == [True]


@pytest.mark.parametrize("fps", [5, 8, 25])
def test_people_who_pass_one_another_keep_their_ids(fps):
    video = Video(fps=fps)
    for n in range(int(2 * fps)):
        step = 4 * 80 * n / fps
        ids = video.show(box(100 + step, 100), box(740 - step, 130))
    assert ids == [1, 2]


def test_two_boxes_on_one_face_do_not_share_a_track():
    video = Video()
    video.show(box(100))
    video.show(box(100))
    assert video.show(box(104), box(101)) == [NO_TRACK, 1]


def test_no_faces_at_all_are_no_tracks():
    video = Video()
    assert [video.show() for _ in range(3)] == [[], [], []]
    assert len(video.state) == 0


def test_a_hundred_jittering_faces_keep_their_ids():
    rng = np.random.default_rng(1)
    places = np.array([box(200 * (n % 10), 200 * (n // 10)) for n in range(100)])
    video = Video()
    for _ in range(20):
        ids = video.show(*(places + rng.normal(0, 4, places.shape)))
    assert ids == list(range(1, 101))


@pytest.mark.parametrize("fps", [0.2, 0.5, 1, 2, 5, 120])
def test_a_still_face_is_followed_at_any_frame_rate(fps):
    video = Video(fps=fps)
    ids = [video.show(box(100)) for _ in range(8)]
    assert ids[-3:] == [ids[-1]] * 3
    assert ids[-1] != [NO_TRACK]


def test_a_gap_in_the_stream_ends_the_tracks():
    video = Video()
    for _ in range(5):
        video.show(box(100))
    assert video.show(box(100), after=60) == [NO_TRACK]
    assert video.show(box(100)) == [2]


def test_a_clock_that_jumps_back_loses_no_face_and_leaves_no_ghost():
    video = Video()
    for _ in range(3):
        video.show(box(100), box(500))
    assert video.show(box(100), after=-900) == [1]
    assert video.state.last_seen.max() <= video.time
    assert video.state.first_seen.max() <= video.time
    for _ in range(12):
        video.show(box(100))
    assert video.alive == [1]


def test_two_frames_with_the_same_time_are_handled():
    video = Video()
    video.show(box(100))
    assert video.show(box(102), after=0) == [1]
    assert np.isfinite(video.state.velocities).all()


def test_empty_and_invalid_boxes_belong_to_no_track():
    video = Video()
    video.show(box(100))
    assert video.show(box(100), [5, 5, 5, 5], [np.nan] * 4) == [1, NO_TRACK, NO_TRACK]
    assert video.show(box(100)) == [1]


def test_an_unrelated_picture_starts_again_with_new_ids():
    video = Video()
    video.show(box(100))
    video.show(box(100))
    video.state = restarted(video.state)
    video.show(box(100))
    assert video.show(box(100)) == [2]


def test_a_step_does_not_change_the_previous_state():
    video = Video()
    video.show(box(100), box(300))
    video.show(box(101), box(300))
    before = video.state
    copies = {name: value.copy() for name, value in vars(before).items() if isinstance(value, np.ndarray)}
    video.show(box(103))
    video.show(box(500), box(103))
    for name, copy in copies.items():
        np.testing.assert_array_equal(getattr(before, name), copy)


def slow_iou(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return width * height / (sum(areas) - width * height)


corner = st.integers(0, 60)
side = st.integers(1, 40)
any_box = st.builds(lambda x, y, w, h: [float(x), float(y), float(x + w), float(y + h)], corner, corner, side, side)


@given(st.lists(any_box, min_size=1, max_size=6), st.lists(any_box, min_size=1, max_size=6))
def test_overlaps_match_the_definition(boxes, others):
    expected = [[slow_iou(one, other) for other in others] for one in boxes]
    np.testing.assert_allclose(iou(np.array(boxes), np.array(others)), expected, atol=1e-12)


film_frames = st.lists(st.tuples(st.lists(any_box, max_size=5), st.floats(-3, 3)), max_size=25)


@settings(max_examples=80)
@given(film_frames, st.integers(1, 4))
def test_whatever_happens_ids_are_unique_never_reused_and_without_gaps(frames, min_hits):
    video = Video(TrackingSettings(min_hits=min_hits))
    given_out, departed = [], set()
    for boxes, after in frames:
        before = set(video.alive)
        ids = [number for number in video.show(*boxes, after=after) if number != NO_TRACK]
        assert len(ids) == len(set(ids))
        assert set(ids) <= set(video.alive)
        departed |= before - set(video.alive)
        assert departed.isdisjoint(video.alive)
        given_out += [number for number in video.alive if number not in given_out]
        assert len(set(video.state.keys.tolist())) == len(video.state)
        assert (video.state.last_seen <= video.time).all()
    assert sorted(given_out) == list(range(1, len(given_out) + 1))
