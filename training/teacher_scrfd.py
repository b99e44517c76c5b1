"""A SCRFD-500M in an ONNX file as a PyTorch network, so that a student can look at its feature maps.

Only the teacher is filled this way. A student begins from nothing; it never gets a teacher's weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from training.networks.scrfd import SCRFD
from training.restart import folded_convolutions, layers_as_run


def load_scrfd_teacher(path: Path) -> SCRFD:
    """The network of the file, ready to be looked at; a file of another architecture is refused.

    The file's normalisations are folded into its convolutions; here each gets the bias that is left of it.
    """
    teacher = SCRFD().eval().requires_grad_(False)
    layers, _ = layers_as_run(teacher, torch.zeros(1, 3, 64, 64))
    stored, _ = folded_convolutions(path)
    if [tuple(conv.weight.shape) for conv, _ in layers] != [weight.shape for weight, _ in stored]:
        raise SystemExit(f"{path} is not a model of this architecture: its convolutions differ")
    for (conv, norm), (weight, bias) in zip(layers, stored):
        conv.weight.copy_(torch.from_numpy(weight.copy()))
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_var.fill_(1 - norm.eps)
            norm.bias.copy_(torch.from_numpy(bias.copy()))
        else:
            assert conv.bias is not None
            conv.bias.copy_(torch.from_numpy(bias.copy()))
    return teacher
