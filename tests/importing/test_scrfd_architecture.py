"""SCRFD with weights drawn by lot is the published network in size, work and outputs."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from made_networks import random_arrays, run_onnx

from app.benchmark import subjects
from app.importing.architectures import ARCHITECTURES, ONLY_MEASURED
from app.importing.comparing import largest_difference
from app.importing.numpy_reference import numpy_outputs
from app.importing.onnx_writer import write_architecture, write_onnx
from app.importing.weights import RandomWeights, Weights

SMALL = {"blocks": (1, 2, 1, 1), "planes": (8, 12, 12, 16), "width": 8, "head": (2, 10)}


def multiplications(model, width, height):
    """Of all convolutions, for one picture of this size."""
    for dim, length in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, height, width)):
        dim.dim_value = length
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model).graph
    places = {value.name: value.type.tensor_type.shape.dim for value in (*inferred.value_info, *inferred.output)}
    kernels = {tensor.name: tensor.dims for tensor in inferred.initializer}
    return sum(
        int(np.prod([dim.dim_value for dim in places[node.output[0]]])) * int(np.prod(kernels[node.input[1]][1:]))
        for node in inferred.node
        if node.op_type == "Conv"
    )


@pytest.mark.parametrize(("name", "millions", "billions"), [("scrfd_2.5g", 0.82, 2.53), ("scrfd_10g", 4.23, 9.98)])
def test_size_and_work_are_those_that_its_authors_publish(name, millions, billions):
    """The parameters are those of the variant with landmarks, the work that of the one without: 1 % less."""
    architecture = ONLY_MEASURED[name]()
    learned = [np.prod(shape) for key, shape in architecture.weight_shapes().items() if "running" not in key]
    assert sum(learned) / 1e6 == pytest.approx(millions, rel=0.01)
    work = multiplications(write_onnx(architecture, RandomWeights(0)), 640, 480)
    assert work / 1e9 == pytest.approx(billions, rel=0.03)


def test_the_graph_computes_what_numpy_computes():
    architecture = replace(ONLY_MEASURED["scrfd_10g"](), options=SMALL)
    arrays = random_arrays(architecture)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 3, 64, 96)).astype(np.float32)
    expected = numpy_outputs(architecture, Weights(arrays), images)
    assert expected["kps_8"].shape == (2, 2 * 8 * 12, 10)
    model = write_onnx(architecture, Weights(arrays)).SerializeToString()
    assert largest_difference(expected, run_onnx(model, images)) < 1e-5


def test_pytorch_computes_the_same():
    pytest.importorskip("torch")
    from app.importing.torch_reference import torch_outputs

    architecture = replace(ONLY_MEASURED["scrfd_10g"](), options=SMALL)
    arrays = random_arrays(architecture)
    images = np.random.default_rng(1).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    expected = numpy_outputs(architecture, Weights(arrays), images)
    assert largest_difference(expected, torch_outputs(architecture, Weights(arrays), images)) < 1e-5


def test_it_runs_as_a_detector_of_its_family(tmp_path):
    path = tmp_path / "scrfd_2.5g.onnx"
    write_architecture(path.stem, path)
    entry = subjects.random_weights_entry(path.stem, path)
    picture = np.zeros((120, 160, 3), np.uint8)
    subject = subjects.subject_of(entry, (128, 96), random_weights=True)
    opened = subjects.open_subject(subject, "onnx", "fp32", 2, 1, picture)
    assert {name: value.shape for name, value in opened.run(2).items()}["bbox_16"] == (2, 2 * 8 * 6, 4)
    opened.engine.close()


def test_whatever_can_be_measured_with_random_weights_can_be_written():
    assert set(subjects.ARCHITECTURES) <= {*ARCHITECTURES, *ONLY_MEASURED}
