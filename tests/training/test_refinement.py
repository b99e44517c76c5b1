"""Assignment of anchors, the quality loss, and a refinement that goes on from shipped weights."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.anchors import anchor_grid, encode_boxes  # noqa: E402
from training.assignment import assign, assign_batch, level_bounds  # noqa: E402
from training.backgrounds import balls, lights, weave, windows_without_faces  # noqa: E402
from training.composition import SceneFaces  # noqa: E402
from training.matching import BACKGROUND, FACE, IGNORED  # noqa: E402
from training.quality_loss import quality_loss  # noqa: E402

SIDE = 128


def scene(*boxes: Tuple[float, ...], certain: bool = True) -> SceneFaces:
    corners = np.array(boxes, float).reshape(-1, 4)
    return SceneFaces(corners, np.repeat(corners[:, None, :2], 5, axis=1) + 3, np.full(len(corners), certain))


def test_faces_of_every_size_have_anchors() -> None:
    faces = scene((3, 3, 13, 14), (30, 30, 50, 52), (60, 20, 120, 100), (0, 0, 127, 127))
    kinds, responsible = assign(faces, anchor_grid(SIDE, SIDE), level_bounds(SIDE))
    assert set(responsible[kinds == FACE]) == {0, 1, 2, 3}


def test_anchors_answer_for_the_face_they_overlap_most() -> None:
    kinds, responsible = assign(scene((20, 20, 52, 52), (36, 20, 68, 52)), anchor_grid(SIDE, SIDE), level_bounds(SIDE))
    centres = anchor_grid(SIDE, SIDE)[:, 0]
    assert (responsible[(kinds == FACE) & (centres < 38)] == 0).all()
    assert (responsible[(kinds == FACE) & (centres > 50)] == 1).all()


def test_uncertain_faces_are_not_taught() -> None:
    kinds, _ = assign(scene((20, 20, 60, 60), certain=False), anchor_grid(SIDE, SIDE), level_bounds(SIDE))
    assert (kinds == IGNORED).any()
    assert not (kinds == FACE).any()


def test_a_scene_without_faces_is_background() -> None:
    assert (assign_batch([scene()], SIDE).kinds == BACKGROUND).all()


def loss_of(margin: float, shift: float, known_landmarks: bool = True) -> float:
    """For one face whose anchors all answer alike: confident of the face, and off by `shift` pixels."""
    faces = scene((20, 20, 60, 60))
    if not known_landmarks:
        faces.landmarks[:] = np.nan
    targets, anchors = assign_batch([faces], SIDE), anchor_grid(SIDE, SIDE)
    is_face = targets.kinds[0] == FACE
    boxes = np.zeros((1, len(anchors), 4), np.float32)
    boxes[0, is_face] = encode_boxes(targets.boxes[0, is_face] + shift, anchors[is_face])
    scores = np.zeros((1, len(anchors), 2), np.float32)
    scores[0, :, 1] = np.where(is_face, margin, -20)
    answer = (torch.from_numpy(boxes), torch.from_numpy(scores), torch.zeros(1, len(anchors), 10))
    loss, _ = quality_loss(
        answer,
        *(torch.from_numpy(part) for part in (targets.kinds, targets.boxes, targets.landmarks)),
        torch.from_numpy(anchors.copy()),
    )
    return float(loss)


def test_a_right_answer_costs_least() -> None:
    assert loss_of(10, 0) < loss_of(10, 4) < loss_of(10, 12)
    assert loss_of(10, 0) < loss_of(-4, 0)


def test_unknown_landmarks_cost_nothing() -> None:
    assert np.isfinite(loss_of(10, 0, known_landmarks=False))
    assert loss_of(10, 0, known_landmarks=False) < loss_of(10, 0)


def test_windows_keep_clear_of_faces() -> None:
    picture = np.zeros((400, 600, 3), np.uint8)
    picture[180:220, 230:270] = 255
    boxes = np.array([[230.0, 180, 270, 220]])
    windows = windows_without_faces(picture, boxes, np.random.default_rng(1), 5)
    assert windows
    assert all((window == 0).all() for window in windows)


@pytest.mark.parametrize("make", [weave, lights, balls])
def test_textures_are_pictures(make: object) -> None:
    image = make(np.random.default_rng(1), 64)  # type: ignore[operator]
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert image.std() > 1


def test_held_out_crowds_are_not_trained_on(tiny_set: Tuple[Path, Path]) -> None:
    from training.refinement import RefinementShelf

    assert len(RefinementShelf(*tiny_set).people) == 4  # one scene and one crowd, each at two sizes


@pytest.mark.parametrize("has_teacher", [False, True])
def test_refinement_begins_with_shipped_weights_and_can_be_resumed(
    tiny_set: Tuple[Path, Path], tmp_path: Path, has_teacher: bool
) -> None:
    from training.export import export_detector
    from training.networks.retinaface import RetinaFace, initialise
    from training.refinement import RefinementRecipe, RefinementShelf, refinement_training

    torch.set_num_threads(1)
    shipped = RetinaFace()
    initialise(shipped, 3)
    export_detector(shipped.eval(), tmp_path / "shipped.onnx", {})
    recipe = RefinementRecipe(steps=2, sides=(64,), pixels_per_batch=2 * 64 * 64, warmup_steps=1)
    shelf = RefinementShelf(*tiny_set)
    teacher = RetinaFace() if has_teacher else None
    if teacher is not None:
        initialise(teacher, 9)
        teacher.eval().requires_grad_(False)

    training = refinement_training(recipe, shelf, teacher, torch.device("cpu"))
    training.start_from(tmp_path / "shipped.onnx")
    images = torch.randn(1, 3, 64, 64) * 40
    for ours, theirs in zip(training.average.network.eval()(images), shipped(images)):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    training.train_step()
    training.save(tmp_path / "refinement.pt")
    training.train_step()

    resumed = refinement_training(recipe, shelf, teacher, torch.device("cpu"))
    resumed.resume(tmp_path / "refinement.pt")
    resumed.train_step()
    for ours, theirs in zip(resumed.student.parameters(), training.student.parameters()):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
