"""Training a student, for both networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from shipped import ROOT  # noqa: E402

from training.imitation import StudentTraining  # noqa: E402
from training.networks.mobilefacenet import MobileFaceNet  # noqa: E402

NewTraining = Callable[[], StudentTraining[Any]]


def statistics(network: torch.nn.Module) -> Dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items() if "running" in name}


def test_statistics_are_those_of_the_numbers_that_are_trained_on(new_training: NewTraining) -> None:
    training = new_training()
    seen = set()
    for module in training.student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _module, inputs: seen.add(inputs[0].dtype))
    for _ in range(3):
        training.train_step()
    assert seen == {torch.bfloat16}


def test_settled_statistics_do_not_change(new_training: NewTraining) -> None:
    training = new_training()
    settled = []
    for _ in range(4):
        training.train_step()
        settled.append(statistics(training.student))
    last, before_last, moving = settled[3], settled[2], settled[1]
    assert all(torch.equal(value, before_last[name]) for name, value in last.items())
    assert not any(torch.equal(value, moving[name]) for name, value in last.items() if name.endswith("mean"))
    average = statistics(training.average.network)
    assert all(torch.equal(value, average[name]) for name, value in last.items())


def test_a_schedule_begins_with_shipped_weights(new_training: NewTraining) -> None:
    """Both the averaged and the trained network compute what the file computes."""
    import onnxruntime

    training = new_training()
    is_embedder = isinstance(training.student, MobileFaceNet)
    weights: Path = ROOT / "engines" / ("mobilefacenet.onnx" if is_embedder else "retinaface_mnet025.onnx")
    training.start_from(weights)
    images = torch.rand(2, 3, 112 if is_embedder else 64, 112 if is_embedder else 64)
    images = images * 255 if is_embedder else images * 200 - 100
    expected = onnxruntime.InferenceSession(str(weights)).run(None, {"input": images.numpy()})
    for network in (training.average.network, training.student.eval()):
        with torch.no_grad():
            answer = network(images)
        for ours, theirs in zip(answer if isinstance(answer, tuple) else (answer,), expected):
            torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=2e-3, rtol=1e-2)
