"""The optimiser, compared with Adam."""

from __future__ import annotations

from typing import Callable

import pytest

torch = pytest.importorskip("torch")

from training.soap import Soap  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """One thread: for matrices this small, several are slower."""
    torch.set_num_threads(1)


def imitation_error_after(steps: int, optimiser: Callable) -> float:  # type: ignore[type-arg]
    """Trains a layer to imitate another one from correlated inputs; returns the unexplained share of its outputs."""
    generator = torch.Generator().manual_seed(3)
    goal = torch.randn(16, 32, 1, 1, generator=generator)
    mixing = torch.randn(32, 32, generator=generator) * torch.logspace(0, -2, 32)[:, None]
    student = torch.nn.Conv2d(32, 16, 1, bias=False)
    torch.nn.init.zeros_(student.weight)
    chosen = optimiser(student.parameters())
    for step in range(steps):
        inputs = torch.einsum("nihw,ij->njhw", torch.randn(4, 32, 8, 8, generator=generator), mixing)
        wanted = torch.nn.functional.conv2d(inputs, goal)
        error = (student(inputs) - wanted).square().mean() / wanted.var()
        for group in chosen.param_groups:
            group["lr"] = 0.05 * (1 - step / steps)
        chosen.zero_grad()
        error.backward()
        chosen.step()
    return error.item()


def test_a_narrow_valley_is_left_much_sooner_than_with_adam() -> None:
    by_adam = imitation_error_after(300, lambda weights: torch.optim.Adam(weights, lr=0.05))
    by_soap = imitation_error_after(300, lambda weights: Soap(weights, lr=0.05))
    assert by_soap < by_adam / 3


@pytest.mark.parametrize("shape", [(7,), (6, 5), (8, 4, 3, 3), (8, 1, 3, 3)])
def test_every_kind_of_parameter_moves_against_its_gradient(shape) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(1)
    goal = torch.randn(shape, generator=generator)
    weights = torch.nn.Parameter(torch.zeros(shape))
    optimiser = Soap([weights], lr=0.05)
    for step in range(600):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 600)
        optimiser.zero_grad()
        (weights - goal).square().sum().backward()
        optimiser.step()
    assert float((weights - goal).detach().norm()) < 0.1 * float(goal.norm())


def test_without_a_gradient_nothing_moves() -> None:
    weights = torch.nn.Parameter(torch.ones(3, 3))
    Soap([weights], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(weights, torch.ones(3, 3))
