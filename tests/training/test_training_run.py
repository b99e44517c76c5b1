"""Training runs: what they write and when, how they end, and their commands."""

from __future__ import annotations

import json
import math
import signal
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple, Type

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from shipped import ROOT  # noqa: E402

from training import detector, embedder  # noqa: E402
from training.distillation import hint_loss  # noqa: E402
from training.imitation import Recipe, StudentTraining, Views  # noqa: E402
from training.networks.mobilefacenet import MobileFaceNet  # noqa: E402
from training.networks.retinaface import RetinaFace  # noqa: E402
from training.run import chosen_recipe, means, run_parser, train  # noqa: E402


class OneLayer(torch.nn.Conv2d):  # type: ignore[misc, name-defined]
    """A tiny network to imitate."""

    def stages(self, images: torch.Tensor, given: Sequence[torch.Tensor] = (), joined: int = 0) -> Tuple[Any, Any]:
        maps = self(images)
        return maps, [maps]


def draw(step: int) -> Tuple[torch.Tensor, None]:
    return torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(step)), None


def grade(views: Views, _lesson: None) -> Tuple[torch.Tensor, Dict[str, float]]:
    hint = hint_loss(views.maps, views.goal_maps)
    return hint, {"hint": hint.item()}


def new_training() -> StudentTraining[None]:
    recipe = Recipe(
        steps=4,
        sectioned=(),
        warmup_steps=1,
        hint_weight=1.0,
        gradient_limit=1.0,
        settle_step=4,
        plain_share=0.0,
        unfold_batches=1,
    )
    return StudentTraining(recipe, OneLayer(3, 2, 1), OneLayer(3, 2, 1), draw, grade, torch.device("cpu"))


def stored_step(checkpoint: Path) -> int:
    return int(torch.load(checkpoint, weights_only=True)["counters"]["step"])


@pytest.mark.parametrize(("every", "measured"), [(2, [2, 4]), (3, [3, 4]), (0, [])])
def test_figures_are_measured_at_intervals_and_at_the_end(every: int, measured: List[int], tmp_path: Path) -> None:
    train(new_training(), tmp_path / "student.pt", lambda: {"accuracy": 0.5}, every, math.inf)
    curve = tmp_path / "student_curve.jsonl"
    lines = curve.read_text(encoding="utf-8").splitlines() if curve.exists() else []
    assert [json.loads(line) for line in lines] == [{"steps": step, "accuracy": 0.5} for step in measured]


@pytest.mark.parametrize(("save_every_s", "stored"), [(0.0, [1, 2, 3, 4]), (math.inf, [0, 0, 0, 4])])
def test_a_checkpoint_is_written_at_intervals_and_at_the_end(
    save_every_s: float, stored: List[int], tmp_path: Path
) -> None:
    checkpoint, found = tmp_path / "student.pt", []

    def look() -> Dict[str, float]:
        found.append(stored_step(checkpoint) if checkpoint.exists() else 0)
        return {}

    train(new_training(), checkpoint, look, 1, save_every_s)
    assert found == stored


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_a_checkpoint(number: int, tmp_path: Path) -> None:
    def stop() -> Dict[str, float]:
        signal.raise_signal(number)
        return {}

    train(new_training(), tmp_path / "student.pt", stop, 2, math.inf)
    assert stored_step(tmp_path / "student.pt") == 2


def test_a_part_of_the_loss_is_averaged_over_the_steps_that_have_it() -> None:
    with_hints, plain = {"angle": 0.2, "hint": 0.6}, {"angle": 0.4}
    assert means([plain, with_hints]) == {"angle": pytest.approx(0.3), "hint": 0.6}
    assert means([with_hints, plain]) == {"angle": pytest.approx(0.3)}


def command(monkeypatch: pytest.MonkeyPatch, main: Callable[[], None], *options: object) -> None:
    monkeypatch.setattr(sys, "argv", ["training", *map(str, options)])
    main()


@pytest.mark.slow
def test_the_embedders_command(tiny_set: Tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, work = tiny_set
    teacher = MobileFaceNet().eval().requires_grad_(False)
    monkeypatch.setattr(embedder, "load_onnx_teacher", {tmp_path / "teacher.onnx": teacher}.__getitem__)
    (tmp_path / "pairs.csv").write_text(
        "image_a,image_b,same\n" + "face0,face1,1\nface0,face2,0\n" * 10, encoding="utf-8"
    )
    options = ("--work", work, "--teacher", tmp_path / "teacher.onnx", "--run", "on", "--threads", 1, "--device", "cpu")
    begun = ("--start-from", ROOT / "engines" / "mobilefacenet.onnx", "--rate", 0.001)
    command(monkeypatch, embedder.main, *options, *begun, "--steps", 1)
    assert stored_step(work / "on" / "embedder.pt") == 1
    more = ("--resume", "--steps", 2, "--pairs", tmp_path / "pairs.csv")
    command(monkeypatch, embedder.main, *options, *begun, *more)
    assert stored_step(work / "on" / "embedder.pt") == 2
    (line,) = (work / "on" / "embedder_curve.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["steps"] == 2 and json.loads(line)["pairs"] == 20


@pytest.mark.slow
def test_the_detectors_command(tiny_set: Tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, work = tiny_set
    torch.save(RetinaFace().state_dict(), tmp_path / "teacher.pth")
    options = ("--data", data, "--work", work, "--teacher", tmp_path / "teacher.pth", "--run", "on", "--threads", 1)
    begun = ("--device", "cpu", "--start-from", ROOT / "engines" / "retinaface_mnet025.onnx")
    command(monkeypatch, detector.main, *options, *begun, "--steps", 1, "--measure-every", 0)
    assert sorted(path.name for path in (work / "on").glob("*det*")) == ["detector.pt"]
    command(monkeypatch, detector.main, *options, *begun, "--resume", "--steps", 2, "--portraits", 1)
    assert stored_step(work / "on" / "detector.pt") == 2 and (work / "on" / "retinaface_mnet025.onnx").exists()
    (line,) = (work / "on" / "detector_curve.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["steps"] == 2 and json.loads(line)["portraits"] == 1


@pytest.mark.parametrize("recipe", [embedder.EmbedderRecipe, detector.DetectorRecipe])
def test_only_a_run_from_scratch_has_sections(recipe: Type[Recipe]) -> None:
    parser = run_parser("student", "", recipe, measure_every=1)
    options = ["--work", "work", "--teacher", "teacher.pth", "--rate", "0.004"]
    from_nothing = chosen_recipe(recipe, parser.parse_args(options))
    assert from_nothing == recipe(peak_rate=0.004) and from_nothing.sectioned
    going_on = chosen_recipe(recipe, parser.parse_args([*options, "--start-from", "shipped.onnx"]))
    assert going_on == recipe(peak_rate=0.004, sectioned=())
