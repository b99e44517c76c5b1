"""The second detector's student: its teacher from a file, what it is graded by, and its run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Dict, Tuple

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from shipped import ROOT  # noqa: E402

from training import scrfd  # noqa: E402
from training.export import export_scrfd  # noqa: E402
from training.networks.scrfd import SCRFD, initialise  # noqa: E402
from training.phases import Phase  # noqa: E402
from training.refinement import RefinementShelf  # noqa: E402
from training.teacher_scrfd import load_scrfd_teacher  # noqa: E402


def network(seed: int) -> SCRFD:
    made = SCRFD().eval()
    initialise(made, seed)
    return made


def test_a_teacher_from_a_file_computes_what_the_file_computes(tmp_path: Path) -> None:
    original = network(3)
    differences = export_scrfd(original, tmp_path / "teacher.onnx", {})
    assert max(differences.values()) < 1e-3
    teacher = load_scrfd_teacher(tmp_path / "teacher.onnx")
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for expected, actual in zip(original(images), teacher(images)):
            torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)


def test_a_file_of_another_architecture_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"retinaface_mnet025\.onnx"):
        load_scrfd_teacher(ROOT / "engines" / "retinaface_mnet025.onnx")


def answers(chance: float) -> Tuple[torch.Tensor, ...]:
    """What a teacher says about a scene with one face: scores, boxes and landmarks of one stride's two anchors."""
    scores = torch.tensor([[[chance], [0.0]]])
    return (scores, *[scores[:, :0]] * 2, torch.ones(1, 2, 4), *[torch.ones(1, 0, 4)] * 2, torch.ones(1, 2, 10)) + (
        torch.ones(1, 0, 10),
    ) * 2


def graded(ours: Tuple[torch.Tensor, ...], theirs: Tuple[torch.Tensor, ...], empty: bool) -> Dict[str, float]:
    logits = tuple(torch.logit(part, eps=1e-4) if number < 3 else part for number, part in enumerate(ours))
    return scrfd.answer_loss(logits, theirs, torch.tensor([empty]))[1]


def test_a_face_that_the_teacher_sees_in_a_scene_without_people_is_not_imitated() -> None:
    seen, quiet = answers(0.8), answers(0.0)
    assert graded(seen, seen, False)["score"] < graded(quiet, seen, False)["score"]
    assert graded(quiet, seen, True)["score"] < graded(seen, seen, True)["score"]


def test_places_are_graded_only_where_the_teacher_sees_a_face() -> None:
    elsewhere = tuple(part + 1 if number >= 3 else part for number, part in enumerate(answers(0.8)))
    assert graded(elsewhere, answers(0.8), False)["box"] > 0
    assert graded(elsewhere, answers(0.8), True)["box"] == graded(elsewhere, answers(0.1), False)["landmarks"] == 0


def training(shelf: RefinementShelf) -> scrfd.StudentTraining[torch.Tensor]:
    recipe = scrfd.ScrfdRecipe(
        steps=4, sides=(64,), pixels_per_batch=2 * 64 * 64, sectioned=(Phase(2, 1e-3, joined=1),), settle_step=3
    )
    teacher = network(9).requires_grad_(False)
    return scrfd.scrfd_training(recipe, shelf, teacher, torch.device("cpu"))


@pytest.mark.slow
def test_a_run_that_was_interrupted_ends_with_the_same_weights(tiny_set: Tuple[Path, Path], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    shelf = RefinementShelf(*tiny_set)
    whole, first, second = (training(shelf) for _ in range(3))
    for _ in range(4):
        whole.train_step()
    for _ in range(2):
        first.train_step()
    first.save(tmp_path / "scrfd.pt")
    second.resume(tmp_path / "scrfd.pt")
    for _ in range(2):
        second.train_step()
    for expected, actual in zip(whole.student.parameters(), second.student.parameters()):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.slow
def test_the_command(tiny_set: Tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, work = tiny_set
    export_scrfd(network(9), tmp_path / "teacher.onnx", {})
    words = ("--data", data, "--work", work, "--teacher", tmp_path / "teacher.onnx", "--run", "second", "--threads", 1)
    start = ("--device", "cpu", "--start-from", tmp_path / "teacher.onnx", "--steps", 1)
    monkeypatch.setattr(sys, "argv", ["scrfd", *map(str, (*words, *start))])
    scrfd.main()
    stored = torch.load(work / "second" / "scrfd.pt", weights_only=True)
    assert stored["counters"]["step"] == 1
