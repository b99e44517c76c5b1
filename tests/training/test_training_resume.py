"""A run that was interrupted ends with the very weights of one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple, Union

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from training import detector, embedder  # noqa: E402
from training.networks import mobilefacenet, retinaface  # noqa: E402
from training.phases import Phase, rate_at, whole_run  # noqa: E402
from training.progress import learning_rate  # noqa: E402
from training.scenes import PictureShelf  # noqa: E402

Training = Union[detector.DetectorTraining, embedder.EmbedderTraining]


def frozen(teacher):  # type: ignore[no-untyped-def]
    return teacher.eval().requires_grad_(False)


def new_detector_training(tiny_set: Tuple[Path, Path]) -> detector.DetectorTraining:
    recipe = detector.Recipe(
        steps=4,
        sides=(64, 96),
        pixels_per_batch=2 * 96 * 96,
        warmup_steps=2,
        sectioned=(Phase(1, 1e-3, joined=2),),
        settle_step=2,
    )
    teacher = retinaface.RetinaFace()
    retinaface.initialise(teacher, 9)
    return detector.DetectorTraining(recipe, PictureShelf(*tiny_set), frozen(teacher), torch.device("cpu"))


def new_embedder_training(tiny_set: Tuple[Path, Path]) -> embedder.EmbedderTraining:
    recipe = embedder.Recipe(
        steps=4,
        batch=4,
        warmup_steps=2,
        sectioned=(Phase(1, 1e-3, joined=2, share_of_batch=0.5),),
        settle_step=2,
        settle_batches=2,
        plain_share=0.3,
    )
    teacher = mobilefacenet.MobileFaceNet("prelu")
    mobilefacenet.initialise(teacher, 9)
    sampler = embedder.FaceSampler(tiny_set[1], recipe)
    return embedder.EmbedderTraining(recipe, frozen(teacher), sampler, "relu", torch.device("cpu"))


def weights(training: Training) -> np.ndarray:
    return np.concatenate([value.numpy().ravel() for value in training.average.network.state_dict().values()])


@pytest.mark.parametrize("new", [new_detector_training, new_embedder_training])
def test_resumed_is_uninterrupted(new, tiny_set: Tuple[Path, Path], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    whole = new(tiny_set)
    for _ in range(4):
        whole.train_step()

    before = new(tiny_set)
    for _ in range(2):
        before.train_step()
    before.save(tmp_path / "run.pt")
    del before
    after = new(tiny_set)
    after.resume(tmp_path / "run.pt")
    assert after.step == 2
    for _ in range(2):
        after.train_step()

    np.testing.assert_array_equal(weights(after), weights(whole))
    assert not list(tmp_path.glob("*.partial"))


def test_the_rate_rises_then_falls() -> None:
    rates = [learning_rate(1.0, step, 100, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[100] == pytest.approx(0.02)


def test_each_phase_has_a_rate_of_its_own() -> None:
    phases = (Phase(10, 1.0, joined=1), Phase(20, 0.5, joined=4), Phase(70, 0.1))
    rates = [rate_at(phases, step, warmup_steps=2) for step in range(100)]
    for begin, end, peak in ((0, 10, 1.0), (10, 30, 0.5), (30, 100, 0.1)):
        assert max(rates[begin:end]) == pytest.approx(peak, rel=0.05)
        assert rates[begin] < peak and rates[end - 1] < 0.1 * peak


def test_a_run_that_would_never_train_the_whole_network_is_refused() -> None:
    sections = (Phase(10, 1.0, joined=1), Phase(5, 0.5, joined=4))
    assert whole_run(sections, 20, 0.1)[-1] == Phase(5, 0.1)
    with pytest.raises(SystemExit, match="sections alone take 15"):
        whole_run(sections, 15, 0.1)
