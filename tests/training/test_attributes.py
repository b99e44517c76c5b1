"""The networks for gender, age and masks: what they start from, what they are trained on, what is exported."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Callable, Tuple, Type

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from shipped import ROOT  # noqa: E402

from training import export, gender_age, mask  # noqa: E402
from training.drawn_masks import DRAWINGS, WORN, FaceAxes, draw_on, mask_outline  # noqa: E402
from training.early_maps import EarlyMaps, write_early_maps  # noqa: E402
from training.export import export_attributes, run_onnxruntime  # noqa: E402
from training.gender_age import GenderAgeRecipe, Lesson, age_distribution, grade  # noqa: E402
from training.imitation import Views  # noqa: E402
from training.networks.attributes import GenderAgeNet, LatePart, MaskNet, take_from_embedder  # noqa: E402
from training.networks.mobilefacenet import MobileFaceNet  # noqa: E402
from training.portraits import SIDES, Portraits, portraits_path  # noqa: E402
from training.restart import load_onnx_weights  # noqa: E402

EMBEDDER = ROOT / "engines" / "mobilefacenet.onnx"
SIDE = 144
LANDMARKS = np.array([[54.3, 67.7], [89.5, 67.5], [72.0, 87.7], [57.5, 108.4], [86.7, 108.2]])
"""Of an upright face in a wide crop."""


def head(side: int, seed: int) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 120, (side, side, 3)).astype(np.uint8)
    cv2.ellipse(image, (side // 2, side // 2), (side // 4, side // 3), 0, 0, 360, (150, 170, 220), -1)
    return image


def faces(count: int) -> torch.Tensor:
    pictures = np.stack([head(112, seed) for seed in range(count)])
    return torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize(("make", "sections"), [(GenderAgeNet, 17), (MaskNet, 7)])
def test_it_starts_with_what_the_embedder_sees(make: Type[MobileFaceNet], sections: int) -> None:
    images = faces(4)
    embedder = MobileFaceNet().eval()
    load_onnx_weights(embedder, EMBEDDER, images)
    network = make().eval()
    take_from_embedder(network, EMBEDDER, images)
    with torch.no_grad():
        expected, found = embedder.stages(images)[1], network.stages(images)[1]
    torch.testing.assert_close(found[sections - 1], expected[sections - 1])


@pytest.mark.parametrize(("make", "values"), [(GenderAgeNet, 3), (MaskNet, 2)])
def test_the_exported_file_computes_what_the_network_computes(
    make: Type[MobileFaceNet], values: int, tmp_path: Path
) -> None:
    network = make().train()
    network(faces(4))
    path = tmp_path / "attributes.onnx"
    differences = export_attributes(network.eval(), values, path, {})
    assert max(differences.values()) < 1e-4 and set(differences) == {"onnxruntime", "opencv"}
    (answers,) = run_onnxruntime(path, faces(5).numpy())
    assert answers.shape == (5, values)
    if values == 3:
        assert ((answers[:, 2] >= 0) & (answers[:, 2] <= 1)).all()
    else:
        np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_the_late_part_goes_on_from_maps_on_disk(tmp_path: Path) -> None:
    network = MaskNet()
    pictures = [head(112, seed) for seed in range(3)]
    path = tmp_path / "maps.npy"
    write_early_maps(path, network, 7, pictures.__getitem__, len(pictures))
    maps = EarlyMaps(path)
    assert len(maps) == 3
    late = LatePart(network, 7).eval()
    images = torch.from_numpy(np.stack(pictures)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        whole = network.eval().stages(images)[0]
        found = late(maps.take(np.arange(3)).float())
    torch.testing.assert_close(found, whole, rtol=0.05, atol=0.05 * float(whole.abs().max()))
    frozen = {name for name, parameter in late.named_parameters() if not parameter.requires_grad}
    assert "network.conv1.conv.weight" in frozen and "network.linear1.conv.weight" not in frozen


def test_the_loss_falls_as_the_age_comes_closer() -> None:
    recipe = GenderAgeRecipe()
    ages = torch.tensor([30.0, 4.0])
    assert torch.equal(age_distribution(ages, recipe).argmax(dim=1), ages.long())
    assert age_distribution(ages, recipe)[0].max() < age_distribution(ages, recipe)[1].max()
    losses = []
    for guess in (30, 40, 60):
        answer = torch.zeros(2, 103)
        answer[0, 2 + guess], answer[1, 2 + 4] = 20, 20
        lesson = Lesson(torch.tensor([0, 1]), ages)
        losses.append(float(grade(recipe, Views(answer, [], None, []), lesson)[0]))
    assert losses == sorted(losses) and losses[0] < losses[2]


@pytest.mark.parametrize("kind", range(len(DRAWINGS)), ids=[drawing.__name__ for drawing, _ in DRAWINGS])
def test_the_same_number_draws_the_same_picture(kind: int) -> None:
    wide = head(SIDE, 1)
    before = wide.copy()
    first, again = (draw_on(wide, LANDMARKS, np.random.default_rng(3), kind) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(wide, before)
    assert first.shape == wide.shape and first.dtype == np.uint8


@pytest.mark.parametrize(("top", "covers_nose"), [(0.12, True), (0.4, True), (0.68, False), (0.86, False)])
def test_a_mask_covers_the_mouth_and_only_a_worn_one_the_nose(top: float, covers_nose: bool) -> None:
    for seed in range(20):
        outline = mask_outline(np.random.default_rng(seed), FaceAxes(LANDMARKS), top, 1.5).astype(np.float32)
        places = (LANDMARKS[0], LANDMARKS[1], LANDMARKS[2], LANDMARKS[3:].mean(axis=0))
        inside = [cv2.pointPolygonTest(outline.reshape(-1, 1, 2), tuple(map(float, at)), False) > 0 for at in places]
        assert inside == [False, False, covers_nose, True]
    assert DRAWINGS[WORN][0].__name__ == "worn"


@pytest.fixture
def small_work(tiny_set: Tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny set with labelled portraits: every third one is for development."""
    _, work = tiny_set
    rows = np.arange(4)
    sides = np.where(rows % 3, SIDES.index("train"), SIDES.index("development"))
    np.savez(portraits_path(work), **vars(Portraits(rows, 20 + rows, rows % 2, rows % 5, sides)))
    monkeypatch.setattr(gender_age, "UNFOLD_FACES", 1)
    monkeypatch.setattr(mask, "UNFOLD_FACES", 1)
    monkeypatch.setattr(mask, "LEARNED", 8)
    monkeypatch.setattr(mask, "DEVELOPMENT", 8)
    return work


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "main", "figure"), [("gender_age", gender_age.main, "age_error"), ("mask", mask.main, "right")]
)
def test_a_run_goes_on_and_ends_as_a_file(
    name: str, main: Callable[[], None], figure: str, small_work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--work", str(small_work), "--start-from", str(EMBEDDER), "--threads", "1", "--device", "cpu"]
    for steps in ("1", "2"):
        monkeypatch.setattr(sys, "argv", ["training", *options, "--resume", "--measure-every", "2", "--steps", steps])
        main()
    lines = (small_work / name / f"{name}_curve.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["steps"] for line in lines] == [1, 2] and figure in json.loads(lines[-1])
    checkpoint, file = small_work / name / f"{name}.pt", tmp_path / f"{name}.onnx"
    monkeypatch.setattr(sys, "argv", ["export", name, "--checkpoint", str(checkpoint), "--out", str(file)])
    export.main()
    (answers,) = run_onnxruntime(file, faces(2).numpy())
    assert np.isfinite(answers).all()
