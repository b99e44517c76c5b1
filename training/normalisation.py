"""Freezing batch normalisation: from a point on, the network that trains is the network that will be used.

Scenes differ so much that the statistics of sixteen of them jump from batch to batch. While they do, landmarks cannot
become sharp: every feature moves with the company it happens to be in.
"""

from __future__ import annotations

from typing import Callable, Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def measure_statistics(network: nn.Module, batches: Iterable[Tensor], run: Callable[[Tensor], object]) -> None:
    """Sets the running statistics to the plain mean over `batches`, with the weights as they are.

    `run` runs the network on a batch as it is trained, autocast included: the statistics are to be those of the very
    numbers that they will normalise from the next step on.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's word for a plain mean
    network.train()
    for images in batches:
        run(images)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


def freeze_statistics(network: nn.Module) -> None:
    """Normalise by the running statistics while training; scale and shift still learn."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
