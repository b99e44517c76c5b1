"""Labels in WIDER's, FDDB's and RetinaFace's text formats and in COCO's JSON, whole and broken."""

import json

import numpy as np
import pytest

from app.errors import SourceError
from app.tools.evaluation.coco import read_coco
from app.tools.evaluation.labels import check_files, pictures_without_faces, read_text_labels, retinaface_lines
from app.types import Faces

WIDER = """0--Parade/first one.jpg
2
10 20 30 40 0 0 0 0 0 0
1 2 3 4 2 0 0 1 0 0
0--Parade/empty.jpg
0
0 0 0 0 0 0 0 0 0 0
1/no filler.jpg
0
last.jpg
1
5 5 0 7 0 0 0 0 0 0
"""

LANDMARKS = "11 12 0.0 21 22 0.0 31 32 1.0 41 42 0.0 51 52 0.0"

RETINAFACE = f"""# a/one.jpg
10 20 30 40 {LANDMARKS} 0.98
1 2 3 4 {"-1.0 " * 15}0.5
# b/empty one.jpg
# c.jpg
5 6 7 8
"""


FDDB = """2002/08/11/big/img_591
2
50 30 0 100 80 1
50 30 1.5707963267948966 100 80  1
2002/08/26/big/img_265
0
"""


@pytest.fixture
def labels(tmp_path):
    def write(content, name="labels.txt"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def test_the_label_of_an_ellipse_is_the_box_around_it(labels):
    path = labels(FDDB, "FDDB-fold-01-ellipseList.txt")
    first, empty = read_text_labels(path)
    assert first.file == "2002/08/11/big/img_591.jpg" and first.where == f"{path}:1"
    np.testing.assert_allclose(first.boxes, [[50, 50, 150, 110], [70, 30, 130, 130]])
    assert not first.ignored.any() and empty.has_no_face


def test_the_box_of_a_tilted_ellipse_touches_it_on_all_sides(labels):
    path = labels("a\n1\n50 30 -0.7 100 80 1\n", "x-ellipseList.txt")
    turns = np.linspace(0, 2 * np.pi, 20_000)
    across, along = 50 * np.cos(turns), 30 * np.sin(turns)
    x = 100 + across * np.cos(-0.7) - along * np.sin(-0.7)
    y = 80 + across * np.sin(-0.7) + along * np.cos(-0.7)
    (picture,) = read_text_labels(path)
    np.testing.assert_allclose(picture.boxes[0], [x.min(), y.min(), x.max(), y.max()], atol=1e-4)


def test_all_folds_of_a_folder_are_read_and_nothing_else(labels, tmp_path):
    labels("a\n1\n50 30 0 100 80 1\n", "FDDB-fold-01-ellipseList.txt")
    labels("b\n0\n", "FDDB-fold-02-ellipseList.txt")
    labels("a\nb\n", "FDDB-fold-01.txt")
    assert [picture.file for picture in read_text_labels(tmp_path)] == ["a.jpg", "b.jpg"]


def test_a_folder_without_folds_has_no_labels(tmp_path):
    with pytest.raises(SourceError, match=str(tmp_path)):
        read_text_labels(tmp_path)


@pytest.mark.parametrize("row", ["50 30 0 100", "50 30 zero 100 80 1", "1 2 3 4 5 6 7 8 9 10"])
def test_a_line_that_is_no_ellipse_is_named(labels, row):
    path = labels(f"a\n1\n{row}\n", "x-ellipseList.txt")
    with pytest.raises(SourceError, match=f"{path}:3"):
        read_text_labels(path)


def test_wider(labels):
    path = labels(WIDER)
    first, empty, unfilled, last = read_text_labels(path)
    assert first.file == "0--Parade/first one.jpg" and first.where == f"{path}:1"
    assert first.boxes.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]]
    assert first.ignored.tolist() == [False, True]
    assert np.isnan(first.landmarks).all() and first.landmarks.shape == (2, 5, 2)
    assert empty.has_no_face and empty.boxes.shape == (0, 4)
    assert unfilled.file == "1/no filler.jpg" and unfilled.has_no_face
    # A box without width counts for nothing.
    assert last.ignored.tolist() == [True]


def test_retinaface(labels):
    one, empty, plain = read_text_labels(labels(RETINAFACE))
    assert one.file == "a/one.jpg"
    assert one.boxes.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]]
    assert one.landmarks[0].tolist() == [[11, 12], [21, 22], [31, 32], [41, 42], [51, 52]]
    assert np.isnan(one.landmarks[1]).all()
    assert empty.file == "b/empty one.jpg" and empty.has_no_face
    assert np.isnan(plain.landmarks).all() and not plain.ignored.any()


def test_what_is_written_is_read_back(labels):
    faces = Faces(
        np.array([[1.5, 2.25, 30.75, 44.5]], np.float32),
        np.array([0.9], np.float32),
        np.arange(10, dtype=np.float32).reshape(1, 5, 2) + 0.25,
    )
    lines = retinaface_lines("x/ä 1.jpg", faces) + retinaface_lines("none.jpg", Faces.empty())
    found, none = read_text_labels(labels("\n".join(lines)))
    assert found.file == "x/ä 1.jpg" and none.has_no_face
    np.testing.assert_allclose(found.boxes, faces.boxes, atol=0.011)
    np.testing.assert_allclose(found.landmarks, faces.landmarks, atol=0.011)


