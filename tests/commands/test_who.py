"""`who` names everybody in pictures, and says whom each face resembles."""

import json

import cv2
import numpy as np
import pytest


@pytest.fixture
def crowd(tmp_path, people_video):
    """Collins, Hopper and the stranger, from left to right."""
    _, picture = cv2.VideoCapture(str(people_video)).read()
    path = tmp_path / "pictures" / "crowd.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), picture)
    return path


@pytest.fixture
def who(answered, config_file, people_gallery):
    def run(*words, gallery=people_gallery):
        return answered("who", *words, "--config", config_file, "--gallery", gallery)

    return run


def test_everybody_is_listed_from_left_to_right_with_the_nearest_people(who, crowd):
    code, out, err = who(crowd, "--json")
    facts = json.loads(out)
    assert code == 0, err
    assert (facts["picture"], facts["width"], facts["height"]) == (str(crowd), 1280, 720)
    faces = facts["faces"]
    assert [face["name"] for face in faces] == ["Eileen Collins", "Grace Hopper", None]
    assert [face["reason"] for face in faces] == ["matched", "matched", "below_threshold"]
    for face in faces:
        x1, y1, x2, y2 = face["box"]
        assert 0 <= x1 < x2 <= 1280 and 0 <= y1 < y2 <= 720
        assert {near["name"] for near in face["nearest"]} == {"Eileen Collins", "Grace Hopper"}
        assert face["nearest"][0]["similarity"] == face["similarity"] >= face["nearest"][1]["similarity"]
    assert faces[0]["nearest"][0]["photo"].startswith("Eileen Collins")
    assert faces[0]["confidence"] > 0.9 and faces[2]["confidence"] < 0.5


def test_the_table_has_a_line_for_each_face(who, crowd):
    code, out, _ = who(crowd)
    head, _, _, collins, hopper, stranger = out.splitlines()
    assert code == 0 and head == f"{crowd}: 3 faces"
    assert collins.split("  ")[1] == "Eileen Collins" and "Grace Hopper 0." in collins and ">99 %" in collins
    assert "matched" in hopper
    assert stranger.split()[0] == "unknown" and "below_threshold" in stranger


def test_someone_is_in_a_picture_once(who, crowd):
    picture = cv2.imread(str(crowd))
    twice = np.concatenate([picture, cv2.GaussianBlur(picture, (0, 0), 2)], axis=1)
    cv2.imwrite(str(crowd), twice)
    _, out, _ = who(crowd, "--json")
    faces = json.loads(out)["faces"]
    assert [face["name"] for face in faces] == ["Eileen Collins", "Grace Hopper", None, None, None, None]
    assert [face["reason"] for face in faces[3:5]] == ["name_taken", "name_taken"]


def test_folders_and_patterns_are_read_and_a_damaged_picture_does_not_stop_the_others(who, crowd):
    (crowd.parent / "bad.jpg").write_bytes(b"no picture")
    cv2.imwrite(str(crowd.parent / "empty.png"), np.full((100, 100, 3), 128, np.uint8))
    code, out, err = who(crowd.parent, crowd.parent / "c*.png", "--json")
    answers = {json.loads(line)["picture"]: json.loads(line) for line in out.splitlines()}
    assert code == 1 and len(out.splitlines()) == len(answers) == 3, "a picture that is named twice is read once"
    assert "error" in answers[str(crowd.parent / "bad.jpg")]
    assert answers[str(crowd.parent / "empty.png")]["faces"] == []
    assert len(answers[str(crowd)]["faces"]) == 3
    code, out, err = who(crowd.parent)
    assert code == 1 and "bad.jpg" in err and "empty.png: no face found" in out


def test_an_empty_gallery_is_explained(who, crowd, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = who(crowd, "--json", gallery=tmp_path / "empty")
    assert code == 1 and "people add" in err and str(tmp_path / "empty") in err
    assert {face["reason"] for face in json.loads(out)["faces"]} == {"no_one_enrolled"}


def test_settings_of_detection_and_recognition_apply(who, crowd):
    _, out, _ = who(crowd, "--json", "--threshold", "1")
    assert [face["name"] for face in json.loads(out)["faces"]] == [None] * 3
    _, out, _ = who(crowd, "--json", "--min-score", "1")
    assert json.loads(out)["faces"] == []


def test_a_picture_that_does_not_exist_is_an_error(who, tmp_path):
    code, _, err = who(tmp_path / "missing.jpg")
    assert code == 2 and "missing.jpg" in err
