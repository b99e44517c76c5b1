"""Trains the built-in embedder: a MobileFaceNet student learns to see faces as a teacher network does.

The teacher looks at the very crop that the student looks at, so that any augmentation is fair, and blends of two
faces (mix-up) stretch a small set of pictures a long way. Before the first run:

    python -m training.labels --data DIR --teacher retinaface.onnx --work DIR
    python -m training.crops  --data DIR --work DIR

then, and again with --resume after any interruption:

    python -m training.embedder --work DIR --teacher mobilefacenet.ckpt --pairs lfw_dev_pairs.csv --steps 1850

A later run can go on from shipped weights with a schedule of its own: --start-from engines/mobilefacenet.onnx.
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from training.ahead import DrawnAhead
from training.augment import mix_up, network_input, vary_face
from training.checkpoint import StopRequest, WeightAverage, load_checkpoint, save_checkpoint
from training.crops import load_crops
from training.distillation import angle_loss, hint_loss, resemblance_loss
from training.networks.mobilefacenet import ACTIVATIONS, MobileFaceNet, initialise, load_public_teacher
from training.normalisation import freeze_statistics, measure_statistics
from training.phases import Phase, phase_at, rate_at, whole_run
from training.progress import Progress, append_to_curve
from training.restart import load_onnx_weights
from training.soap import Soap
from training.verification import DevelopmentPairs

log = logging.getLogger(__name__)

SOURCES = (("faces_utk", 1.0), ("faces_lfw_train", 2.0))
"""Where training faces come from, and how much more often than its size a source is drawn."""


SECTIONED = (
    Phase(steps=1100, rate=3e-2, joined=1, share_of_batch=0.25),
    Phase(steps=300, rate=1.5e-2, joined=4, share_of_batch=0.5),
)
"""The beginning from nothing: single blocks learn on small batches, then sections of four on larger ones."""


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes the result; two runs with the same recipe give the same weights."""

    steps: int
    seed: int = 1
    batch: int = 64
    sectioned: Tuple[Phase, ...] = SECTIONED
    peak_rate: float = 2e-3
    weight_decay: float = 5e-4
    warmup_steps: int = 100
    average_decay: float = 0.998
    plain_share: float = 0.15
    """The last share of the run: no mix-up, mild augmentation, no hints, so that the end looks like the use."""
    hint_weight: float = 4.0
    settle_step: int = 200
    """From here on normalisation is frozen, see training/normalisation.py."""
    settle_batches: int = 16
    resemblance_weight: float = 4.0

    @property
    def phases(self) -> Tuple[Phase, ...]:
        return whole_run(self.sectioned, self.steps, self.peak_rate)

    def batch_at(self, step: int) -> int:
        return int(self.batch * phase_at(self.phases, step)[0].share_of_batch)


class FaceSampler:
    """Draws training batches; batch number `step` is always the same one for a seed."""

    def __init__(self, work: Path, recipe: Recipe) -> None:
        self._crops = [load_crops(work, source)[0] for source, _ in SOURCES]
        weights = [len(crops) * weight for crops, (_, weight) in zip(self._crops, SOURCES)]
        self._shares = np.array(weights) / sum(weights)
        self._recipe = recipe

    def batch(self, step: int) -> Tuple[Tensor, bool]:
        """Network input, and whether this is the plain last part of the run."""
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, step])
        plain = step >= recipe.steps * (1 - recipe.plain_share)
        strength = 0.5 if plain else 1.0
        faces = []
        for source in rng.choice(len(self._crops), recipe.batch_at(step), p=self._shares):
            crops = self._crops[source]
            faces.append(vary_face(crops[int(rng.integers(len(crops)))], rng, strength))
        images = np.stack(faces)
        if not plain and step % 2:
            images = mix_up(images, rng)
        tensor = torch.from_numpy(network_input(images))
        return tensor.to(memory_format=torch.channels_last), plain


