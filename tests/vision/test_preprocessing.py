"""Images are resized to the same pixels on every processor and with every version of OpenCV."""

import zlib

import cv2
import numpy as np
import pytest

from app.vision.preprocessing import resize_exactly


def picture():
    rows, columns = np.arange(720)[:, None], np.arange(1280)[None]
    planes = [(rows * rows // 7 + columns * (3 + plane) + rows * columns // (11 + plane)) % 256 for plane in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "checksum"),
    [
        ((640, 360), 4203360910),
        ((480, 270), 4070213574),
        ((427, 240), 3672786278),
        ((256, 144), 2396814959),
        ((1000, 600), 2912584085),
    ],
)
def test_pixels_are_those_seen_on_x86_64_and_on_arm64(size, checksum):
    assert zlib.crc32(resize_exactly(picture(), size).tobytes()) == checksum


def test_small_pictures_are_enlarged_to_the_same_pixels_as_well():
    assert zlib.crc32(resize_exactly(picture()[:50, :40], (112, 112)).tobytes()) == 3437004764


@pytest.mark.parametrize("size", [(1920, 1080), (3200, 1800), (1920, 1800)])
def test_the_fast_way_for_odd_ratios_gives_what_the_exact_one_gives(size):
    image = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    expected = cv2.resize(image, (640, 360), interpolation=cv2.INTER_LINEAR_EXACT)
    assert np.array_equal(resize_exactly(image, (640, 360)), expected)
