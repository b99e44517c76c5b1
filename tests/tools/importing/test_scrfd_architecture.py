"""SCRFD with random weights is the published network in size, work and outputs."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from made_networks import random_arrays, run_onnx

from app.tools.benchmark import cases
from app.tools.importing.architectures import ARCHITECTURES, ONLY_MEASURED
from app.tools.importing.onnx_writer import write_onnx
from app.tools.importing.references import largest_difference, numpy_outputs
from app.tools.importing.weights import RandomWeights, Weights

SMALL = {"blocks": (1, 2, 1, 1), "planes": (8, 12, 12, 16), "width": 8, "head": (2, 10)}


def inferred_graph(model, width, height):
    """With the shapes of everything in it, for one picture of this size."""
    for dim, length in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, height, width)):
        dim.dim_value = length
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model).graph


def values_after(graph, operator):
    """Of each node of this kind: the node, and how many values it gives."""
    places = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.output)}
    nodes = [node for node in graph.node if node.op_type == operator]
    return [(node, int(np.prod([dim.dim_value for dim in places[node.output[0]]]))) for node in nodes]


def multiplications(graph):
    """Of all convolutions."""
    kernels = {tensor.name: tensor.dims for tensor in graph.initializer}
    return sum(values * int(np.prod(kernels[node.input[1]][1:])) for node, values in values_after(graph, "Conv"))


def learned(architecture, *without):
    """MatchedBy many numbers training finds, but for weights whose names hold one of these words."""
    left_out = ("running", *without)
    shapes = architecture.weight_shapes().items()
    return sum(np.prod(shape) for key, shape in shapes if not any(word in key for word in left_out))


@pytest.mark.parametrize(("name", "millions", "billions"), [("scrfd_2.5g", 0.82, 2.53), ("scrfd_10g", 4.23, 9.98)])
def test_size_and_work_are_those_that_its_authors_publish(name, millions, billions):
    """The parameters are those of the variant with landmarks, the work that of the one without: 1 % less."""
    architecture = ONLY_MEASURED[name]()
    assert learned(architecture) / 1e6 == pytest.approx(millions, rel=0.01)
    work = multiplications(inferred_graph(write_onnx(architecture, RandomWeights(0)), 640, 480))
    assert work / 1e9 == pytest.approx(billions, rel=0.03)


def test_the_smallest_is_the_published_one_too():
    """Published: 0.57 million parameters and 0.508 billion operations, without landmarks, and with one head for all
    three strides. In so small a network the normalisations count as well: two operations a value, and one for ReLU.
    """
    architecture = ONLY_MEASURED["scrfd_500m"]()
    head_of_others = ("stride16", "stride32", "score16", "score32", "bbox16", "bbox32")
    assert learned(architecture, "kps", *head_of_others) / 1e6 == pytest.approx(0.57, rel=0.01)
    graph = inferred_graph(write_onnx(architecture, RandomWeights(0)), 640, 480)
    cells = 80 * 60 + 40 * 30 + 20 * 15
    landmarks = cells * 2 * 10 * 64 * 3 * 3
    passing = sum(values for _, values in values_after(graph, "Relu"))
    assert (multiplications(graph) - landmarks + 3 * passing) / 1e9 == pytest.approx(0.508, rel=0.01)


@pytest.mark.parametrize("separable", [False, True])
def test_the_graph_computes_what_numpy_computes(separable):
    architecture = replace(ONLY_MEASURED["scrfd_10g"](), options={**SMALL, "separable": separable})
    arrays = random_arrays(architecture)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 3, 64, 96)).astype(np.float32)
    expected = numpy_outputs(architecture, Weights(arrays), images)
    assert expected["kps_8"].shape == (2, 2 * 8 * 12, 10)
    model = write_onnx(architecture, Weights(arrays)).SerializeToString()
    assert largest_difference(expected, run_onnx(model, images)) < 1e-5


def test_pytorch_computes_the_same():
    pytest.importorskip("torch")
    from app.tools.importing.references import torch_outputs

    architecture = replace(ONLY_MEASURED["scrfd_10g"](), options=SMALL)
    arrays = random_arrays(architecture)
    images = np.random.default_rng(1).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    expected = numpy_outputs(architecture, Weights(arrays), images)
    assert largest_difference(expected, torch_outputs(architecture, Weights(arrays), images)) < 1e-5


def test_it_runs_as_a_detector_of_its_family(tmp_path):
    entry = cases.random_network(tmp_path, "scrfd_2.5g")
    picture = np.zeros((120, 160, 3), np.uint8)
    case = cases.case_of(entry, (128, 96), random_weights=True)
    opened = cases.open_case(case, "onnx", "fp32", 2, 1, picture)
    assert [outputs["bbox_16"].shape for outputs in opened.run(2)] == [(2 * 8 * 6, 4)] * 2
    opened.engine.close()


def test_every_architecture_that_is_measured_with_random_weights_can_be_written():
    assert set(cases.ARCHITECTURES) <= {*ARCHITECTURES, *ONLY_MEASURED}
