"""`compare` reports whether two pictures show one person, also by its exit code."""

import json

import cv2
import numpy as np
import pytest


@pytest.fixture
def photo(tmp_path, portraits, people_gallery):
    """Paths of pictures: two of Hopper, one of Collins, one without a face."""
    (tmp_path / "collins.png").write_bytes(cv2.imencode(".png", portraits[0].image)[1].tobytes())
    (tmp_path / "blank.png").write_bytes(cv2.imencode(".png", np.full((200, 200, 3), 127, np.uint8))[1].tobytes())
    hopper = sorted(people_gallery.glob("Grace Hopper*"))
    return {
        "hopper": hopper[0],
        "hopper 2": hopper[1],
        "collins": tmp_path / "collins.png",
        "blank": tmp_path / "blank.png",
    }


@pytest.mark.parametrize(("a", "b", "code"), [("hopper", "hopper 2", 0), ("hopper", "collins", 1)])
def test_the_exit_code_is_0_for_one_person_and_1_for_two(answered, config_file, photo, a, b, code):
    result, out, err = answered("compare", photo[a], photo[b], "--json", "--config", config_file)
    facts = json.loads(out)
    assert result == code, err
    assert facts["same_person"] is (code == 0)
    assert (facts["similarity"] >= facts["threshold"]) is facts["same_person"]
    assert facts["confidence"] > 0.95 if facts["same_person"] else facts["confidence"] < 0.2


def test_the_threshold_can_be_chosen(answered, config_file, photo):
    strict = answered("compare", photo["hopper"], photo["hopper 2"], "--threshold", "1", "--config", config_file)
    assert strict[0] == 1 and "1.00" in strict[1]


def test_a_picture_without_a_face_is_named(answered, config_file, photo):
    code, _, err = answered("compare", photo["hopper"], photo["blank"], "--config", config_file)
    assert code == 2 and str(photo["blank"]) in err


def test_of_several_faces_the_one_that_is_compared_is_named(answered, config_file, photo, portraits, tmp_path):
    small = cv2.copyMakeBorder(cv2.resize(portraits[2].image, None, fx=0.5, fy=0.5), 256, 0, 0, 0, cv2.BORDER_REPLICATE)
    cv2.imwrite(str(tmp_path / "two.png"), np.concatenate([small, portraits[0].image], axis=1))
    code, out, _ = answered("compare", photo["collins"], tmp_path / "two.png", "--config", config_file)
    assert code == 0
    assert f"{tmp_path / 'two.png'}: face 2 of 2 from the left" in out and "the largest" in out


def test_a_missing_picture_is_named(answered, config_file, photo, tmp_path):
    code, _, err = answered("compare", photo["hopper"], tmp_path / "gone.jpg", "--config", config_file)
    assert code == 2 and "gone.jpg" in err


def test_the_detector_can_be_set(answered, config_file, photo):
    strict = answered("compare", photo["hopper"], photo["hopper 2"], "--min-score", "1", "--config", config_file)
    assert strict[0] == 2 and str(photo["hopper"]) in strict[2], "no face has a score of 1"
