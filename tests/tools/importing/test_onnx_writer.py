"""The ONNX files that come out: names, shapes and operators that old boards read."""

import pytest
from made_networks import random_arrays

from app.errors import ModelError
from app.tools.importing.architectures import iresnet_with, public_mobilefacenet, retinaface_on_mobilenet
from app.tools.importing.onnx_writer import OPSET, write_architecture, write_onnx
from app.tools.importing.weights import Weights

onnx = pytest.importorskip("onnx")

PLAIN = {"Conv", "Relu", "LeakyRelu", "PRelu", "Add", "Concat", "Resize", "Transpose", "Reshape", "Softmax"}
PLAIN |= {"Flatten", "Gemm", "BatchNormalization", "MaxPool"}


def written(architecture):
    return write_onnx(architecture, Weights(random_arrays(architecture)))


def shapes(values):
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
    }


def test_a_detector_has_the_names_of_the_built_in_one_and_takes_any_batch_and_size():
    model = written(retinaface_on_mobilenet(0.1))
    assert shapes(model.graph.input) == {"input": ["batch", 3, "height", "width"]}
    assert shapes(model.graph.output) == {
        "loc": ["batch", "anchors", 4],
        "conf": ["batch", "anchors", 2],
        "landms": ["batch", "anchors", 10],
    }


def test_an_embedder_takes_any_batch_of_its_crop():
    model = written(public_mobilefacenet(64, 6))
    assert shapes(model.graph.input) == {"input": ["batch", 3, 112, 96]}
    assert shapes(model.graph.output) == {"embedding": ["batch", 64]}


@pytest.mark.parametrize("make", [retinaface_on_mobilenet, public_mobilefacenet, lambda: iresnet_with((1, 1, 1, 1))])
def test_the_oldest_tensorrt_reads_what_is_written(make):
    model = written(make())
    assert [domain.version for domain in model.opset_import] == [OPSET] and OPSET <= 13
    assert {node.op_type for node in model.graph.node} <= PLAIN


def test_normalisations_go_into_the_convolutions_before_them():
    kinds = [node.op_type for node in written(retinaface_on_mobilenet()).graph.node]
    assert "BatchNormalization" not in kinds


def test_a_network_with_random_weights_is_the_same_for_the_same_seed(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_architecture("retinaface_mnet025", tmp_path / name, seed)
    first, same, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == same != other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_an_architecture_that_does_not_exist_is_refused_with_those_that_do(tmp_path):
    with pytest.raises(ModelError, match="retinaface_r50, dsfd_r152, arcface_r50"):
        write_architecture("yolo", tmp_path / "net.onnx")
