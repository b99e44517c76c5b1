"""The losses of the student, and its verification figures."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from training.augment import middle_crops, mix_up, network_input, vary_face  # noqa: E402
from training.distillation import angle_loss, hint_loss, resemblance_loss  # noqa: E402
from training.verification import acceptance_at, pair_figures, ten_fold_accuracy  # noqa: E402


def test_the_teachers_own_answer_has_no_loss() -> None:
    embedding, maps = torch.randn(6, 128), [torch.randn(6, 8, 4, 4)]
    assert angle_loss(embedding * 3, embedding).item() == pytest.approx(0, abs=1e-6)
    assert resemblance_loss(embedding * 3, embedding).item() == pytest.approx(0, abs=1e-6)
    assert hint_loss(maps, maps).item() == 0


def test_a_student_that_outputs_the_mean_explains_nothing() -> None:
    goal = torch.randn(6, 8, 4, 4)
    mean = goal.mean(dim=(0, 2, 3), keepdim=True).expand_as(goal)
    assert hint_loss([mean], [goal]).item() == pytest.approx(1, abs=1e-5)


def test_the_unexplained_share_and_its_slope_are_those_of_the_plain_formula() -> None:
    ours = torch.randn(3, 8, 5, 5, requires_grad=True)
    theirs = 0.3 * torch.randn(3, 8, 5, 5) + torch.randn(8, 1, 1)
    spread = (theirs - theirs.mean(dim=(0, 2, 3), keepdim=True)).square().mean()
    plain = 20 * (ours - theirs).square().mean() / spread
    slope = torch.autograd.grad(plain, ours)[0]
    share = 20 * hint_loss([ours], [theirs])
    assert share.item() == pytest.approx(plain.item(), rel=1e-4)
    torch.testing.assert_close(torch.autograd.grad(share, ours)[0], slope, rtol=1e-4, atol=1e-6)


def test_without_jitter_a_crop_is_the_applications_or_its_mirror_image() -> None:
    wide = np.random.default_rng(0).integers(0, 256, (144, 144, 3)).astype(np.uint8)
    plain = middle_crops(wide[None])[0]
    for seed in range(6):
        crop = vary_face(wide, np.random.default_rng(seed), strength=0)
        grey = crop.std(axis=2).max() == 0
        assert grey or min(np.abs(crop.astype(int) - side).max() for side in (plain, plain[:, ::-1])) <= 1


def test_augmentation_repeats_for_a_seed_and_keeps_the_shape() -> None:
    wide = np.random.default_rng(0).integers(0, 256, (144, 144, 3)).astype(np.uint8)
    for seed in range(40):
        first, again = (vary_face(wide.copy(), np.random.default_rng(seed)) for _ in range(2))
        assert first.shape == (112, 112, 3) and first.dtype == np.uint8
        np.testing.assert_array_equal(first, again)


def test_mix_up_blends_and_never_leaves_the_range() -> None:
    batch = np.stack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)])
    blended = mix_up(batch, np.random.default_rng(0))
    assert blended.min() > 0 and blended.max() < 255


def test_network_input_is_plain_rgb() -> None:
    crop = np.zeros((1, 112, 112, 3), np.uint8)
    crop[..., 2] = 255
    tensor = network_input(crop)
    assert tensor.shape == (1, 3, 112, 112)
    assert tensor.dtype == np.float32 and tensor[0, 0, 0, 0] == 255 and tensor[0, 2, 0, 0] == 0


def test_verification_figures_on_a_known_case() -> None:
    similarity = np.concatenate([np.full(50, 0.8), np.full(50, 0.1)])
    same = np.arange(100) < 50
    assert ten_fold_accuracy(similarity, same) == 1
    assert acceptance_at(similarity, same, 0.01) == (1.0, pytest.approx(0.1))
    embeddings = {"a": np.array([1.0, 0]), "b": np.array([1.0, 0]), "c": np.array([0, 1.0])}
    pairs = [("a", "b", True), ("a", "c", False)] * 10
    assert pair_figures(embeddings, pairs)["accuracy"] == 1
