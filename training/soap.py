"""SOAP (Vyas et al., 2024): Adam, done in the directions in which a layer's gradients actually vary.

A layer's inputs are strongly correlated, so imitating feature maps is a long, narrow valley: plain Adam, which knows
single weights only, creeps along it. Turned into the eigenvectors of the gradients' second moments (Shampoo's), the
valley becomes nearly round. training/README.md has what that saved here.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional

import torch
from torch import Tensor, nn

TURN_EVERY = 10
"""Steps between two updates of the directions: they change slowly, and a decomposition is dear."""


class Soap(torch.optim.Optimizer):
    """Weights of convolutions are matrices, outputs × everything else; vectors are left to plain Adam."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(
            parameters, {"lr": lr, "weight_decay": weight_decay, "mean_decay": 0.95, "spread_decay": 0.98, "eps": 1e-8}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = parameter.grad.float().reshape(len(parameter), -1)
                state = self.state[parameter]
                if state:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(group["lr"] * _update(state, gradient, group).reshape(parameter.shape))
                else:
                    state.update(_first_look(gradient, depthwise=parameter.dim() == 4 and parameter.shape[1] == 1))


def _first_look(gradient: Tensor, depthwise: bool) -> Dict[str, Any]:
    """The state after the first gradient, which only says where to look: nothing moves yet.

    The rows of a depthwise convolution have nothing to do with one another, so they are not turned into one another.
    """
    columns = gradient.shape[1]
    left = gradient @ gradient.T if columns > 1 and not depthwise else None
    right = gradient.T @ gradient if columns > 1 else None
    return {
        "steps": 0,
        "mean": torch.zeros_like(gradient),
        "spread": torch.zeros_like(gradient),
        "left": left,
        "right": right,
        "left_turn": _eigenvectors(left),
        "right_turn": _eigenvectors(right),
    }


def _update(state: Dict[str, Any], gradient: Tensor, group: Dict[str, Any]) -> Tensor:
    """Adam's step in the turned directions, turned back; then the directions follow the gradients."""
    keep_mean, keep_spread = group["mean_decay"], group["spread_decay"]
    state["steps"] += 1
    state["mean"].lerp_(gradient, 1 - keep_mean)
    state["spread"].lerp_(_turned(gradient, state).square(), 1 - keep_spread)
    mean = _turned(state["mean"], state) / (1 - keep_mean ** state["steps"])
    spread = state["spread"] / (1 - keep_spread ** state["steps"])
    update = mean / (spread.sqrt() + group["eps"])
    if state["left_turn"] is not None:
        update = state["left_turn"] @ update
        state["left"].lerp_(gradient @ gradient.T, 1 - keep_spread)
    if state["right_turn"] is not None:
        update = update @ state["right_turn"].T
        state["right"].lerp_(gradient.T @ gradient, 1 - keep_spread)
    if state["steps"] % TURN_EVERY == 0:
        _turn_on(state)
    return update


def _turned(values: Tensor, state: Dict[str, Any]) -> Tensor:
    if state["left_turn"] is not None:
        values = state["left_turn"].T @ values
    return values if state["right_turn"] is None else values @ state["right_turn"]


def _turn_on(state: Dict[str, Any]) -> None:
    """One step of power iteration, strongest direction first; the spread moves along with its directions."""
    for side, axis in (("left", 0), ("right", 1)):
        moments, turn = state[side], state[f"{side}_turn"]
        if turn is not None:
            order = torch.argsort((turn * (moments @ turn)).sum(dim=0), descending=True)
            state["spread"] = state["spread"].index_select(axis, order)
            state[f"{side}_turn"] = torch.linalg.qr(moments @ turn[:, order])[0]


def _eigenvectors(moments: Optional[Tensor]) -> Optional[Tensor]:
    """The strongest first; in float64, because the solver gives up on moments of gradients that are almost zero."""
    if moments is None:
        return None
    return torch.linalg.eigh(moments.double())[1].flip(1).to(moments.dtype).contiguous()