@pytest.mark.parametrize(
    "text, message",
    [
        ("\n \n", ": no labels"),
        ("a.jpg\n", ":1: expected the number of faces in the line after 'a.jpg'"),
        ("a.jpg\nb.jpg\n", ":1: expected the number of faces"),
        ("a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n", ":1: expected 2 faces of 'a.jpg', but the file ends after 1"),
        ("a.jpg\n²\n", ":1: expected the number of faces in the line after 'a.jpg'"),
        ("a.jpg\n-1\n", ":1: expected the number of faces in the line after 'a.jpg'"),
        ("a.jpg\n2\n1 2 3 4\nb.jpg\n0\n", ":4: expected x y w h and six more values for a face, not 'b.jpg'; is a"),
        ("a.jpg\n1\n1 2 three 4\n", ":3: expected x y w h"),
        ("a.jpg\n1\n1 2 nan 4\n", ":3: expected x y w h"),
        ("a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n5 6 7 8 0 0 0 0 0 0\n", ":4: expected the path of a picture"),
        ("a.jpg\n0\na.jpg\n0\n", ":3: duplicate labels of 'a.jpg'"),
        ("# a.jpg\n1 2 3\n", ":2: expected x y w h, alone or followed by"),
        ("# a.jpg\n1 2 3 4 5 6\n", ":2: expected x y w h, alone or followed by"),
        ("#\n1 2 3 4\n", ":1: expected the path of a picture after #"),
    ],
)
def test_broken_text_labels(labels, text, message):
    path = labels(text)
    with pytest.raises(SourceError) as caught:
        read_text_labels(path)
    assert f"{path}{message}" in str(caught.value)


def coco(**changes):
    content = {
        "images": [{"id": 7, "file_name": "a/one.jpg"}, {"id": 8, "file_name": "empty.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [10, 20, 30, 40]},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 100, 100], "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4], "ignore": 1},
            {"id": 4, "image_id": 7, "category_id": 1, "bbox": [1, 1, 1, 1]},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "Face"}],
    }
    content.update(changes)
    return content


def test_coco(labels):
    one, empty = read_coco(labels(coco()))
    assert one.file == "a/one.jpg" and empty.has_no_face
    assert one.boxes.tolist() == [[10, 20, 40, 60], [0, 0, 100, 100], [1, 2, 4, 6]]
    assert one.ignored.tolist() == [False, True, True]
    assert one.crowds.tolist() == [False, True, False]


def test_coco_ids_may_be_written_with_a_point(labels):
    one, _ = read_coco(labels(coco(annotations=[{"image_id": 7.0, "category_id": 2.0, "bbox": [1, 2, 3, 4]}])))
    assert one.boxes.tolist() == [[1, 2, 4, 6]]


def test_coco_keypoints(labels):
    points = [value for number in range(5) for value in (number, number + 10, 2)]
    half_hidden = [*points[:-1], 0]
    annotations = [
        {"image_id": 7, "bbox": [0, 0, 9, 9], "keypoints": keypoints}
        for keypoints in (points, half_hidden, [1, 2, 2] * 17, [])
    ]
    one, _ = read_coco(labels(coco(annotations=annotations, categories=[])))
    assert one.landmarks[0].tolist() == [[0, 10], [1, 11], [2, 12], [3, 13], [4, 14]]
    assert np.isnan(one.landmarks[1:]).all()


@pytest.mark.parametrize(
    "content, message",
    [
        (" \n", ": no labels"),
        (coco(images=[], annotations=[]), ": no labels"),
        ('{"images": [\n]', ":2: "),
        ([1], ": expected an object"),
        ({"images": []}, ": expected a list 'annotations'"),
        (coco(images=[{"id": 7}]), ": images, number 1: file_name is missing"),
        (coco(annotations=[{"image_id": 7}]), ": annotations, number 1: bbox is missing"),
        (coco(annotations=[{"id": 5, "image_id": 9, "bbox": [1, 2, 3, 4]}]), ": annotation 5: "),
        (coco(images=[{"id": [7], "file_name": "a"}]), ": images, number 1: id must be"),
        (
            coco(annotations=[{"image_id": {}, "bbox": [1, 2, 3, 4]}]),
            ": annotations, number 1: image_id must be a number",
        ),
        (coco(images=[{"id": float("nan"), "file_name": "a"}]), ": images, number 1: id must be"),
        (coco(images=[{"id": None, "file_name": "a"}]), ": images, number 1: id must be"),
        (coco(images=[{"id": 7, "file_name": "a"}] * 2), ": duplicate image id 7"),
        (coco(images=[{"id": at, "file_name": "a"} for at in (7, 8)]), "duplicate labels of 'a'"),
        (coco(annotations=[{"image_id": 7, "bbox": [1, 2, 3, 10**400]}], categories=[]), "expected 4 numbers"),
        (coco(annotations=[{"image_id": 7, "bbox": [1, 2, 3, float("nan")]}], categories=[]), "expected 4 numbers"),
        (
            coco(annotations=[{"image_id": 7, "bbox": [1, 2, 3, 4], "keypoints": 5}], categories=[]),
            "keypoints: expected",
        ),
        (coco(annotations=[{"image_id": 7, "bbox": [1, 2, 3], "category_id": 2}]), ": annotation number 1: bbox"),
        (coco(annotations=[{"image_id": 7, "bbox": [1, 2, 3, "x"], "category_id": 2}]), "expected 4 numbers"),
        (coco(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]), "'face': cat"),
    ],
)
def test_broken_coco(labels, content, message):
    path = labels(content, "labels.json")
    with pytest.raises(SourceError) as caught:
        read_coco(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


def test_missing_pictures_are_listed(labels, tmp_path):
    path = labels(WIDER)
    with pytest.raises(SourceError) as caught:
        check_files(read_text_labels(path), tmp_path)
    assert f"{path}:1: no picture '0--Parade/first one.jpg' in {tmp_path}" in str(caught.value)
    with pytest.raises(SourceError, match="no such folder"):
        check_files(pictures_without_faces(["a.jpg"]), tmp_path / "none")
