"""A run that was interrupted and resumed ends with the same weights as one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from training.imitation import StudentTraining  # noqa: E402
from training.phases import Phase, rate_at, whole_run  # noqa: E402
from training.progress import learning_rate  # noqa: E402


def weights(training: StudentTraining[Any]) -> np.ndarray:
    return np.concatenate([value.numpy().ravel() for value in training.average.network.state_dict().values()])


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(
    new_training: Callable[[], StudentTraining[Any]], tmp_path: Path
) -> None:
    whole = new_training()
    for _ in range(4):
        whole.train_step()

    before = new_training()
    for _ in range(2):
        before.train_step()
    before.save(tmp_path / "run.pt")
    del before
    after = new_training()
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


def test_a_run_that_would_never_train_the_whole_network_is_rejected() -> None:
    sections = (Phase(10, 1.0, joined=1), Phase(5, 0.5, joined=4))
    assert whole_run(sections, 20, 0.1)[-1] == Phase(5, 0.1)
    with pytest.raises(SystemExit, match="sections alone take 15"):
        whole_run(sections, 15, 0.1)
