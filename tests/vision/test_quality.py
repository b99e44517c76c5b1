import numpy as np
import pytest

from app.types import Faces
from app.vision.quality import main_face, measure, parts_outside

FACE = np.array([[[70, 70], [110, 70], [90, 95], [74, 115], [106, 115]]], np.float32)


def faces(*boxes, scores=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.ones(len(boxes), np.float32) if scores is None else np.array(scores, np.float32)
    return Faces(boxes, scores, np.repeat(FACE, len(boxes), axis=0))


def test_a_face_has_the_size_of_its_shorter_side():
    assert measure(faces([0, 0, 30, 50], [0, 0, 60, 50]), (640, 480)).size_px.tolist() == [30, 50]


@pytest.mark.parametrize(
    ("shift", "part"),
    [((0, 0), 0), ((-90, 0), 0.5), ((550, 0), 0.5), ((0, 395), 0.4), ((-250, 0), 1), ((0, -300), 1)],
)
def test_the_part_of_a_face_outside_the_picture_is_measured(shift, part):
    outside = parts_outside(FACE + np.float32(shift), (640, 480))
    assert outside == pytest.approx([part], abs=0.11)


def test_the_part_outside_is_that_of_the_tilted_face():
    turned = (FACE[:, :, ::-1] * (1, -1)).astype(np.float32)  # by 90 degrees; now left of x = 120 and above y = 0
    assert parts_outside(turned + np.float32((0, 480)), (640, 480)) == pytest.approx([0], abs=0.01)
    assert parts_outside(turned + np.float32((0, 90)), (640, 480)) == pytest.approx([0.5], abs=0.11)


def test_a_blurred_face_is_less_sharp_and_a_dark_one_less_exposed():
    crop = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    blurred = crop.astype(np.float32)
    blurred[:-1, :-1] = (blurred[:-1, :-1] + blurred[1:, :-1] + blurred[:-1, 1:] + blurred[1:, 1:]) / 4
    crops = np.stack([crop, blurred.astype(np.uint8), crop // 4, np.full_like(crop, 255)])
    measured = measure(faces(*[[10, 10, 50, 50]] * 4), (640, 480), crops)
    assert measured.sharpness[1] < measured.sharpness[0] / 2 and measured.sharpness[3] == 0
    assert measured.exposure[2] < measured.exposure[0] < measured.exposure[3] == pytest.approx(1)


def test_without_crops_sharpness_and_exposure_are_not_measured():
    measured = measure(faces([10, 10, 50, 50]), (640, 480))
    assert np.isnan(measured.sharpness).all() and np.isnan(measured.exposure).all()
    assert np.isfinite([measured.yaw, measured.pitch, measured.roll]).all()


def test_no_faces_have_no_quality():
    assert len(measure(faces(), (640, 480))) == 0


def test_the_main_face_is_large_certain_and_near_the_middle():
    middle, corner = [280, 200, 360, 280], [0, 0, 80, 80]
    assert main_face(faces(corner, middle), (640, 480)) == 1
    assert main_face(faces([200, 100, 440, 340], middle), (640, 480)) == 0
    assert main_face(faces([200, 100, 440, 340], middle, scores=[0.3, 1]), (640, 480)) == 1


def test_a_small_face_in_the_background_with_a_higher_score_is_not_the_main_one():
    """As SCRFD scores them."""
    large, small = [200, 140, 440, 380], [380, 150, 560, 330]
    assert main_face(faces(large, small, scores=[0.7, 0.88]), (640, 480)) == 0
