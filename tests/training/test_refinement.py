"""What a refinement is graded by, what it looks at, and that it goes on from shipped weights."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.backgrounds import balls, lights, weave, windows_without_faces  # noqa: E402
from training.detection_loss import MIN_NEGATIVES, empty_loss, imitation_loss  # noqa: E402
from training.matching import BACKGROUND, FACE  # noqa: E402
from training.refinement import RefinementRecipe  # noqa: E402
from training.scene_list import (  # noqa: E402
    DEVELOPMENT_CROWDS,
    HELD_OUT_CROWDS,
    development_crowds,
    training_crowds,
)


def test_scenes_without_faces_cost_what_scores_in_them() -> None:
    """As much as each anchor scores, and nothing where there are faces."""
    kinds = torch.full((2, 10), BACKGROUND)
    kinds[1, 3] = FACE
    quiet, loud = torch.zeros(2, 10, 2), torch.zeros(2, 10, 2)
    quiet[..., 0], loud[..., 0] = 20, 20
    loud[1, :, 1], quiet[1, :, 1] = 40, 40
    loud[0, 5, 1] = 23
    assert float(empty_loss(quiet, kinds)) == pytest.approx(0, abs=1e-6)
    assert float(empty_loss(loud, kinds)) * MIN_NEGATIVES == pytest.approx(3.05, abs=0.01)


def test_the_teacher_counts_less_and_less() -> None:
    recipe = RefinementRecipe(steps=100, imitation_weight=0.5, imitated_share=0.6)
    weights = [recipe.imitation(step) for step in (0, 30, 60, 99)]
    assert weights == pytest.approx([0.5, 0.25, 0, 0])


def test_of_the_teacher_only_the_scores_are_imitated() -> None:
    kinds = torch.full((1, 10), BACKGROUND)
    kinds[0, 2] = FACE
    scores = torch.zeros(1, 10, 2)
    chances = torch.full((1, 10, 2), 0.5)
    ours, theirs = (
        (torch.zeros(1, 10, 4), scores, torch.zeros(1, 10, 10)),
        (
            torch.ones(1, 10, 4),
            chances,
            torch.ones(1, 10, 10),
        ),
    )
    everything, _ = imitation_loss(ours, theirs, kinds)
    scores_alone, _ = imitation_loss(ours, theirs, kinds, with_places=False)
    same_places, _ = imitation_loss(ours, (ours[0], chances, ours[2]), kinds)
    assert float(scores_alone) == pytest.approx(float(same_places))
    assert float(scores_alone) < float(everything)


def test_development_and_held_out_crowds_differ() -> None:
    assert len(DEVELOPMENT_CROWDS) == 13
    assert not DEVELOPMENT_CROWDS & HELD_OUT_CROWDS
    path = f"crowds/{min(DEVELOPMENT_CROWDS)}.jpg"
    assert training_crowds([path]) == []
    assert development_crowds([path]) == [path]


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


def test_things_that_look_like_faces_are_laid_into_scenes_without_faces(tiny_set: Tuple[Path, Path]) -> None:
    from training.refinement import RefinementShelf, hard_scene

    shelf = RefinementShelf(*tiny_set)
    shelf.hard = [np.full((60, 60, 3), 250, np.uint8)]
    canvas = hard_scene(shelf, np.random.default_rng(2), 320, 1.0)
    assert (canvas.image == 250).all(axis=2).sum() > 3000
    assert len(canvas.faces()) == 0


def test_what_is_marked_beside_known_faces_is_cut_out() -> None:
    from app.types import Faces
    from training.hard_negatives import windows

    class Marks:
        def detect(self, images: object) -> object:
            boxes = np.array([[20, 20, 40, 40], [150, 100, 180, 130], [120, 20, 140, 40]], np.float32)
            return [Faces(boxes, np.array([0.9, 0.8, 0.1], np.float32), np.zeros((3, 5, 2), np.float32))]

    picture = np.zeros((200, 300, 3), np.uint8)
    picture[100:130, 150:180] = 200
    (window,) = windows(picture, np.array([[20.0, 20, 40, 40]]), [Marks()])  # type: ignore[list-item]
    assert (window == 200).all(axis=2).sum() == 30 * 30


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
