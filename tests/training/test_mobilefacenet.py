"""The embedder's network: what it computes faster than PyTorch is the same, and a teacher is read as its file says."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Dict

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from training.networks.mobilefacenet import MobileFaceNet, convolve, initialise  # noqa: E402
from training.networks.prelu import PReLU  # noqa: E402
from training.normalisation import freeze_statistics  # noqa: E402
from training.teacher_embedder import load_onnx_teacher  # noqa: E402


def gradients(answer: torch.Tensor, **of: torch.Tensor) -> Dict[str, torch.Tensor]:
    weights = torch.linspace(-1, 1, answer.numel()).reshape(answer.shape)
    return dict(zip(of, torch.autograd.grad((answer * weights).sum(), list(of.values()))))


def test_the_prelu_learns_as_pytorchs_does() -> None:
    ours, theirs = PReLU(3), torch.nn.PReLU(3)
    with torch.no_grad():
        for layer in (ours, theirs):
            layer.weight.copy_(torch.tensor([0.25, -1.5, 2.0]))
    maps = torch.randn(2, 3, 5, 4, requires_grad=True)
    torch.testing.assert_close(ours(maps), theirs(maps), rtol=0, atol=0)
    found = gradients(ours(maps), maps=maps, slopes=ours.weight)
    torch.testing.assert_close(found, gradients(theirs(maps), maps=maps, slopes=theirs.weight))


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (1, 2), (6, 1), (6, 2)])
def test_a_frozen_normalisation_learns_as_if_it_stood_alone(groups: int, stride: int) -> None:
    conv = torch.nn.Conv2d(6, 6, 3, stride, 1, groups=groups, bias=False)
    norm = torch.nn.BatchNorm2d(6)
    maps = torch.randn(2, 6, 8, 8, requires_grad=True)
    norm(conv(maps))  # statistics to be frozen
    freeze_statistics(norm)
    of = {"maps": maps, "weight": conv.weight, "scale": norm.weight, "shift": norm.bias}
    torch.testing.assert_close(convolve(conv, norm, maps), norm(conv(maps)))
    torch.testing.assert_close(gradients(convolve(conv, norm, maps), **of), gradients(norm(conv(maps)), **of))


def public_file(path: Path) -> None:
    """A network with the layers that public files have: normalisations on their own, a bias before the last one."""
    network = MobileFaceNet()
    initialise(network, 1)
    network.linear1.conv = torch.nn.Conv2d(512, 128, 1)
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.PReLU)):
            for values in module.parameters():
                torch.nn.init.uniform_(values, 0.2, 0.6)
    network.train()
    network(torch.rand(4, 3, 112, 112) * 255)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 3, 112, 112),),
            str(path),
            input_names=["data"],
            opset_version=13,
            training=torch.onnx.TrainingMode.PRESERVE,
            dynamo=False,
        )


def test_a_teacher_computes_what_its_file_computes(tmp_path: Path) -> None:
    public_file(tmp_path / "teacher.onnx")
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "teacher.onnx")).graph.node}
    assert {"BatchNormalization", "PRelu"} <= kinds
    image = torch.rand(1, 3, 112, 112) * 255
    teacher = load_onnx_teacher(tmp_path / "teacher.onnx")
    assert not teacher.training and not any(weights.requires_grad for weights in teacher.parameters())
    (expected,) = ort.InferenceSession(str(tmp_path / "teacher.onnx")).run(None, {"data": image.numpy()})
    torch.testing.assert_close(teacher(image), torch.from_numpy(expected), atol=1e-4, rtol=1e-4)


def test_a_teacher_of_another_architecture_is_refused(tmp_path: Path) -> None:
    public_file(tmp_path / "teacher.onnx")
    model = onnx.load(str(tmp_path / "teacher.onnx"))
    model.graph.node.remove(next(node for node in model.graph.node if node.op_type == "PRelu"))
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(SystemExit, match="not a model of this architecture"):
        load_onnx_teacher(tmp_path / "other.onnx")
