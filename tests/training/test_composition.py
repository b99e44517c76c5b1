"""Labels stay on their faces when pictures are transformed."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from training import scenes
from training.composition import Canvas, carry_faces, placing_transform, rectangle_outline
from training.teacher_detector import LabelledFaces

POINTS = np.array([[[30.0, 40], [70, 40], [50, 60], [35, 80], [65, 80]]])
ONE_FACE = LabelledFaces(np.array([[20.0, 20, 80, 100]]), np.array([0.95]), POINTS)
PICTURE = np.full((120, 100, 3), 200, np.uint8)


def placed(scale: float = 1.0, angle: float = 0.0, mirrored: bool = False) -> np.ndarray:
    return placing_transform(np.array([50.0, 60]), np.array([100.0, 100]), scale, angle, mirrored)


def canvas() -> Canvas:
    return Canvas(np.zeros((200, 200, 3), np.uint8))


def test_mirroring_swaps_left_and_right() -> None:
    boxes, landmarks = carry_faces(ONE_FACE, placed(mirrored=True))
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks[0]
    assert left_eye[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    np.testing.assert_allclose(boxes[0], [70, 60, 130, 140])


@pytest.mark.parametrize("angle", [-0.6, -0.2, 0.0, 0.3, 0.7])
@pytest.mark.parametrize("mirrored", [False, True])
def test_landmarks_stay_inside_the_box(angle: float, mirrored: bool) -> None:
    boxes, landmarks = carry_faces(ONE_FACE, placed(0.5, angle, mirrored))
    assert (landmarks[0] > boxes[0, :2]).all() and (landmarks[0] < boxes[0, 2:]).all()


def test_the_box_is_where_the_pixels_are() -> None:
    picture = np.zeros((120, 100, 3), np.uint8)
    picture[20:100, 20:80] = 255
    scene = canvas()
    scene.paste(picture, ONE_FACE, placed(1.5), rectangle_outline(picture), 0)
    rows, columns = np.nonzero(scene.image[..., 0] > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(scene.faces().boxes[0], found, atol=1.5)


def test_a_strong_reduction_keeps_the_position() -> None:
    picture = np.zeros((120, 100, 3), np.uint8)
    picture[20:100, 20:80] = 255
    scene = canvas()
    scene.paste(picture, ONE_FACE, placed(0.25), rectangle_outline(picture), 0)
    rows, columns = np.nonzero(scene.image[..., 0] > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(scene.faces().boxes[0], found, atol=1.5)


def test_a_covered_face_is_not_trained_on() -> None:
    scene = canvas()
    scene.paste(PICTURE, ONE_FACE, placed(), rectangle_outline(PICTURE), 0)
    over = placing_transform(np.array([50.0, 60]), np.array([110.0, 110]), 1.0, 0.0, False)
    scene.paste(PICTURE, ONE_FACE, over, rectangle_outline(PICTURE), 0)
    faces = scene.faces()
    assert faces.certain.sum() == 1
    np.testing.assert_allclose(faces.boxes[faces.certain][0, :2], [80, 70])


def test_a_face_mostly_outside_is_not_trained_on() -> None:
    scene = canvas()
    aside = placing_transform(np.array([50.0, 60]), np.array([205.0, 100]), 2.0, 0.0, False)
    scene.paste(PICTURE, ONE_FACE, aside, rectangle_outline(PICTURE), 0)
    assert not scene.faces().certain.any()


def test_a_doubtful_or_tiny_face_is_not_trained_on() -> None:
    doubtful = LabelledFaces(ONE_FACE.boxes, np.array([0.5]), ONE_FACE.landmarks)
    scene = canvas()
    scene.paste(PICTURE, doubtful, placed(), rectangle_outline(PICTURE), 0)
    scene.paste(PICTURE, ONE_FACE, placed(0.1), rectangle_outline(PICTURE), 0)
    faces = scene.faces()
    assert len(faces) >= 1 and not faces.certain.any()


def test_scenes_repeat_for_a_seed_and_keep_held_out_pictures_out(tiny_set: Tuple[Path, Path]) -> None:
    shelf = scenes.PictureShelf(*tiny_set)
    first, faces = scenes.draw_batch(shelf, (1, 7), 3, 128)
    again, _ = scenes.draw_batch(scenes.PictureShelf(*tiny_set), (1, 7), 3, 128)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (3, 128, 128, 3) and len(faces) == 3
    assert len(shelf.people) == 2


def test_every_kind_of_scene_can_be_drawn(tiny_set: Tuple[Path, Path]) -> None:
    shelf = scenes.PictureShelf(*tiny_set)
    for maker, _ in scenes.SCENE_KINDS:
        drawn = maker(shelf, np.random.default_rng(3), 160, 1.0)
        faces = drawn.faces()
        assert drawn.image.shape == (160, 160, 3)
        inside = faces.landmarks[faces.certain]
        boxes = faces.boxes[faces.certain]
        assert (inside >= boxes[:, None, :2]).all() and (inside <= boxes[:, None, 2:]).all()
