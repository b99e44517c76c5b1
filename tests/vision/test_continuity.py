"""Cuts between scenes, but neither motion nor light, are noticed."""

import cv2
import numpy as np
import pytest

from app.vision.continuity import CutDetector, face_thumbnails


def scene(seed, size=(360, 640)):
    """A picture with large and small structures."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 256, (5, 8, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(rng.integers(0, 256, (40, 60, 3), np.uint8), size[::-1])
    return cv2.addWeighted(coarse, 0.7, fine, 0.3, 0)


def cuts(frames):
    detector = CutDetector()
    return [index for index, frame in enumerate(frames) if detector.is_cut(frame)]


def test_a_cut_is_found_in_the_frame_in_which_it_happens():
    one, two = scene(1), scene(2)
    assert cuts([one] * 5 + [two] * 5 + [one] * 5) == [5, 10]


def test_noise_and_light_are_no_cuts():
    rng, picture = np.random.default_rng(0), scene(1)
    noisy = [np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255).astype(np.uint8) for _ in range(5)]
    lit = [cv2.convertScaleAbs(picture, alpha=gain, beta=5) for gain in (1, 0.4, 0.8, 0.3, 1)]
    assert cuts([*noisy, *lit]) == []


def test_a_slow_pan_and_a_shaking_camera_are_no_series_of_cuts():
    wide = scene(3, (360, 1200))
    assert len(cuts([wide[:, 4 * n : 4 * n + 640] for n in range(100)])) <= 10
    rng = np.random.default_rng(1)
    shaken = [wide[:, x : x + 640] for x in rng.integers(0, 40, 100)]
    assert len(cuts(shaken)) <= 5


def test_a_person_who_walks_through_is_no_cut():
    def with_person(x):
        frame = scene(4).copy()
        cv2.ellipse(frame, (x, 200), (40, 60), 0, 0, 360, (120, 160, 220), -1)
        return frame

    assert cuts([with_person(12 * n) for n in range(50)]) == []


def test_a_dissolve_is_found_once_or_twice():
    one, two = scene(1), scene(2)
    mixed = [cv2.addWeighted(one, 1 - n / 25, two, n / 25, 0) for n in range(26)]
    found = cuts([one] * 10 + mixed + [two] * 10)
    assert 1 <= len(found) <= 4
    assert 10 < found[0] < 36


@pytest.mark.parametrize("blank", [0, 128, 255])
def test_blank_pictures_are_scenes_of_their_own(blank):
    picture, nothing = scene(1), np.full((360, 640, 3), blank, np.uint8)
    assert cuts([picture, nothing, nothing, picture]) == [1, 3]


def test_a_picture_of_any_size_is_accepted():
    assert cuts([np.zeros((1, 1, 3), np.uint8), np.zeros((2000, 3, 3), np.uint8)]) == []


def test_thumbnails_of_one_face_correlate_in_any_light_and_those_of_two_do_not():
    one, two = scene(1), scene(2)
    box = np.array([[100, 100, 220, 240]], np.float32)
    thumbnail = face_thumbnails(one, box)
    assert thumbnail.shape == (1, 144)
    np.testing.assert_allclose(np.linalg.norm(thumbnail, axis=1), 1, rtol=1e-5)
    darker = face_thumbnails(cv2.convertScaleAbs(one, alpha=0.5), box + 3)
    assert float(darker[0] @ thumbnail[0]) > 0.85
    assert float(face_thumbnails(two, box)[0] @ thumbnail[0]) < 0.6


def test_thumbnails_of_boxes_outside_the_picture_are_zero():
    boxes = np.array([[-50, -50, -10, -10], [700, 0, 800, 50], [5, 5, 5, 5], [-20, 10, 30, 60]], np.float32)
    lengths = np.linalg.norm(face_thumbnails(scene(1), boxes), axis=1)
    np.testing.assert_allclose(lengths, [0, 0, 0, 1], rtol=1e-5)
    assert face_thumbnails(scene(1), np.empty((0, 4), np.float32)).shape == (0, 144)
