"""Exported files give the same results on every runtime, and can be read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from training.balance import balance  # noqa: E402
from training.export import export_detector, export_embedder, mean_network, run_onnxruntime  # noqa: E402
from training.networks import mobilefacenet, retinaface  # noqa: E402
from training.restart import load_onnx_weights  # noqa: E402


def seasoned_embedder(seed: int, act: str = "prelu") -> mobilefacenet.MobileFaceNet:
    """An embedder whose normalisation layers have statistics, as after training."""
    torch.manual_seed(seed)
    network = mobilefacenet.MobileFaceNet(act)
    mobilefacenet.initialise(network, seed)
    network.train()
    network(torch.rand(4, 3, 112, 112) * 255)
    return network.eval()


def seasoned_detector(seed: int) -> retinaface.RetinaFace:
    torch.manual_seed(seed)
    network = retinaface.RetinaFace()
    retinaface.initialise(network, seed)
    network.train()
    network((torch.rand(2, 3, 96, 96) - 0.5) * 200)
    return network.eval()


@pytest.mark.parametrize("act", ["prelu", "relu", "hardswish"])
def test_embedder_on_every_runtime(act: str, tmp_path: Path) -> None:
    path = tmp_path / "embedder.onnx"
    differences = export_embedder(seasoned_embedder(1, act), path, {"seed": "1"})
    assert max(differences.values()) < 1e-4 and set(differences) == {"onnxruntime", "opencv"}
    assert path.stat().st_size < 5_000_000
    for count in (1, 5):
        (embedding,) = run_onnxruntime(path, np.zeros((count, 3, 112, 112), np.float32))
        assert embedding.shape == (count, 128)


def test_what_the_embedders_blocks_pass_on_is_evened_out() -> None:
    """Even where a channel is a thousand times as loud as its neighbours, which int8 would round away."""
    network, images = seasoned_embedder(1), torch.rand(2, 3, 112, 112) * 255
    loud = network.handovers()[5]
    with torch.no_grad():
        loud.norm.weight[0] *= 1000
        loud.norm.bias[0] *= 1000
        before = network(images)
        assert balance(network) is network
        torch.testing.assert_close(network(images), before, atol=1e-3, rtol=1e-3)
    assert loud.norm.weight[0] < 40 * loud.norm.weight[1:].max()


def test_detector_on_every_runtime_at_any_size(tmp_path: Path) -> None:
    path = tmp_path / "detector.onnx"
    differences = export_detector(seasoned_detector(1), path, {})
    assert max(differences.values()) < 1e-4
    assert path.stat().st_size < 2_000_000
    for count, height, width in ((1, 32, 32), (2, 64, 224), (1, 480, 640)):
        loc, conf, landms = run_onnxruntime(path, np.zeros((count, 3, height, width), np.float32))
        anchors = sum(2 * (height // stride) * (width // stride) for stride in (8, 16, 32))
        assert loc.shape == (count, anchors, 4)
        assert conf.shape == (count, anchors, 2) and landms.shape == (count, anchors, 10)
        np.testing.assert_allclose(conf.sum(axis=2), 1, atol=1e-5)


def test_the_detectors_graph_computes_no_shapes(tmp_path: Path) -> None:
    export_detector(seasoned_detector(1), tmp_path / "detector.onnx", {})
    model = onnx.load(str(tmp_path / "detector.onnx"))
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"Shape", "Gather", "Unsqueeze", "PRelu", "BatchNormalization"}
    assert model.opset_import[0].version <= 13


@pytest.mark.parametrize("act", ["prelu", "relu"])
def test_training_can_continue_from_the_exported_embedder(act: str, tmp_path: Path) -> None:
    first = seasoned_embedder(1, act)
    for module in first.modules():
        if isinstance(module, torch.nn.PReLU):
            torch.nn.init.uniform_(module.weight, -0.2, 0.6)
    export_embedder(first, tmp_path / "embedder.onnx", {})
    second = mobilefacenet.MobileFaceNet(act)
    images = torch.rand(6, 3, 112, 112) * 255
    load_onnx_weights(second, tmp_path / "embedder.onnx", images)
    with torch.no_grad():
        torch.testing.assert_close(second.eval()(images), first(images), atol=1e-4, rtol=1e-3)
        # In training the statistics of the batch take over: on these very images nothing may change.
        torch.testing.assert_close(second.train()(images), first(images), atol=1e-3, rtol=1e-2)


def test_training_can_continue_from_the_exported_detector(tmp_path: Path) -> None:
    first = seasoned_detector(1)
    export_detector(first, tmp_path / "detector.onnx", {})
    second = retinaface.RetinaFace()
    images = (torch.rand(3, 3, 96, 64) - 0.5) * 200
    load_onnx_weights(second, tmp_path / "detector.onnx", images)
    with torch.no_grad():
        for ours, theirs in zip(second.eval()(images), first(images)):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_another_architecture_is_rejected(tmp_path: Path) -> None:
    export_detector(seasoned_detector(1), tmp_path / "detector.onnx", {})
    with pytest.raises(SystemExit, match="not a model of this architecture"):
        load_onnx_weights(mobilefacenet.MobileFaceNet(), tmp_path / "detector.onnx", torch.zeros(2, 3, 112, 112))


def test_another_activation_is_rejected(tmp_path: Path) -> None:
    export_embedder(seasoned_embedder(1, "relu"), tmp_path / "embedder.onnx", {})
    with pytest.raises(SystemExit, match="it has 0 PReLUs, this one 33"):
        load_onnx_weights(mobilefacenet.MobileFaceNet("prelu"), tmp_path / "embedder.onnx", torch.zeros(2, 3, 112, 112))


def test_the_mean_of_a_network_with_itself_is_that_network() -> None:
    network, images = seasoned_detector(1), torch.randn(1, 3, 64, 64) * 40
    with torch.no_grad():
        for ours, theirs in zip(mean_network([network, network])(images), network(images)):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_the_mean_of_two_networks_is_halfway_between_their_folded_weights() -> None:
    first = retinaface.convolution(3, 4, 3)
    second = retinaface.convolution(3, 4, 3)
    for convolution, norm in (tuple(first)[:2], tuple(second)[:2]):
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
        torch.nn.init.normal_(convolution.weight)
    images = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        halves = [network.eval()[:2](images) for network in (first, second)]
        mean = mean_network([first, second])[:2](images)
    torch.testing.assert_close(mean, (halves[0] + halves[1]) / 2, atol=1e-5, rtol=1e-5)
