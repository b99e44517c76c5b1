"""Trains the built-in embedder: a MobileFaceNet student learns to see faces as a teacher network does.

The teacher looks at the very crop that the student looks at, so that any augmentation is fair, and blends of two
faces (mix-up) stretch a small set of pictures a long way. Before the first run:

    python -m training.labels --data DIR --teacher retinaface.onnx --work DIR
    python -m training.crops  --data DIR --work DIR

then, and again with --resume after any interruption:

    python -m training.embedder --work DIR --teacher mobilefacenet.ckpt --pairs lfw_dev_pairs.csv --images 1000000

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

from training.augment import mix_up, network_input, vary_face
from training.checkpoint import StopRequest, WeightAverage, load_checkpoint, save_checkpoint
from training.crops import load_crops
from training.distillation import angle_loss, hint_loss, resemblance_loss
from training.networks.mobilefacenet import ACTIVATIONS, MobileFaceNet, initialise, load_public_teacher
from training.progress import Progress, append_to_curve, learning_rate
from training.restart import load_onnx_weights
from training.verification import DevelopmentPairs

log = logging.getLogger(__name__)

SOURCES = (("faces_utk", 1.0), ("faces_lfw_train", 2.0))
"""Where training faces come from, and how much more often than its size a source is drawn."""


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes the result; two runs with the same recipe give the same weights."""

    images: int
    seed: int = 1
    batch: int = 64
    peak_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup_images: int = 6400
    average_decay: float = 0.998
    plain_share: float = 0.15
    """The last share of the run: no mix-up, mild augmentation, no hints, so that the end looks like the use."""
    hint_weight: float = 1.0
    sectioned_images: int = 19_200
    """For so many images at the start, every section of the student is fed with the teacher's feature maps."""
    resemblance_weight: float = 4.0

    @property
    def steps(self) -> int:
        return self.images // self.batch


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
        for source in rng.choice(len(self._crops), recipe.batch, p=self._shares):
            crops = self._crops[source]
            faces.append(vary_face(crops[int(rng.integers(len(crops)))], rng, strength))
        images = np.stack(faces)
        if not plain and step % 2:
            images = mix_up(images, rng)
        tensor = torch.from_numpy(network_input(images))
        return tensor.to(memory_format=torch.channels_last), plain


def distil(
    student: MobileFaceNet,
    teacher: nn.Module,
    images: Tensor,
    recipe: Recipe,
    plain: bool = False,
    sectioned: bool = False,
) -> Tuple[Tensor, Dict[str, float]]:
    """The loss of one batch and its parts for the log."""
    with torch.autocast(images.device.type, torch.bfloat16):
        with torch.no_grad():
            goal, goal_maps = teacher.stages(images)  # type: ignore[operator]
        embedding, maps = student.stages(images, goal_maps if sectioned else None)
    embedding, goal = embedding.float(), goal.float()
    angle, resemblance = angle_loss(embedding, goal), resemblance_loss(embedding, goal)
    total = angle + recipe.resemblance_weight * resemblance
    parts = {"angle": angle.item(), "resemblance": resemblance.item()}
    if not plain and recipe.hint_weight:
        hint = hint_loss(maps, goal_maps)
        total = total + recipe.hint_weight * hint
        parts["hint"] = hint.item()
    return total, parts


