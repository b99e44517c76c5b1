"""Labels by the agreement of several detectors, and crowds with human boxes."""

from __future__ import annotations

from pathlib import Path
from typing import List, Sequence, Tuple

import numpy as np
import pytest

from app.tools.evaluation.labels import LabelledFace, labelled_picture
from app.types import Faces
from training.agreement import (
    HUMAN_SCORE,
    UNLABELLED_SCORE,
    SourcePlan,
    agreed_faces,
    label_picture,
    label_source,
    with_human_boxes,
)
from training.composition import POSITIVE_SCORE
from training.teacher_detector import LabelledFaces

BOX = (10.0, 10.0, 50.0, 60.0)
NEARLY = (12.0, 11.0, 51.0, 59.0)
ELSEWHERE = (100.0, 100.0, 130.0, 140.0)


def faces(*found: Tuple[Sequence[float], float]) -> Faces:
    boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in found], np.float32)
    return Faces(boxes, scores, np.repeat(boxes[:, None, :2], 5, axis=1))


def test_two_sure_detectors_make_one_certain_face_with_the_box_of_the_first() -> None:
    agreed = agreed_faces([faces((BOX, 0.6)), faces((NEARLY, 0.9))], [0.6, 1.0])
    np.testing.assert_array_equal(agreed.boxes, [BOX])
    assert agreed.scores[0] == pytest.approx(0.9)


def test_a_face_of_one_detector_is_neither_certain_nor_background() -> None:
    agreed = agreed_faces([faces(), faces((BOX, 1.0)), faces()], [0.6, 1.0, 0.6])
    assert 0.3 <= agreed.scores[0] < POSITIVE_SCORE


def test_doubtful_boxes_of_one_detector_are_dropped() -> None:
    assert len(agreed_faces([faces((BOX, 0.2)), faces()], [0.6, 1.0])) == 0


def test_the_surest_faces_come_first() -> None:
    both = faces((BOX, 0.7), (ELSEWHERE, 0.95))
    agreed = agreed_faces([both, both], [1.0, 1.0])
    np.testing.assert_array_equal(agreed.boxes, [ELSEWHERE, BOX])


def test_human_boxes_get_the_landmarks_of_matching_faces() -> None:
    human = labelled_picture("a.jpg", [LabelledFace(11, 10, 39, 50), LabelledFace(200, 10, 20, 20, ignored=True)], "")
    detected = LabelledFaces(
        np.array([BOX, ELSEWHERE], np.float32), np.array([0.9, 0.9], np.float32), np.full((2, 5, 2), 7, np.float32)
    )
    joined = with_human_boxes(detected, human)
    np.testing.assert_array_equal(joined.boxes[0], (11, 10, 50, 60))
    np.testing.assert_array_equal(joined.scores, np.float32([HUMAN_SCORE, UNLABELLED_SCORE, UNLABELLED_SCORE]))
    assert (joined.landmarks[0] == 7).all()
    assert np.isnan(joined.landmarks[1]).all()


def test_labels_are_in_pixels_of_the_picture_at_any_size_of_the_view() -> None:
    seen: List[Tuple[int, ...]] = []

    class Detector:
        def detect(self, images: Sequence[np.ndarray]) -> List[Faces]:
            seen.append(images[0].shape)
            return [faces(((40.0, 40.0, 80.0, 80.0), 1.0))]

    labelled = label_picture(
        np.zeros((50, 60, 3), np.uint8), SourcePlan(margin=10, longer_side=120), [Detector(), Detector()], [1.0, 1.0]
    )
    assert seen[0] == (120, 140, 3)
    np.testing.assert_allclose(labelled.boxes, [[15, 15, 35, 35]])


def test_labelling_goes_on_after_an_interruption(tiny_set: Tuple[Path, Path], tmp_path: Path) -> None:
    data, looks = tiny_set[0], []

    class Detector:
        def __init__(self, patience: int) -> None:
            self.patience = patience

        def detect(self, images: Sequence[np.ndarray]) -> List[Faces]:
            if not self.patience:
                raise KeyboardInterrupt
            self.patience -= 1
            looks.append(images[0].shape)
            return [faces((BOX, 1.0))]

    with pytest.raises(KeyboardInterrupt):
        label_source(data, tmp_path, "faces_lfw_train", [Detector(2)], [1.0], {}, save_every=1)
    table = label_source(data, tmp_path, "faces_lfw_train", [Detector(9)], [1.0], {}, save_every=1)
    assert len(table) == 4
    assert len(looks) == 4
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["faces_lfw_train.npz"]
