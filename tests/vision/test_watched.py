"""Which faces count: those in the polygons to watch, and in none to ignore."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import ViewSettings, polygons
from app.vision.watched import WatchedArea

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
ARROW = ((0.1, 0.1), (0.9, 0.1), (0.5, 0.3), (0.9, 0.9), (0.1, 0.9))
"""With a corner that points inwards, at half of the width."""


def box_around(x, y, side=10):
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def test_without_polygons_every_face_counts():
    area = WatchedArea()
    assert area.watches(np.array([box_around(0, 0), box_around(640, 360)]), (640, 360)).all()
    assert area.watches(np.empty((0, 4)), (640, 360)).shape == (0,)
    assert area.ignored_mask() is None


def test_the_middle_of_a_face_decides():
    boxes = np.array([box_around(319, 100, 80), box_around(321, 100, 80)])
    assert WatchedArea(watch=[LEFT_HALF]).watches(boxes, (640, 360)).tolist() == [True, False]
    assert WatchedArea(ignore=[LEFT_HALF]).watches(boxes, (640, 360)).tolist() == [False, True]


def test_an_ignored_part_is_cut_out_of_a_watched_one():
    corner = ((0.0, 0.0), (0.2, 0.0), (0.2, 0.2), (0.0, 0.2))
    area = WatchedArea(watch=[LEFT_HALF], ignore=[corner])
    boxes = np.array([box_around(10, 10), box_around(30, 30), box_around(80, 10)])
    assert area.watches(boxes, (100, 100)).tolist() == [False, True, False]


def test_a_polygon_may_be_dented():
    area = WatchedArea(watch=[ARROW])
    boxes = np.array([box_around(*middle) for middle in ((30, 30), (80, 30), (75, 15), (40, 80))])
    assert area.watches(boxes, (100, 100)).tolist() == [True, False, True, True]


def test_motion_is_ignored_where_faces_are():
    area = WatchedArea(watch=[ARROW], ignore=[((0.0, 0.5), (1.0, 0.5), (1.0, 0.6), (0.0, 0.6))])
    mask = area.ignored_mask()
    rows, columns = np.indices(mask.shape).reshape(2, -1)
    x, y = (columns + 0.5) / mask.shape[1], (rows + 0.5) / mask.shape[0]
    boxes = np.stack([x, y, x, y], axis=1)
    np.testing.assert_array_equal(~mask.reshape(-1), area.watches(boxes, (1, 1)))
    assert 0.5 < mask.mean() < 0.7


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_two_halves_share_no_face_and_miss_none(x, y):
    right_half = tuple((1 - corner_x, corner_y) for corner_x, corner_y in LEFT_HALF)
    box = np.array([box_around(x, y, 0)])
    assert WatchedArea(watch=[LEFT_HALF]).watches(box, (1, 1)) != WatchedArea(watch=[right_half]).watches(box, (1, 1))


def test_polygons_are_read_from_the_settings():
    view = ViewSettings(watch="0,0 0.5,0 0.5,1 0,1", ignore="0,0 .2,0 .2,.2 0,.2; 0.8,0.8 1,0.8 1,1 0.8,1;")
    assert polygons(view.watch) == (LEFT_HALF,)
    assert len(polygons(view.ignore)) == 2
    assert WatchedArea.from_settings(view).watches(np.array([box_around(0.3, 0.3, 0)]), (1, 1)).all()


@pytest.mark.parametrize(
    "text",
    ["0.1 0.2 0.3", "0,0 1,1", "0,0 0,0 1,1 1,1", "0,0 1,0 1.5,1", "0,0 a,b 1,1", "0,0,0 1,1 0,1", "0,nan 1,1 0,1"],
)
def test_what_is_no_polygon_is_refused(text):
    with pytest.raises(ValueError):
        polygons(text)


def test_an_outline_that_crosses_itself_is_refused():
    assert len(polygons("0.1,0.1 0.9,0.1 0.9,0.9 0.5,0.5 0.1,0.9")) == 1
    with pytest.raises(ValueError, match="crosses itself"):
        polygons("0.1,0.1 0.9,0.1 0.1,0.9 0.9,0.9")
