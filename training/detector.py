"""Trains the built-in detector: a RetinaFace student learns from composed scenes and from a teacher network.

Scenes are made of pictures that the teacher has labelled once, so that labels are known through any distortion; and the
teacher looks at every scene too, so that its answers and feature maps can be imitated.

    python -m training.labels   --data DIR --teacher retinaface.onnx --work DIR
    python -m training.detector --data DIR --work DIR --teacher retinaface.pth --steps 9000

Again with --resume after any interruption; --start-from engines/retinaface_mnet025.onnx begins a new schedule with
shipped weights.
Scenes and development pictures named in training/scene_list.py and faces_lfw_dev are never trained on.
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from training.ahead import DrawnAhead
from training.checkpoint import StopRequest, WeightAverage, load_checkpoint, save_checkpoint
from training.detection_figures import all_figures
from training.detection_loss import detection_loss, imitation_loss
from training.distillation import hint_loss
from training.export import export_detector
from training.matching import Targets, match_batch
from training.networks.retinaface import Outputs, RetinaFace, initialise, load_public_teacher
from training.normalisation import freeze_statistics, measure_statistics
from training.phases import Phase, phase_at, rate_at, whole_run
from training.progress import Progress, append_to_curve
from training.restart import load_onnx_weights
from training.scenes import PictureShelf, draw_batch
from training.soap import Soap
from training.teacher_detector import MEAN_BGR

log = logging.getLogger(__name__)


SECTIONED = (
    Phase(steps=2500, rate=3e-2, joined=1, share_of_batch=0.25),
    Phase(steps=1200, rate=1.5e-2, joined=4, share_of_batch=0.5),
)
"""The beginning from nothing. A block is a few layers whose every pixel is a lesson: small batches teach it as well as
large ones. Longer sections then learn to live with the errors of their own first blocks."""


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes the result; two runs with the same recipe give the same weights."""

    steps: int
    seed: int = 1
    sectioned: Tuple[Phase, ...] = SECTIONED
    sides: Tuple[int, ...] = (256, 320, 320, 320, 448)
    """Scenes of a batch are squares of one of these sides; their number keeps the pixels of a batch about equal."""
    pixels_per_batch: int = 16 * 320 * 320
    peak_rate: float = 2e-3
    weight_decay: float = 5e-4
    warmup_steps: int = 200
    average_decay: float = 0.998
    hint_weight: float = 20.0
    settle_step: int = 300
    """From here on normalisation is frozen (see training/normalisation.py): the teacher's is, and a student whose
    statistics jump from batch to batch cannot follow it."""
    settle_batches: int = 16
    plain_share: float = 0.12
    """The last share of the run: less turned, covered and degraded, so that the end looks like the use."""

    @property
    def phases(self) -> Tuple[Phase, ...]:
        return whole_run(self.sectioned, self.steps, self.peak_rate)

    def layout(self, step: int) -> Tuple[int, int]:
        """Side and number of the scenes of a batch."""
        rng = np.random.default_rng([self.seed, step, 1])
        side = int(rng.choice(self.sides))
        pixels = self.pixels_per_batch * phase_at(self.phases, step)[0].share_of_batch
        return side, max(int(pixels) // (side * side), 1)


def draw_step(shelf: PictureShelf, recipe: Recipe, step: int) -> Tuple[Tensor, Targets]:
    """Network input and targets of one step; the same for the same seed and step."""
    side, count = recipe.layout(step)
    strength = 0.4 if step >= (1 - recipe.plain_share) * recipe.steps else 1.0
    images, faces = draw_batch(shelf, (recipe.seed, step), count, side, strength)
    pixels = torch.from_numpy(images.astype(np.float32) - MEAN_BGR).permute(0, 3, 1, 2)
    return pixels, match_batch(faces, side)


class DetectorTraining:
    """One run: network, its average, optimiser and place in the schedule."""

    def __init__(self, recipe: Recipe, shelf: PictureShelf, teacher: RetinaFace, device: torch.device) -> None:
        self.recipe, self._device = recipe, device
        self._batches = DrawnAhead(lambda step: draw_step(shelf, recipe, step))
        self._teacher = teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        network = RetinaFace()
        initialise(network, recipe.seed)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = WeightAverage(self.network, recipe.average_decay)
        self.optimiser = Soap(self.network.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
        self.step = 0
        self._settled = False

    def start_from(self, weights: Path) -> None:
        """Takes shipped ONNX weights as the starting point of a new schedule."""
        images, _ = self._batches.take(0)
        load_onnx_weights(self.network, weights, images)
        self.average = WeightAverage(self.network, self.recipe.average_decay)

    def resume(self, path: Path) -> None:
        counters = load_checkpoint(path, self.network, self.average, self.optimiser)
        self.step, self._settled = int(counters["step"]), bool(counters.get("settled"))

    def save(self, path: Path) -> None:
        save_checkpoint(path, self.network, self.average, self.optimiser, {"step": self.step, "settled": self._settled})

    def train_step(self) -> Dict[str, float]:
        recipe = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(recipe.phases, self.step, recipe.warmup_steps)
        images, targets = self._batches.take(self.step)
        self.network.train()
        if self.step >= recipe.settle_step:
            self._settle()
        loss, parts = self._grade(images.to(self._device), targets)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimiser.step()
        self.average.update(self.network, self.step)
        self.step += 1
        return parts

    def _settle(self) -> None:
        """Measures the statistics when the time has come, and keeps them frozen from then on."""
        if not self._settled:
            drawn = (self._batches.take(self.step + ahead)[0] for ahead in range(1, self.recipe.settle_batches + 1))
            measure_statistics(self.network, (images.to(self._device) for images in drawn), self._run)
            self.average.network.load_state_dict(self.network.state_dict())
            self._settled = True
        freeze_statistics(self.network)

    def _run(self, images: Tensor) -> Tuple[Outputs, List[Tensor], Outputs, List[Tensor]]:
        """The student's outputs and feature maps, and the teacher's."""
        with torch.no_grad():
            answer, goal_maps = self._teacher.stages(images)
        joined = phase_at(self.recipe.phases, self.step)[0].joined
        outputs, maps = self.network.stages(images, goal_maps if joined else None, joined)
        return outputs, maps, answer, goal_maps

    def _grade(self, images: Tensor, targets: Targets) -> Tuple[Tensor, Dict[str, float]]:
        """Labels, the teacher's answer and its feature maps: the loss of one batch, and its parts for the log."""
        with torch.autocast(self._device.type, torch.bfloat16):
            outputs, maps, answer, goal_maps = self._run(images)
        kinds, boxes, landmarks = (
            torch.from_numpy(part).to(self._device) for part in (targets.kinds, targets.boxes, targets.landmarks)
        )
        labelled, parts = detection_loss(outputs, kinds, boxes, landmarks)
        imitated, more_parts = imitation_loss(outputs, answer, kinds)
        hint = hint_loss(maps, goal_maps)
        return labelled + imitated + self.recipe.hint_weight * hint, {**parts, **more_parts, "hint": hint.item()}


def export_average(training: DetectorTraining, path: Path) -> None:
    network = RetinaFace()
    network.load_state_dict(training.average.network.state_dict())
    notes = {"steps": str(training.step), "seed": str(training.recipe.seed)}
    log.info("exported, largest differences %s", export_detector(network, path, notes))


def run(
    training: DetectorTraining, data: Path, work: Path, folder: Path, every: int, save_every_s: float, portraits: int
) -> None:
    """Trains to the end of the schedule; saves by the clock, exports and measures every `every` steps."""
    recipe = training.recipe
    progress = Progress(training.step, recipe.steps, "steps")
    recent: List[Dict[str, float]] = []
    saved_at = time.monotonic()
    stop = StopRequest()
    while training.step < recipe.steps and not stop.made:
        recent.append(training.train_step())
        last = training.step == recipe.steps
        if training.step % 50 == 0:
            means = {name: float(np.mean([parts[name] for parts in recent])) for name in recent[0]}
            log.info(progress.describe(training.step, means))
            recent = []
        if last or time.monotonic() - saved_at > save_every_s:
            training.save(folder / "detector.pt")
            saved_at = time.monotonic()
        if every and (last or training.step % every == 0):
            model = folder / "retinaface_mnet025.onnx"
            export_average(training, model)
            figures = all_figures(model, data, work, portraits)
            log.info("figures: %s", figures)
            append_to_curve(folder / "detector_curve.jsonl", {"steps": training.step, **figures})
    if stop.made:
        training.save(folder / "detector.pt")
        log.info("stopped on request; --resume goes on from step %d", training.step)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.detector", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the pictures")
    parser.add_argument("--work", type=Path, required=True, help="folder in which training.labels has written")
    parser.add_argument(
        "--teacher", type=Path, required=True, help="RetinaFace MobileNet-0.25 PyTorch checkpoint (ReLU)"
    )
    parser.add_argument("--run", default="detector", help="name of the run: its folder below --work")
    parser.add_argument("--steps", type=int, default=9000, help="length of the schedule, the sectioned part included")
    parser.add_argument("--rate", type=float, default=Recipe.peak_rate, help="peak learning rate of the joined network")
    parser.add_argument("--hints", type=float, default=Recipe.hint_weight, help="weight of the feature-map loss")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint if there is one")
    parser.add_argument("--start-from", type=Path, help="ONNX weights to begin a new schedule with (no sections then)")
    parser.add_argument("--measure-every", type=int, default=1000, metavar="STEPS", help="0: never")
    parser.add_argument("--portraits", type=int, default=400, help="development portraits for the curve")
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
        sectioned=() if arguments.start_from else SECTIONED,
        hint_weight=arguments.hints,
    )
    shelf = PictureShelf(arguments.data, arguments.work)
    teacher = load_public_teacher(torch.load(arguments.teacher, map_location="cpu", weights_only=True))
    training = DetectorTraining(recipe, shelf, teacher, torch.device(arguments.device))
    folder = arguments.work / arguments.run
    if arguments.resume and (folder / "detector.pt").exists():
        training.resume(folder / "detector.pt")
        log.info("resumed at step %d", training.step)
    elif arguments.start_from:
        training.start_from(arguments.start_from)
    run(
        training,
        arguments.data,
        arguments.work,
        folder,
        arguments.measure_every,
        arguments.save_every,
        arguments.portraits,
    )


if __name__ == "__main__":
    main()
