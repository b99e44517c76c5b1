"""A student learns to see as its teacher does: what the trainings of both built-in networks have in common.

Both look at the very same batch, so that any distortion is fair, and the student is graded by the teacher's answers and
feature maps. How a batch is drawn and what else counts is said in embedder.py and detector.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Generic, List, NamedTuple, Optional, Tuple, TypeVar

import torch
from torch import Tensor, nn

from training.ahead import DrawnAhead
from training.checkpoint import WeightAverage, load_checkpoint, save_checkpoint
from training.normalisation import freeze_statistics, measure_statistics
from training.phases import Phase, phase_at, rate_at, whole_run
from training.restart import load_onnx_weights
from training.soap import Soap

Lesson = TypeVar("Lesson")
"""What comes with the images of a batch and is needed to grade it."""


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes the result; two runs with the same recipe give the same weights."""

    steps: int
    sectioned: Tuple[Phase, ...]
    """The beginning from nothing, before the blocks are joined."""
    warmup_steps: int
    hint_weight: float
    gradient_limit: float
    settle_step: int
    """From here on normalisation is frozen (see training/normalisation.py): the teacher's is, and a student whose
    statistics jump from batch to batch cannot follow it."""
    plain_share: float
    """The last share of the run is milder, so that the end looks like the use."""
    unfold_batches: int
    """The batches by which the normalisations of shipped weights are unfolded, see training/restart.py."""
    seed: int = 1
    peak_rate: float = 2e-3
    weight_decay: float = 5e-4
    average_decay: float = 0.998
    settle_batches: int = 16

    @property
    def phases(self) -> Tuple[Phase, ...]:
        return whole_run(self.sectioned, self.steps, self.peak_rate)

    def is_plain(self, step: int) -> bool:
        return step >= self.steps * (1 - self.plain_share)


class Views(NamedTuple):
    """What student and teacher see in the same images: answer and feature maps of each."""

    answer: Any
    maps: List[Tensor]
    goal: Any
    goal_maps: List[Tensor]


class StudentTraining(Generic[Lesson]):
    """One run: student, its average, optimiser and place in the schedule."""

    def __init__(
        self,
        recipe: Recipe,
        student: nn.Module,
        teacher: Optional[nn.Module],
        draw: Callable[[int], Tuple[Tensor, Lesson]],
        grade: Callable[[Views, Lesson], Tuple[Tensor, Dict[str, float]]],
        device: torch.device,
    ) -> None:
        """`draw` gives the batch of a step, always the same one; `grade` the loss, and its parts for the log.

        Without a teacher the labels alone teach: the views then have no goal.
        """
        self.recipe, self.device = recipe, device
        self._batches, self._grade = DrawnAhead(draw), grade
        self._teacher = teacher
        if teacher is not None:
            self._teacher = teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.student = student.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = WeightAverage(self.student, recipe.average_decay)
        self.optimiser = Soap(self.student.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
        self.step = 0
        # Frozen from the first step on, normalisation keeps the statistics that it starts with.
        self._settled = recipe.settle_step == 0

    def start_from(self, weights: Path) -> None:
        """Takes shipped ONNX weights as the starting point of a new schedule."""
        images = [self._batches.take(number)[0] for number in range(self.recipe.unfold_batches)]
        load_onnx_weights(self.student, weights, torch.cat(images))
        self.average = WeightAverage(self.student, self.recipe.average_decay)

    def resume(self, path: Path) -> None:
        counters = load_checkpoint(path, self.student, self.average, self.optimiser)
        self.step, self._settled = int(counters["step"]), bool(counters["settled"])

    def save(self, path: Path) -> None:
        save_checkpoint(path, self.student, self.average, self.optimiser, {"step": self.step, "settled": self._settled})

    def train_step(self) -> Dict[str, float]:
        recipe = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(recipe.phases, self.step, recipe.warmup_steps)
        images, lesson = self._batches.take(self.step)
        self.student.train()
        if self.step >= recipe.settle_step:
            self._settle()
        loss, parts = self._grade(self._look(images), lesson)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), recipe.gradient_limit)
        self.optimiser.step()
        self.average.update(self.student, self.step)
        self.step += 1
        return parts

    def _settle(self) -> None:
        """Measures the statistics when the time has come, and keeps them frozen from then on."""
        if not self._settled:
            coming = range(self.step + 1, self.step + 1 + self.recipe.settle_batches)
            measure_statistics(self.student, (self._batches.take(number)[0] for number in coming), self._look)
            self.average.network.load_state_dict(self.student.state_dict())
            self._settled = True
        freeze_statistics(self.student)

    def _look(self, images: Tensor) -> Views:
        """Both networks at one batch, in bfloat16, the arithmetic of training; also while statistics are measured."""
        images = images.to(self.device)
        joined = phase_at(self.recipe.phases, self.step)[0].joined
        with torch.autocast(self.device.type, torch.bfloat16):
            goal: Any = None
            goal_maps: List[Tensor] = []
            if self._teacher is not None:
                with torch.no_grad():
                    goal, goal_maps = self._teacher.stages(images)
            answer, maps = self.student.stages(images, goal_maps if joined else (), joined)
        return Views(answer, maps, goal, goal_maps)
