"""What a run needs to go on exactly where it stopped: weights, their running average, optimiser, step.

No random state is stored: every batch is drawn from a generator seeded with (seed, step).
"""

from __future__ import annotations

import copy
import signal
from pathlib import Path
from typing import Any, Dict, Optional

import torch
from torch import nn

from training.files import replace_atomically


class StopRequest:
    """Turns Ctrl-C and `kill` into a wish that the training loop grants after its step, with a checkpoint."""

    def __init__(self) -> None:
        self.made = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: Optional[object]) -> None:
        self.made = True


class WeightAverage:
    """Exponential moving average of a network's weights and normalisation statistics (EMA).

    The average is what gets measured and shipped: it is steadier than the last step's weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        averaged = self.network.state_dict()
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                averaged[name].lerp_(value, 1 - decay)
            else:
                averaged[name].copy_(value)


def save_checkpoint(
    path: Path, network: nn.Module, average: WeightAverage, optimiser: torch.optim.Optimizer, counters: Dict[str, Any]
) -> None:
    with replace_atomically(path) as stream:
        torch.save(
            {
                "network": network.state_dict(),
                "average": average.network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "counters": counters,
            },
            stream,
        )


def load_checkpoint(
    path: Path, network: nn.Module, average: WeightAverage, optimiser: torch.optim.Optimizer
) -> Dict[str, Any]:
    """Fills network, average and optimiser; returns the counters that were saved with them."""
    stored = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(stored["network"])
    average.network.load_state_dict(stored["average"])
    optimiser.load_state_dict(stored["optimiser"])
    counters: Dict[str, Any] = stored["counters"]
    return counters
