"""Going on from shipped weights: an ONNX file's initialisers back into a trainable network.

Export folds each batch normalisation into its convolution. To train on, it is unfolded: with the statistics of real
data in the normalisation layer, the network computes the same function as the file does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Tuple, Type

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn


def folded_convolutions(path: Path) -> Tuple[List[Tuple[np.ndarray, np.ndarray]], List[np.ndarray]]:
    """Weight and bias of every convolution, in the order in which the graph runs them; and the slopes of the PReLUs.

    The export writes PReLU(x) as ReLU(x) - slope * ReLU(-x), with both factors, -1 and -slope, as batch normalisations;
    those of the network itself have gone into its convolutions.
    """
    graph = onnx.load(str(path)).graph
    constants: Dict[str, np.ndarray] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs, factors = [], []
    for node in graph.node:
        if node.op_type == "Conv":
            weight = constants[node.input[1]]
            bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight), np.float32)
            pairs.append((weight, bias))
        elif node.op_type == "BatchNormalization":
            factors.append(constants[node.input[1]])
    return pairs, [-factor for factor in factors[1::2]]


def modules_as_run(network: nn.Module, images: Tensor, kinds: Tuple[Type[nn.Module], ...]) -> List[nn.Module]:
    """The network's modules of some kinds in the order of execution."""
    order: List[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: order.append(module))
        for module in network.modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return order


def layers_as_run(network: nn.Module, images: Tensor) -> Tuple[List[Tuple[nn.Conv2d, object]], List[nn.PReLU]]:
    """The network's convolutions in the order of execution, each with the normalisation that follows it, or None; and
    its PReLUs."""
    order = modules_as_run(network, images, (nn.Conv2d, nn.BatchNorm2d, nn.PReLU))
    following = [*order[1:], nn.Identity()]
    convolutions = [
        (module, after if isinstance(after, nn.BatchNorm2d) else None)
        for module, after in zip(order, following)
        if isinstance(module, nn.Conv2d)
    ]
    return convolutions, [module for module in order if isinstance(module, nn.PReLU)]


def load_onnx_weights(network: nn.Module, path: Path, images: Tensor) -> None:
    """Fills `network` from the file; `images` (a few real batches) give the normalisation statistics."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    layers, activations = layers_as_run(network, images[:1].to(device))
    stored, slopes = folded_convolutions(path)
    if [tuple(conv.weight.shape) for conv, _ in layers] != [weight.shape for weight, _ in stored]:
        raise SystemExit(f"{path} is not a model of this architecture: its convolutions differ")
    if len(slopes) != len(activations):
        raise SystemExit(
            f"{path} is not a model of this architecture: it has {len(slopes)} PReLUs, this one {len(activations)}"
        )
    biases: Dict[nn.Module, Tensor] = {}
    with torch.no_grad():
        for (conv, norm), (weight, bias) in zip(layers, stored):
            conv.weight.copy_(torch.from_numpy(weight.copy()))
            if isinstance(norm, nn.BatchNorm2d):
                biases[norm] = torch.from_numpy(bias.copy()).to(device)
            elif conv.bias is not None:
                conv.bias.copy_(torch.from_numpy(bias.copy()))

        for activation, slope in zip(activations, slopes):
            activation.weight.copy_(torch.from_numpy(slope))

        def unfold(norm: nn.Module, inputs: Tuple[Tensor, ...]) -> None:
            variance, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3), correction=0)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_(torch.sqrt(variance + norm.eps))
            norm.bias.copy_(biases[norm] + mean)

        hooks = [norm.register_forward_pre_hook(unfold) for norm in biases]
        network(images.to(device))
        for hook in hooks:
            hook.remove()
    network.train(was_training)