class EmbedderTraining:
    """One run: student, its average, optimiser and place in the schedule."""

    def __init__(
        self, recipe: Recipe, teacher: MobileFaceNet, sampler: FaceSampler, act: str, device: torch.device
    ) -> None:
        self.recipe, self._device = recipe, device
        self._batches = DrawnAhead(sampler.batch)
        self._teacher = teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        student = MobileFaceNet(act)
        initialise(student, recipe.seed)
        self.student = student.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = WeightAverage(self.student, recipe.average_decay)
        self.optimiser = Soap(self.student.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
        self.step = 0
        self._settled = False

    def start_from(self, weights: Path) -> None:
        """Takes shipped ONNX weights as the starting point of a new schedule."""
        images = [self._batches.take(number)[0] for number in range(4)]
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
        images, plain = self._batches.take(self.step)
        self.student.train()
        if self.step >= recipe.settle_step:
            self._settle()
        loss, parts = self._grade(images.to(self._device), plain)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimiser.step()
        self.average.update(self.student, self.step)
        self.step += 1
        return parts

    def _settle(self) -> None:
        """Measures the statistics when the time has come, and keeps them frozen from then on."""
        if not self._settled:
            drawn = (self._batches.take(self.step + ahead)[0] for ahead in range(1, self.recipe.settle_batches + 1))
            measure_statistics(self.student, (images.to(self._device) for images in drawn), self._run)
            self.average.network.load_state_dict(self.student.state_dict())
            self._settled = True
        freeze_statistics(self.student)

    def _run(self, images: Tensor) -> Tuple[Tensor, List[Tensor], Tensor, List[Tensor]]:
        """The student's embedding and feature maps, and the teacher's."""
        with torch.autocast(images.device.type, torch.bfloat16):
            with torch.no_grad():
                goal, goal_maps = self._teacher.stages(images)
            joined = phase_at(self.recipe.phases, self.step)[0].joined
            embedding, maps = self.student.stages(images, goal_maps if joined else None, joined)
        return embedding.float(), maps, goal.float(), goal_maps

    def _grade(self, images: Tensor, plain: bool) -> Tuple[Tensor, Dict[str, float]]:
        """The loss of one batch and its parts for the log."""
        recipe = self.recipe
        embedding, maps, goal, goal_maps = self._run(images)
        angle, resemblance = angle_loss(embedding, goal), resemblance_loss(embedding, goal)
        total = angle + recipe.resemblance_weight * resemblance
        parts = {"angle": angle.item(), "resemblance": resemblance.item()}
        if not plain:
            hint = hint_loss(maps, goal_maps)
            total = total + recipe.hint_weight * hint
            parts["hint"] = hint.item()
        return total, parts

    @torch.no_grad()
    def embed(self, batch: np.ndarray) -> np.ndarray:
        """The averaged student, in full precision, for measuring."""
        images = torch.from_numpy(batch).to(self._device, memory_format=torch.channels_last)
        return np.asarray(self.average.network(images).float().cpu().numpy())


def run(
    training: EmbedderTraining, work: Path, pairs: Optional[DevelopmentPairs], every: int, save_every_s: float
) -> None:
    """Trains to the end of the schedule; saves by the clock, measures every `every` steps."""
    recipe = training.recipe
    progress = Progress(training.step, recipe.steps, "steps")
    recent: List[Dict[str, float]] = []
    saved_at = time.monotonic()
    stop = StopRequest()
    while training.step < recipe.steps and not stop.made:
        recent.append(training.train_step())
        last = training.step == recipe.steps
        if training.step % 50 == 0:
            means = {name: float(np.mean([parts[name] for parts in recent if name in parts])) for name in recent[-1]}
            log.info(progress.describe(training.step, means))
            recent = recent[-1:]
        if last or time.monotonic() - saved_at > save_every_s:
            training.save(work / "embedder.pt")
            saved_at = time.monotonic()
        if pairs is not None and (last or training.step % every == 0):
            figures = pairs.figures(training.embed)
            log.info("development pairs: %s", figures)
            append_to_curve(work / "embedder_curve.jsonl", {"steps": training.step, **figures})
    if stop.made:
        training.save(work / "embedder.pt")
        log.info("stopped on request; --resume goes on from step %d", training.step)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.embedder", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder with the crops; checkpoint and curve go here")
    parser.add_argument("--run", default="embedder", help="name of the run: its folder below --work")
    parser.add_argument("--teacher", type=Path, required=True, help="MobileFaceNet 112×96 PyTorch checkpoint")
    parser.add_argument("--pairs", type=Path, help="development pairs to measure on (never trained on)")
    parser.add_argument("--steps", type=int, default=1850, help="length of the schedule, the sectioned part included")
    parser.add_argument("--rate", type=float, default=Recipe.peak_rate, help="peak learning rate of the joined network")
    parser.add_argument("--hints", type=float, default=Recipe.hint_weight, help="weight of the feature-map loss")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument(
        "--activation",
        choices=sorted(ACTIVATIONS),
        default="prelu",
        help="prelu, the teacher's, is exported in a form that ONNX Runtime runs well; relu is a quarter faster there",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint if there is one")
    parser.add_argument("--start-from", type=Path, help="ONNX weights to begin a new schedule with (no sections then)")
    parser.add_argument("--measure-every", type=int, default=500, metavar="STEPS")
    parser.add_argument("--save-every", type=float, default=120, metavar="SECONDS")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    recipe = Recipe(
        steps=arguments.steps,
        seed=arguments.seed,
        peak_rate=arguments.rate,
        hint_weight=arguments.hints,
        sectioned=() if arguments.start_from else SECTIONED,
    )
    teacher = load_public_teacher(torch.load(arguments.teacher, map_location="cpu", weights_only=True))
    training = EmbedderTraining(
        recipe, teacher, FaceSampler(arguments.work, recipe), arguments.activation, torch.device(arguments.device)
    )
    folder = arguments.work / arguments.run
    if arguments.resume and (folder / "embedder.pt").exists():
        training.resume(folder / "embedder.pt")
        log.info("resumed at step %d", training.step)
    elif arguments.start_from:
        training.start_from(arguments.start_from)
    pairs = DevelopmentPairs(arguments.work, arguments.pairs) if arguments.pairs else None
    run(training, folder, pairs, arguments.measure_every, arguments.save_every)


if __name__ == "__main__":
    main()
