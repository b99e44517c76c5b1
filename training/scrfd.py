"""Trains the second built-in detector: an SCRFD-500M student learns to see scenes as a teacher network does.

Scenes are composed as for training/refinement.py, of pictures that training.agreement has labelled; the teacher looks
at every scene, and its feature maps and answers are imitated. Labels only say in which scenes there is no face at all:
what the teacher sees there is not imitated.

    python -m training.scrfd --data DIR --work WORK --teacher scrfd_500m_bnkps.onnx --steps 6000

Again with --resume after any interruption. Pictures that training/scene_list.py holds out and faces_lfw_dev are never
trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Dict, Tuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.distillation import hint_loss
from training.imitation import Recipe, StudentTraining, Views
from training.networks.scrfd import SCRFD, initialise
from training.phases import Phase, phase_at
from training.refinement import REFINEMENT_KINDS, RefinementShelf
from training.run import begin, carry_out, chosen_recipe, run_parser
from training.scenes import PictureShelf, draw_batch
from training.teacher_scrfd import load_scrfd_teacher

SECTIONED = (
    Phase(steps=2000, rate=3e-2, joined=1, share_of_batch=0.7),
    Phase(steps=700, rate=1e-2, joined=4, share_of_batch=0.7),
)
"""The beginning from nothing, as in training/detector.py."""

PIXEL_MEAN, PIXEL_SCALE = 127.5, 1 / 128

FIRST_SCENES, NEW_SCENES_A_STEP, MAX_SCENES = 64, 2, 5000
"""How many different scenes of one size a run has seen: at first, more each step, and at most."""
SCENE_STRENGTH = 0.8
"""How much scenes are turned, covered and degraded."""

SEEN_SCORE = 0.2
"""Boxes and landmarks are imitated where the teacher gives at least this score, in proportion to it."""
EMPTY_WEIGHT = 4.0
"""What a score in a scene without people costs more."""
BEND = 0.1
"""Where smooth-L1 turns from square to straight, in strides."""
MIN_FACES = 32


@dataclass(frozen=True)
class ScrfdRecipe(Recipe):
    steps: int = 5000
    sectioned: Tuple[Phase, ...] = SECTIONED
    sides: Tuple[int, ...] = (320, 320, 448)
    """Scenes of a batch are squares of one of these sides; their number keeps the pixels of a batch about equal."""
    pixels_per_batch: int = 6 * 320 * 320
    warmup_steps: int = 50
    hint_weight: float = 20.0
    gradient_limit: float = 10.0
    settle_step: int = 300
    plain_share: float = 0.0
    unfold_batches: int = 1

    def layout(self, step: int) -> Tuple[int, int]:
        """Side and number of the scenes of a batch."""
        rng = np.random.default_rng([self.seed, step, 1])
        side = int(rng.choice(self.sides))
        pixels = self.pixels_per_batch * phase_at(self.phases, step)[0].share_of_batch
        return side, max(int(pixels) // (side * side), 1)


class SceneStore:
    """Scenes by number, each composed once and kept: composing takes as long as a step of training on it.

    A step sees some scenes for the first time, and others again, perhaps mirrored.
    """

    def __init__(self, shelf: PictureShelf, recipe: ScrfdRecipe) -> None:
        self._shelf, self._recipe = shelf, recipe
        self._kept: Dict[Tuple[int, int], Tuple[np.ndarray, bool]] = {}

    def scene(self, side: int, number: int) -> Tuple[np.ndarray, bool]:
        """RGB pixels, and whether there is no face in them."""
        if (side, number) not in self._kept:
            seed = (self._recipe.seed, side, number)
            images, faces = draw_batch(self._shelf, seed, 1, side, SCENE_STRENGTH, REFINEMENT_KINDS)
            self._kept[side, number] = images[0, ..., ::-1], not len(faces[0])
        return self._kept[side, number]

    def draw(self, step: int) -> Tuple[Tensor, Tensor]:
        """Network input of one step, the same for the same seed and step; and which of its scenes have no face."""
        side, count = self._recipe.layout(step)
        rng = np.random.default_rng([self._recipe.seed, step, 2])
        known = min(FIRST_SCENES + NEW_SCENES_A_STEP * step, MAX_SCENES)
        chosen = [self.scene(side, int(number)) for number in rng.integers(known, size=count)]
        mirrored = rng.random(count) < 0.5
        images = np.stack([image[:, ::-1] if flip else image for (image, _), flip in zip(chosen, mirrored)])
        pixels = torch.from_numpy(images.transpose(0, 3, 1, 2)).float().sub_(PIXEL_MEAN).mul_(PIXEL_SCALE)
        return pixels, torch.tensor([empty for _, empty in chosen])


def answer_loss(ours: Tuple[Tensor, ...], theirs: Tuple[Tensor, ...], empty: Tensor) -> Tuple[Tensor, Dict[str, float]]:
    """How far the answer is from the teacher's at every anchor; `ours` are logits, `theirs` probabilities."""
    scores, boxes, landmarks = (torch.cat(ours[part : part + 3], dim=1).float() for part in (0, 3, 6))
    chances, box_goals, landmark_goals = (torch.cat(theirs[part : part + 3], dim=1).float() for part in (0, 3, 6))
    empty = empty.to(scores.device).reshape(-1, 1, 1)
    chances = chances.masked_fill(empty, 0)
    seen = chances[..., 0] >= SEEN_SCORE
    weights = chances[seen]
    count = max(float(weights.sum()), MIN_FACES)
    difference = (scores.detach().sigmoid() - chances).abs()
    score_part = functional.binary_cross_entropy_with_logits(
        scores, chances, torch.where(empty, EMPTY_WEIGHT, 1.0) * difference, reduction="sum"
    )
    box_part = functional.smooth_l1_loss(boxes[seen], box_goals[seen], reduction="none", beta=BEND)
    landmark_part = functional.smooth_l1_loss(landmarks[seen], landmark_goals[seen], reduction="none", beta=BEND)
    parts = {
        "score": score_part / count,
        "box": (box_part.mean(dim=1, keepdim=True) * weights).sum() / count,
        "landmarks": (landmark_part.mean(dim=1, keepdim=True) * weights).sum() / count,
    }
    total = parts["score"] + 2 * parts["box"] + 2 * parts["landmarks"]
    return total, {name: part.item() for name, part in parts.items()}


