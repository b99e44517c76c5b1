"""An enrolment photo is judged by the face it is of, however it is held, and refused with the reason."""

import cv2
import numpy as np
import pytest

from app.gallery.people import PhotoStatus
from app.gallery.photo import examine_photo
from app.settings import GallerySettings


@pytest.fixture
def examine(recognizer):
    def run(picture, **limits):
        return examine_photo(np.ascontiguousarray(picture), recognizer, GallerySettings(**limits))

    return run


def test_a_good_photo_is_kept_with_a_unit_embedding(examine, portraits):
    finding = examine(portraits[0].image)
    assert finding.status is PhotoStatus.KEPT
    assert np.linalg.norm(finding.embedding) == pytest.approx(1, abs=1e-4)
    assert finding.faces_found == 1 and not finding.rotation_fixed and finding.message == ""
    assert 70 < finding.face_px < 130


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photo_on_its_side_is_turned_and_gives_the_same_person(examine, portraits, turns):
    upright = examine(portraits[1].image)
    turned = examine(np.rot90(portraits[1].image, turns))
    assert turned.status.kept and turned.rotation_fixed
    assert turned.embedding @ upright.embedding > 0.9


def test_a_face_that_fills_its_picture_is_found(examine, portraits):
    collins = portraits[0].image
    assert examine(collins[60:175, 182:270]).status.kept


def test_a_large_photo_is_measured_in_its_own_pixels(examine, portraits):
    small = examine(portraits[0].image)
    large = examine(cv2.resize(portraits[0].image, None, fx=5, fy=5))
    assert large.face_px == pytest.approx(5 * small.face_px, rel=0.15)


def test_a_picture_without_a_face_is_refused(examine):
    finding = examine(np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8))
    assert finding.status is PhotoStatus.NO_FACE and finding.embedding is None
    assert "no face found" in finding.message


def test_a_doubtful_face_is_refused_with_its_score_and_the_setting(examine, portraits):
    finding = examine(portraits[0].image, min_score=1)
    assert finding.status is PhotoStatus.NO_FACE
    assert "at least 1.00 is needed" in finding.message and "gallery.min_score" in finding.message


def test_what_is_beyond_doubt_depends_on_the_detectors_family(portraits, recognizer, monkeypatch):
    monkeypatch.setattr(recognizer.detector, "photo_score", 1.0)
    picture = np.ascontiguousarray(portraits[0].image)
    assert "score" in examine_photo(picture, recognizer, GallerySettings()).message
    assert examine_photo(picture, recognizer, GallerySettings(min_score=0.8)).status.kept


def test_a_small_face_is_refused_with_its_size_and_the_setting(examine, portraits):
    finding = examine(portraits[0].image, min_face_px=300)
    assert finding.status is PhotoStatus.TOO_SMALL
    assert f"{finding.face_px:.0f} px" in finding.message and "gallery.min_face_px" in finding.message


def test_a_blurred_face_is_refused_with_its_sharpness(examine, portraits):
    finding = examine(portraits[0].image, min_sharpness=5000)
    assert finding.status is PhotoStatus.TOO_BLURRED
    assert "sharpness" in finding.message and "gallery.min_sharpness" in finding.message


def test_of_several_faces_the_clear_one_in_the_middle_is_used_and_it_is_said(examine, portraits):
    collins, hopper = portraits[0].image, portraits[1].image
    tall = np.full((700, 900, 3), 128, np.uint8)
    tall[100:612, 150:662] = collins
    tall[10:160, 750:878] = cv2.resize(hopper, (128, 150))
    finding = examine(tall)
    assert finding.status is PhotoStatus.KEPT_MAIN_OF_SEVERAL
    assert "2 faces" in finding.message
    assert finding.embedding @ examine(collins).embedding > 0.9
