"""Noses and boxes are assigned to each other, and read from every format."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.errors import SourceError
from app.tools.scan.drawing import png_names
from app.tools.scan.noses import Expected, compare, expected_of, read_expected


def verdict(boxes, noses, ignored=()):
    expected = Expected(np.array(noses, float).reshape(-1, 2), np.array(ignored, float).reshape(-1, 4))
    found = compare(np.array(boxes, float).reshape(-1, 4), expected)
    return found.missed, found.false


def test_a_nose_in_a_box_is_found_and_one_on_its_edge_too():
    assert verdict([(0, 0, 10, 10), (20, 0, 30, 10)], [(5, 5), (30, 10)]) == ((), ())


def test_a_nose_without_a_box_and_a_box_without_a_nose_are_errors():
    assert verdict([(0, 0, 10, 10), (50, 50, 60, 60)], [(5, 5), (20, 20)]) == ((1,), (1,))


def test_two_boxes_around_one_nose_are_an_error():
    assert verdict([(0, 0, 10, 10), (1, 1, 11, 11)], [(5, 5)]) == ((), (1,))


def test_one_box_around_two_noses_is_an_error():
    assert verdict([(0, 0, 30, 30)], [(5, 5), (20, 20)]) == ((1,), ())


def test_a_box_that_contains_two_noses_is_left_to_the_one_that_has_no_other():
    assert verdict([(0, 0, 30, 30), (0, 0, 10, 10)], [(5, 5), (20, 20)]) == ((), ())


def test_no_faces_and_none_expected():
    assert verdict([], []) == ((), ())


def test_a_box_on_an_ignored_label_is_no_error():
    assert verdict([(0, 0, 10, 10)], [], [(0, 0, 12, 12)]) == ((), ())
    assert verdict([(90, 90, 99, 99)], [], [(0, 0, 12, 12)]) == ((), (0,))


def test_noses_in_csv(tmp_path):
    path = tmp_path / "noses.csv"
    path.write_text("picture,x,y\na.jpg,10,20.5\na.jpg,30,40\n\nb.jpg,,\n")
    found = read_expected(path)
    assert found["a.jpg"].noses.tolist() == [[10, 20.5], [30, 40]]
    assert found["b.jpg"].noses.shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a.jpg,1,2\n", 1), ("", 1), ("picture,x,y\na.jpg,1\n", 2), ("picture,x,y\na.jpg,1,y\n", 2)],
)
def test_csv_that_is_not_understood_is_named_with_the_line(tmp_path, text, line):
    path = tmp_path / "noses.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=f"{path}:{line}"):
        read_expected(path)


def test_the_nose_of_a_label_is_its_landmark_or_the_middle(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text(f"# a.jpg\n0 0 40 40 1 1 0 2 2 0 {'17 18 0 ' * 3}1.0\n100 100 20 30\n")
    assert read_expected(path)["a.jpg"].noses.tolist() == [[17, 18], [110, 115]]


def test_the_nose_of_an_ellipse_of_fddb_is_its_centre(tmp_path):
    (tmp_path / "FDDB-fold-01-ellipseList.txt").write_text("big/img_1\n1\n50 30 0.3 100 80 1\n")
    np.testing.assert_allclose(read_expected(tmp_path)["big/img_1.jpg"].noses, [[100, 80]])


def test_crowds_of_coco_are_ignored(tmp_path):
    path = tmp_path / "labels.json"
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "iscrowd": 1}
    images = [{"id": 1, "file_name": "a.jpg", "width": 99, "height": 99}]
    categories = [{"id": 1, "name": "face"}]
    path.write_text(json.dumps({"images": images, "annotations": [annotation], "categories": categories}))
    found = read_expected(path)["a.jpg"]
    assert len(found.noses) == 0 and found.ignored.tolist() == [[0, 0, 10, 10]]


def test_a_picture_has_the_annotations_of_the_longest_end_of_its_path():
    expected = {"a.jpg": "any", "x/a.jpg": "one"}
    assert expected_of(Path("/photos/x/a.jpg"), expected) == "one"
    assert expected_of(Path("/photos/y/a.jpg"), expected) == "any"
    assert expected_of(Path("/photos/y/ba.jpg"), expected) is None


def test_pictures_of_the_same_name_are_written_to_different_files():
    assert png_names([Path("x/a.jpg"), Path("y/a.jpg"), Path("a.png")]) == ["a.jpg.png", "a.jpg-2.png", "a.png.png"]
