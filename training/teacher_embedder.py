"""A MobileFaceNet in an ONNX file as a PyTorch network, so that a student can look at its feature maps.

Only the teacher is filled this way. A student begins from nothing; it never gets a teacher's weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from training.networks.mobilefacenet import MobileFaceNet
from training.restart import modules_as_run

LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.PReLU)
OPERATORS = {"Conv": nn.Conv2d, "Gemm": nn.Conv2d, "BatchNormalization": nn.BatchNorm2d, "PRelu": nn.PReLU}


def load_onnx_teacher(path: Path) -> MobileFaceNet:
    """The network of the file, ready to be looked at; a file of another architecture is refused."""
    graph = onnx.load(str(path)).graph
    constants = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type in OPERATORS]
    teacher = MobileFaceNet().eval().requires_grad_(False)
    layers = modules_as_run(teacher, torch.zeros(1, 3, 112, 112), LAYERS)
    expected = [OPERATORS[node.op_type] for node in nodes]
    if len(layers) != len(nodes) or not all(map(isinstance, layers, expected)):
        raise SystemExit(f"{path} is not a model of this architecture: its layers come in another order")
    before: List[Tensor] = []
    for layer, node in zip(layers, nodes):
        values = [constants[name] for name in node.input[1:]]
        if isinstance(layer, nn.BatchNorm2d):
            fill_normalisation(layer, node, values, *before)
        else:
            layer.weight.copy_(values[0].reshape(layer.weight.shape))
        before = values[1:] if isinstance(layer, nn.Conv2d) else []
    return teacher


def fill_normalisation(layer: nn.BatchNorm2d, node: onnx.NodeProto, values: List[Tensor], offset: float = 0.0) -> None:
    """`offset` is the bias of the layer before, which has none here: a mean lower by as much has the same effect."""
    attributes: Dict[str, float] = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    scale, shift, mean, variance = values
    layer.weight.copy_(scale)
    layer.bias.copy_(shift)
    layer.running_mean.copy_(mean - offset)
    layer.running_var.copy_(variance + attributes.get("epsilon", 1e-5) - layer.eps)
