"""The number in a picture survives what happens to pictures, and a damaged one is not taken for another number."""

import cv2
import numpy as np
import pytest

from app.tools.soak.stamp import WRAPS_AT, age_s, draw_stamp, read_stamp


def stamped(number, width=640, height=360):
    image = np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)
    draw_stamp(image, number)
    return image


@pytest.mark.parametrize("number", [0, 1, 123_456_789, WRAPS_AT - 1])
@pytest.mark.parametrize("size", [(640, 360), (320, 240), (1280, 720), (321, 181)])
def test_a_number_is_read_again(number, size):
    assert read_stamp(stamped(number, *size)) == number


def test_it_survives_compression_and_scaling():
    packed = cv2.imencode(".jpg", stamped(77), [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    image = cv2.resize(cv2.imdecode(packed, cv2.IMREAD_COLOR), (480, 270))
    assert read_stamp(image) == 77


def test_one_wrong_block_makes_it_unreadable():
    image = stamped(4711)
    image[-4:, :20] = 255 - image[-4:, :20]
    image[-15:, :27] = 255 - image[-15:, :27]
    assert read_stamp(image) is None


@pytest.mark.parametrize("level", [0, 90, 128, 255])
def test_a_picture_without_one_has_none(level):
    assert read_stamp(np.full((360, 640, 3), level, np.uint8)) is None


def test_ages_are_right_when_the_number_begins_at_zero_again():
    assert age_s(WRAPS_AT - 500, 250) == 0.75