class EmbedderTraining:
    """One run: student, its average, optimiser and place in the schedule."""

    def __init__(
        self, recipe: Recipe, teacher: nn.Module, sampler: FaceSampler, act: str, device: torch.device
    ) -> None:
        self.recipe, self._sampler, self._device = recipe, sampler, device
        self._teacher = teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        student = MobileFaceNet(act)
        initialise(student, recipe.seed)
        self.student = student.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = WeightAverage(self.student, recipe.average_decay)
        self.optimiser = torch.optim.AdamW(
            self.student.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay
        )
        self.step = 0

    def start_from(self, weights: Path) -> None:
        """Takes shipped ONNX weights as the starting point of a new schedule."""
        images = [self._sampler.batch(number)[0] for number in range(4)]
        load_onnx_weights(self.student, weights, torch.cat(images))
        self.average = WeightAverage(self.student, self.recipe.average_decay)

    def resume(self, path: Path) -> None:
        counters = load_checkpoint(path, self.student, self.average, self.optimiser)
        self.step = int(counters["step"])

    def save(self, path: Path) -> None:
        save_checkpoint(path, self.student, self.average, self.optimiser, {"step": self.step})

    def train_step(self) -> Dict[str, float]:
        recipe = self.recipe
        rate = learning_rate(recipe.peak_rate, self.step, recipe.steps, recipe.warmup_images // recipe.batch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        images, plain = self._sampler.batch(self.step)
        self.student.train()
        sectioned = self.step * recipe.batch < recipe.sectioned_images
        loss, parts = distil(self.student, self._teacher, images.to(self._device), recipe, plain, sectioned)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimiser.step()
        self.average.update(self.student, self.step)
        self.step += 1
        return parts

    @torch.no_grad()
    def embed(self, batch: np.ndarray) -> np.ndarray:
        """The averaged student, in full precision, for measuring."""
        images = torch.from_numpy(batch).to(self._device, memory_format=torch.channels_last)
        return np.asarray(self.average.network(images).float().cpu().numpy())


def run(
    training: EmbedderTraining, work: Path, pairs: Optional[DevelopmentPairs], every: int, save_every_s: float
) -> None:
    """Trains to the end of the schedule; saves by the clock, measures every `every` images."""
    recipe = training.recipe
    progress = Progress(training.step * recipe.batch, recipe.images, "images")
    recent: List[Dict[str, float]] = []
    saved_at = time.monotonic()
    stop = StopRequest()
    while training.step < recipe.steps and not stop.made:
        recent.append(training.train_step())
        seen = training.step * recipe.batch
        last = training.step == recipe.steps
        if training.step % 50 == 0:
            means = {name: float(np.mean([parts[name] for parts in recent if name in parts])) for name in recent[-1]}
            log.info(progress.describe(seen, means))
            recent = recent[-1:]
        if last or time.monotonic() - saved_at > save_every_s:
            training.save(work / "embedder.pt")
            saved_at = time.monotonic()
        if pairs is not None and (last or seen % every < recipe.batch):
            figures = pairs.figures(training.embed)
            log.info("development pairs: %s", figures)
            append_to_curve(work / "embedder_curve.jsonl", {"images": seen, **figures})
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
    parser.add_argument("--images", type=int, default=1_000_000, help="length of the schedule, in images seen")
    parser.add_argument("--rate", type=float, default=Recipe.peak_rate, help="peak learning rate")
    parser.add_argument("--hints", type=float, default=Recipe.hint_weight, help="weight of the feature-map loss")
    parser.add_argument(
        "--sectioned",
        type=int,
        default=Recipe.sectioned_images,
        metavar="IMAGES",
        help="images during which every section learns from the teacher's feature maps",
    )
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument(
        "--activation",
        choices=sorted(ACTIVATIONS),
        default="relu",
        help="PReLU trains at half the speed and ONNX Runtime runs it badly",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint if there is one")
    parser.add_argument("--start-from", type=Path, help="ONNX weights to begin a new schedule with (no sections then)")
    parser.add_argument("--measure-every", type=int, default=20_000, metavar="IMAGES")
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
        images=arguments.images,
        seed=arguments.seed,
        peak_rate=arguments.rate,
        hint_weight=arguments.hints,
        sectioned_images=0 if arguments.start_from else arguments.sectioned,
    )
    teacher = load_public_teacher(torch.load(arguments.teacher, map_location="cpu", weights_only=True))
    training = EmbedderTraining(
        recipe, teacher, FaceSampler(arguments.work, recipe), arguments.activation, torch.device(arguments.device)
    )
    folder = arguments.work / arguments.run
    if arguments.resume and (folder / "embedder.pt").exists():
        training.resume(folder / "embedder.pt")
        log.info("resumed at %d images", training.step * recipe.batch)
    elif arguments.start_from:
        training.start_from(arguments.start_from)
    pairs = DevelopmentPairs(arguments.work, arguments.pairs) if arguments.pairs else None
    run(training, folder, pairs, arguments.measure_every, arguments.save_every)


if __name__ == "__main__":
    main()
