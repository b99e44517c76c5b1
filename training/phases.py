"""The parts of a run: how far the student leans on its teacher's feature maps, and a learning rate for each part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, Tuple

from training.progress import learning_rate


@dataclass(frozen=True)
class Phase:
    """A part of a run with a learning rate that rises and falls of its own."""

    steps: int
    rate: float
    joined: int = 0
    """Blocks in a row that feed one another; the next section begins with the teacher's feature map. 0: all."""
    share_of_batch: float = 1.0


def whole_run(sectioned: Sequence[Phase], steps: int, peak_rate: float) -> Tuple[Phase, ...]:
    """The sections, and the rest of the steps for the network as a whole."""
    joined_steps = steps - sum(phase.steps for phase in sectioned)
    if joined_steps <= 0:
        raise SystemExit(f"--steps {steps}: the sections alone take {steps - joined_steps}, and the whole needs some")
    return (*sectioned, Phase(joined_steps, peak_rate))


def phase_at(phases: Sequence[Phase], step: int) -> Tuple[Phase, int]:
    """The phase that this step belongs to, and the step's number in it; what comes after the last belongs to it."""
    for phase in phases[:-1]:
        if step < phase.steps:
            return phase, step
        step -= phase.steps
    return phases[-1], step


def rate_at(phases: Sequence[Phase], step: int, warmup_steps: int) -> float:
    phase, number = phase_at(phases, step)
    return learning_rate(phase.rate, number, phase.steps, warmup_steps)