def grade(recipe: ScrfdRecipe, views: Views, empty: Tensor) -> Tuple[Tensor, Dict[str, float]]:
    """The teacher's answer and its feature maps: the loss of one batch, and its parts for the log."""
    answer, parts = answer_loss(views.answer, views.goal, empty)
    hint = hint_loss(views.maps, views.goal_maps)
    return answer + recipe.hint_weight * hint, {**parts, "hint": hint.item()}


def scrfd_training(
    recipe: ScrfdRecipe, shelf: PictureShelf, teacher: SCRFD, device: torch.device
) -> StudentTraining[Tensor]:
    student = SCRFD()
    initialise(student, recipe.seed)
    return StudentTraining(recipe, student, teacher, SceneStore(shelf, recipe).draw, partial(grade, recipe), device)


def main() -> None:
    parser = run_parser("scrfd", __doc__, ScrfdRecipe, measure_every=0)
    parser.add_argument("--data", type=Path, required=True, help="folder with the pictures")
    arguments = begin(parser)
    recipe = chosen_recipe(ScrfdRecipe, arguments)
    shelf = RefinementShelf(arguments.data, arguments.work)
    training = scrfd_training(recipe, shelf, load_scrfd_teacher(arguments.teacher), arguments.device)
    carry_out(arguments, training, None)


if __name__ == "__main__":
    main()
