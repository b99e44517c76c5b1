"""An enrolment photo is judged by its main face, in any orientation, and rejected with a reason."""

import dataclasses

import cv2
import numpy as np
import pytest

from app.errors import GalleryError
from app.gallery.photo import cut_out, examine_photo, write_numbered
from app.gallery.upright import find_upright
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
    assert "face 1 of 2" in finding.message and "largest" in finding.message
    assert finding.embedding @ examine(collins).embedding > 0.9


def side_by_side(portraits):
    """Collins, then Hopper, both equally large."""
    hopper = cv2.resize(portraits[1].image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    picture = np.full((512, 512 + hopper.shape[1], 3), 127, np.uint8)
    picture[:, :512] = portraits[0].image
    picture[: hopper.shape[0], 512:] = hopper
    return picture


def test_a_photo_of_two_people_is_rejected_unless_the_most_prominent_one_will_do(examine, recognizer, portraits):
    picture = side_by_side(portraits)
    finding = examine(picture)
    assert finding.why == "several_faces 2" and finding.embedding is None
    assert "--face" in finding.message
    assert examine_photo(picture, recognizer, DEFAULTS, must_be_clear=False).reason is Reason.MAIN_FACE_USED


@pytest.mark.parametrize("number", [1, 2])
def test_a_face_that_is_cut_out_is_the_chosen_one(examine, recognizer, portraits, number):
    found = find_upright(side_by_side(portraits), recognizer, DEFAULTS)
    assert len(found.faces) == 2
    finding = examine(cut_out(found, number - 1))
    assert finding.reason is Reason.USED and finding.faces_found == 1
    assert finding.embedding @ examine(portraits[number - 1].image).embedding > 0.9


def test_what_resembles_things_that_are_no_faces_is_not_enrolled(examine, portraits):
    finding = examine(portraits[0].image, max_non_face=-0.5)
    assert finding.reason is Reason.NOT_A_FACE and finding.embedding is None and finding.measured > finding.limit


def test_a_photo_with_a_certain_face_is_not_turned(recognizer, portraits):
    turned = []

    class Counting:
        def __getattr__(self, name):
            return getattr(recognizer, name)

        def find(self, images):
            turned.append(images[0].shape[:2])
            return recognizer.find(images)

    picture = np.ascontiguousarray(portraits[0].image[:, :400])
    assert not find_upright(picture, Counting(), DEFAULTS).rotated
    assert turned == [(512, 400)]


def test_the_numbers_of_a_preview_are_drawn_on_the_photo(recognizer, portraits, tmp_path):
    found = find_upright(side_by_side(portraits), recognizer, DEFAULTS)
    write_numbered(found, tmp_path / "numbers.png")
    drawn = cv2.imread(str(tmp_path / "numbers.png"))
    assert drawn.shape == found.picture.shape
    changed = (drawn != found.picture).any(axis=2)
    assert changed[:, :512].any() and changed[:, 512:].any() and not changed[-50:].any()
    with pytest.raises(GalleryError, match=r"numbers\.txt"):
        write_numbered(found, tmp_path / "numbers.txt")
