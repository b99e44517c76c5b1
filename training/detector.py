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

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Dict, Tuple

import numpy as np
import torch
from torch import Tensor

from training.detection_figures import all_figures
from training.detection_loss import detection_loss, imitation_loss
from training.distillation import hint_loss
from training.export import export_detector
from training.imitation import Recipe, StudentTraining, Views
from training.matching import Targets, match_batch
from training.networks.retinaface import RetinaFace, initialise, load_public_teacher
from training.phases import Phase, phase_at
from training.run import begin, carry_out, chosen_recipe, read_teacher, run_parser
from training.scenes import PictureShelf, draw_batch
from training.teacher_detector import MEAN_BGR

log = logging.getLogger(__name__)

SECTIONED = (
    Phase(steps=2500, rate=3e-2, joined=1, share_of_batch=0.25),
    Phase(steps=1200, rate=1.5e-2, joined=4, share_of_batch=0.5),
)
"""The beginning from nothing. A block is a few layers whose every pixel is a lesson: small batches teach it as well as
large ones. Longer sections then learn to live with the errors of their own first blocks."""


@dataclass(frozen=True)
class DetectorRecipe(Recipe):
    steps: int = 9000
    sectioned: Tuple[Phase, ...] = SECTIONED
    sides: Tuple[int, ...] = (256, 320, 320, 320, 448)
    """Scenes of a batch are squares of one of these sides; their number keeps the pixels of a batch about equal."""
    pixels_per_batch: int = 16 * 320 * 320
    warmup_steps: int = 200
    hint_weight: float = 20.0
    gradient_limit: float = 10.0
    settle_step: int = 300
    plain_share: float = 0.12
    """Less turned, covered and degraded."""
    unfold_batches: int = 1

    def layout(self, step: int) -> Tuple[int, int]:
        """Side and number of the scenes of a batch."""
        rng = np.random.default_rng([self.seed, step, 1])
        side = int(rng.choice(self.sides))
        pixels = self.pixels_per_batch * phase_at(self.phases, step)[0].share_of_batch
        return side, max(int(pixels) // (side * side), 1)


def draw_step(shelf: PictureShelf, recipe: DetectorRecipe, step: int) -> Tuple[Tensor, Targets]:
    """Network input and targets of one step; the same for the same seed and step."""
    side, count = recipe.layout(step)
    strength = 0.4 if recipe.is_plain(step) else 1.0
    images, faces = draw_batch(shelf, (recipe.seed, step), count, side, strength)
    pixels = torch.from_numpy(images.astype(np.float32) - MEAN_BGR).permute(0, 3, 1, 2)
    return pixels, match_batch(faces, side)


def grade(recipe: DetectorRecipe, views: Views, targets: Targets) -> Tuple[Tensor, Dict[str, float]]:
    """Labels, the teacher's answer and its feature maps: the loss of one batch, and its parts for the log."""
    device = views.maps[0].device
    kinds, boxes, landmarks = (
        torch.from_numpy(part).to(device) for part in (targets.kinds, targets.boxes, targets.landmarks)
    )
    labelled, parts = detection_loss(views.answer, kinds, boxes, landmarks)
    imitated, more_parts = imitation_loss(views.answer, views.goal, kinds)
    hint = hint_loss(views.maps, views.goal_maps)
    return labelled + imitated + recipe.hint_weight * hint, {**parts, **more_parts, "hint": hint.item()}


def detector_training(
    recipe: DetectorRecipe, shelf: PictureShelf, teacher: RetinaFace, device: torch.device
) -> StudentTraining[Targets]:
    student = RetinaFace()
    initialise(student, recipe.seed)
    return StudentTraining(recipe, student, teacher, partial(draw_step, shelf, recipe), partial(grade, recipe), device)


def export_and_measure(
    training: StudentTraining[Targets], model: Path, data: Path, work: Path, portraits: int
) -> Dict[str, float]:
    """Figures of the averaged student, as the file that would be shipped."""
    network = RetinaFace()
    network.load_state_dict(training.average.network.state_dict())
    notes = {"steps": str(training.step), "seed": str(training.recipe.seed)}
    log.info("exported, largest differences %s", export_detector(network, model, notes))
    return all_figures(model, data, work, portraits)


def main() -> None:
    parser = run_parser("detector", __doc__, DetectorRecipe, measure_every=1000)
    parser.add_argument("--data", type=Path, required=True, help="folder with the pictures")
    parser.add_argument("--portraits", type=int, default=400, help="development portraits for the curve")
    arguments = begin(parser)
    data, work = arguments.data, arguments.work
    recipe = chosen_recipe(DetectorRecipe, arguments)
    teacher = load_public_teacher(read_teacher(arguments))
    training = detector_training(recipe, PictureShelf(data, work), teacher, arguments.device)
    model = work / arguments.run / "retinaface_mnet025.onnx"
    carry_out(arguments, training, partial(export_and_measure, training, model, data, work, arguments.portraits))


if __name__ == "__main__":
    main()
