"""An enrolment photo is judged by its main face, in any orientation, and rejected with a reason."""

import dataclasses

import cv2
import numpy as np
import pytest

from app.gallery.photo import examine_photo
from app.settings import QualitySettings
from app.types import Reason

DEFAULTS = QualitySettings().photo_limits(default_min_score=0.8)


@pytest.fixture
def examine(recognizer):
    def run(picture, **limits):
        return examine_photo(np.ascontiguousarray(picture), recognizer, dataclasses.replace(DEFAULTS, **limits))

    return run


def test_a_good_photo_is_used_with_a_unit_embedding(examine, portraits):
    finding = examine(portraits[0].image)
    assert finding.reason is Reason.USED
    assert np.linalg.norm(finding.embedding) == pytest.approx(1, abs=1e-4)
    assert finding.faces_found == 1 and not finding.rotation_fixed and finding.message == ""
    assert 70 < finding.face_px < 130


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photo_on_its_side_is_rotated_and_gives_the_same_person(examine, portraits, turns):
    upright = examine(portraits[1].image)
    rotated = examine(np.rot90(portraits[1].image, turns))
    assert rotated.used and rotated.rotation_fixed
    assert rotated.embedding @ upright.embedding > 0.9


def test_a_face_that_fills_its_picture_is_found(examine, portraits):
    collins = portraits[0].image
    assert examine(collins[60:175, 182:270]).used


def test_a_large_photo_is_measured_in_its_own_pixels(examine, portraits):
    small = examine(portraits[0].image)
    large = examine(cv2.resize(portraits[0].image, None, fx=5, fy=5))
    assert large.face_px == pytest.approx(5 * small.face_px, rel=0.15)


def test_a_picture_without_a_face_is_rejected(examine):
    finding = examine(np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8))
    assert finding.reason is Reason.NO_FACE and finding.embedding is None
    assert finding.why == "no_face" and finding.message


@pytest.mark.parametrize(
    ("limits", "reason", "setting"),
    [
        ({"min_score": 1.0}, Reason.LOW_SCORE, "quality.photo_min_score"),
        ({"min_face_px": 300}, Reason.TOO_SMALL, "quality.photo_min_face_px"),
        ({"min_sharpness": 5000}, Reason.TOO_BLURRED, "quality.photo_min_sharpness"),
    ],
)
def test_a_face_below_a_limit_is_rejected_with_the_setting(examine, portraits, limits, reason, setting):
    finding = examine(portraits[0].image, **limits)
    assert finding.reason is reason and finding.embedding is None
    assert setting in finding.message
    (limit,) = limits.values()
    assert finding.limit == limit and finding.measured < limit and finding.text.startswith(f"{reason} ")
    assert finding.face_px > 0 and finding.sharpness > 0


def test_of_several_faces_the_clear_one_in_the_middle_is_used(examine, portraits):
    collins, hopper = portraits[0].image, portraits[1].image
    tall = np.full((700, 900, 3), 128, np.uint8)
    tall[100:612, 150:662] = collins
    tall[10:160, 750:878] = cv2.resize(hopper, (128, 150))
    finding = examine(tall)
    assert finding.reason is Reason.MAIN_FACE_USED
    assert "2 faces" in finding.message
    assert finding.embedding @ examine(collins).embedding > 0.9
