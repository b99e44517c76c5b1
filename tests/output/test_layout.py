"""Pictures fitted into sizes, and several channels in one picture."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from made_results import picture

from app.output.layout import grid, grid_cells


def test_one_picture_is_unchanged_unless_too_large():
    image = picture(320, 180)
    assert grid([image], (640, 360)) is image
    assert grid([picture(1280, 720)], (640, 360)).shape == (360, 640, 3)


def test_no_picture_is_black():
    assert not grid([], (64, 36)).any()


def test_four_pictures_are_arranged_two_by_two():
    whole = grid([picture(320, 180, grey) for grey in (10, 20, 30, 40)], (640, 360))
    assert whole.shape == (360, 640, 3)
    assert [int(whole[y, x, 0]) for y in (90, 270) for x in (160, 480)] == [10, 20, 30, 40]


def test_upright_pictures_are_side_by_side():
    size, _ = grid_cells([(180, 320)] * 3, (640, 360))
    assert size[0] > size[1]


@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=1, max_size=9),
    st.tuples(st.integers(60, 300), st.integers(60, 300)),
)
def test_cells_are_inside_and_never_overlap(sizes, max_size):
    size, cells = grid_cells(sizes, max_size)
    assert len(cells) == len(sizes) and size[0] <= max_size[0] and size[1] <= max_size[1]
    taken = np.zeros((size[1], size[0]), int)
    for x, y, width, height in cells:
        assert width >= 1 and height >= 1 and x + width <= size[0] and y + height <= size[1]
        taken[y : y + height, x : x + width] += 1
    assert taken.max() <= 1


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=2, max_size=5))
def test_any_mixture_of_sizes_can_be_shown(sizes):
    whole = grid([picture(width, height, 200) for width, height in sizes], (160, 90))
    assert whole.shape[0] <= 90 and whole.shape[1] <= 160 and whole.max() == 200
