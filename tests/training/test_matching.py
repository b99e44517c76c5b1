"""Anchors in the application's order, and targets that the application decodes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from app.vision.retinaface import RetinaFaceAnchors, anchor_boxes, decode  # noqa: E402
from training.anchors import MIN_SIZES, VARIANCES, anchor_grid, pairwise_iou, suppress  # noqa: E402
from training.composition import SceneFaces  # noqa: E402
from training.detection_loss import detection_loss, imitation_loss  # noqa: E402
from training.matching import BACKGROUND, FACE, IGNORED, match_batch  # noqa: E402

BOXES = np.array([[20.0, 30, 60, 80], [100, 10, 114, 27], [0, 90, 128, 250]])
LANDMARKS = BOXES[:, None, :2] + np.linspace(0.2, 0.8, 10).reshape(1, 5, 2) * (BOXES[:, None, 2:] - BOXES[:, None, :2])


def faces(*certain: bool) -> SceneFaces:
    return SceneFaces(BOXES, LANDMARKS, np.array(certain))


def test_anchors_are_the_applications() -> None:
    theirs = anchor_boxes((160, 96), RetinaFaceAnchors(min_sizes=MIN_SIZES))
    np.testing.assert_array_equal(anchor_grid(96, 160), theirs)


def test_the_application_decodes_the_targets_to_the_faces() -> None:
    targets = match_batch([faces(True, True, True)], 256)
    taught = targets.kinds[0] == FACE
    anchors = anchor_grid(256, 256)[taught]
    boxes, landmarks = decode(targets.boxes[0][taught], targets.landmarks[0][taught], anchors, VARIANCES)
    owner = pairwise_iou(boxes, BOXES).argmax(axis=1)
    assert set(owner) == {0, 1, 2}
    np.testing.assert_allclose(boxes, BOXES[owner], atol=1e-3)
    np.testing.assert_allclose(landmarks, LANDMARKS[owner], atol=1e-3)


def test_an_uncertain_face_is_neither_a_target_nor_background() -> None:
    kinds = match_batch([faces(True, True, False)], 256).kinds[0]
    anchors = anchor_grid(256, 256)
    half = anchors[:, 2:] / 2
    corners = np.concatenate([anchors[:, :2] - half, anchors[:, :2] + half], axis=1)
    on_it = pairwise_iou(corners, BOXES[2:])[:, 0] > 0.4
    assert on_it.any() and (kinds[on_it] == IGNORED).all()


def test_an_empty_scene_is_all_background() -> None:
    empty = SceneFaces(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0, bool))
    assert (match_batch([empty], 64).kinds == BACKGROUND).all()


def test_a_perfect_answer_has_no_loss() -> None:
    targets = match_batch([faces(True, True, False)], 256)
    kinds, boxes, landmarks = (torch.from_numpy(p) for p in (targets.kinds, targets.boxes, targets.landmarks))
    sure = torch.where(kinds[..., None] == FACE, torch.tensor([-20.0, 20.0]), torch.tensor([20.0, -20.0]))
    loss, parts = detection_loss((boxes, sure, landmarks), kinds, boxes, landmarks)
    assert loss.item() == pytest.approx(0, abs=1e-4)
    wrong, _ = detection_loss((boxes + 1, -sure, landmarks + 1), kinds, boxes, landmarks)
    assert wrong.item() > 1 and set(parts) == {"score", "box", "landmarks"}


def test_imitating_the_teacher_has_no_loss_except_its_own_uncertainty() -> None:
    kinds = torch.zeros(1, 6, dtype=torch.int64)
    kinds[0, 0] = FACE
    boxes, landmarks = torch.randn(1, 6, 4), torch.randn(1, 6, 10)
    chance = torch.tensor([[1.0, 0, 0, 0, 0, 0.9]])
    teacher = (boxes, torch.stack([1 - chance, chance], dim=2), landmarks)
    margin = torch.tensor([[30.0, -30, -30, -30, -30, -30]])
    scores = torch.stack([-margin / 2, margin / 2], dim=2)
    loss, _ = imitation_loss((boxes, scores, landmarks), teacher, kinds)
    assert loss.item() == pytest.approx(0, abs=1e-4), "the last anchor is background by its label: no grade there"
    worse, _ = imitation_loss((boxes + 1, scores, landmarks + 1), teacher, kinds)
    assert worse.item() > 0.1


def test_the_teachers_uncertainty_is_not_imitated_in_empty_scenes() -> None:
    kinds = torch.zeros(2, 3, dtype=torch.int64)
    kinds[1, 0] = FACE
    places = torch.zeros(2, 3, 4), torch.zeros(2, 3, 10)
    chance = torch.tensor([[0.0, 0.2, 0.6], [1.0, 0.2, 0.0]])
    teacher = (places[0], torch.stack([1 - chance, chance], dim=2), places[1])

    def grade(answer: torch.Tensor) -> float:
        margin = torch.logit(answer, eps=1e-6)
        return imitation_loss((places[0], torch.stack([-margin / 2, margin / 2], dim=2), places[1]), teacher, kinds)[
            0
        ].item()

    nothing_in_the_first = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.2, 0.0]])
    nothing_in_the_second = torch.tensor([[0.0, 0.2, 0.6], [1.0, 0.0, 0.0]])
    assert grade(nothing_in_the_first) < grade(chance) < grade(nothing_in_the_second)


def test_uncertain_anchors_have_no_loss() -> None:
    targets = match_batch([faces(False, False, False)], 256)
    kinds, boxes, landmarks = (torch.from_numpy(p) for p in (targets.kinds, targets.boxes, targets.landmarks))
    says_face = torch.where(kinds[..., None] == IGNORED, torch.tensor([-20.0, 20.0]), torch.tensor([20.0, -20.0]))
    loss, _ = detection_loss((boxes, says_face, landmarks), kinds, boxes, landmarks)
    assert loss.item() == pytest.approx(0, abs=1e-4)


def test_suppression_keeps_the_best_of_overlapping_boxes() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]])
    assert suppress(boxes, np.array([0.6, 0.9, 0.7])).tolist() == [1, 2]
