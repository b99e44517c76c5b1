"""`python -m app scan` with the built-in detector. Through a server: tests/service/test_scan.py."""

import json

import cv2

GREEN, RED = (0, 200, 0), (0, 0, 230)


def has(path, colour):
    return bool((cv2.imread(str(path)) == colour).all(axis=2).any())


def test_without_annotations_the_faces_are_drawn(answered, scenes, config_file, tmp_path):
    code, out, err = answered("scan", scenes, "--out", tmp_path / "out", "--config", config_file)
    assert code == 0, err
    assert "2 faces in 2 pictures" in out
    assert has(tmp_path / "out" / "pair.png.png", GREEN) and not has(tmp_path / "out" / "pair.png.png", RED)
    assert cv2.imread(str(tmp_path / "out" / "wall.png.png")).shape == (200, 300, 3)


def test_annotations_that_match(answered, scenes, config_file):
    code, out, err = answered("scan", scenes, "--expect", scenes / "noses.csv", "--config", config_file)
    assert code == 0, err
    assert "undetected faces: 0 of 2, false face detections: 0 of 2" in out


def test_annotations_that_do_not_match_are_drawn_in_red(answered, scenes, config_file, tmp_path):
    code, out, _ = answered(
        "scan", scenes, "--expect", scenes / "wrong.csv", "--out", tmp_path / "out", "--config", config_file
    )
    assert code == 1
    assert "undetected faces: 1 of 2, false face detections: 1 of 2" in out
    assert has(tmp_path / "out" / "pair.png.png", RED) and has(tmp_path / "out" / "wall.png.png", RED)


def test_only_pictures_with_errors_are_written(answered, scenes, config_file, tmp_path):
    words = ("--expect-faces", 2, "--out", tmp_path / "out", "--only-errors", "--json", "--config", config_file)
    code, out, _ = answered("scan", scenes, *words)
    assert code == 1
    pair, wall = map(json.loads, out.splitlines())
    assert (pair["errors"], wall["errors"]) == (0, 2)
    assert pair["drawn"] is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["wall.png.png"]


def test_a_picture_that_cannot_be_read_is_an_error_and_the_others_are_scanned(answered, scenes, config_file, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    words = (tmp_path / "broken.jpg", scenes / "pair.png", "--config", config_file)
    code, out, err = answered("scan", *words)
    assert code == 1
    assert "broken.jpg" in err and "2 faces in 1 picture" in out


def test_annotations_of_other_pictures_are_an_error(answered, scenes, config_file, tmp_path):
    (tmp_path / "other.csv").write_text("picture,x,y\nother.jpg,1,2\n")
    code, _, err = answered("scan", scenes, "--expect", tmp_path / "other.csv", "--config", config_file)
    assert code == 2 and "other.jpg" in err
