"""Trains the built-in embedder: a MobileFaceNet student learns to see faces as a teacher network does.

The teacher looks at the very crop that the student looks at, so that any augmentation is fair, and blends of two
faces (mix-up) stretch a small set of pictures a long way. Before the first run:

    python -m training.labels --data DIR --teacher retinaface.onnx --work DIR
    python -m training.crops  --data DIR --work DIR

then, and again with --resume after any interruption:

    python -m training.embedder --work DIR --teacher mobilefacenet_ms1m.onnx --pairs lfw_dev_pairs.csv --steps 4800

A later run can go on from shipped weights with a schedule of its own: --start-from engines/mobilefacenet.onnx.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Dict, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from training.augment import mix_up, network_input, vary_face
from training.crops import load_crops
from training.distillation import angle_loss, hint_loss, resemblance_loss
from training.imitation import Recipe, StudentTraining, Views
from training.networks.mobilefacenet import ACTIVATIONS, MobileFaceNet, initialise
from training.phases import Phase, phase_at
from training.run import begin, carry_out, chosen_recipe, run_parser
from training.teacher_embedder import load_onnx_teacher
from training.verification import DevelopmentPairs

SOURCES = (("faces_utk", 1.0), ("faces_lfw_train", 4.0))
"""Where training faces come from, and how much more often than its size a source is drawn."""

SECTIONED = (
    Phase(steps=1000, rate=3e-2, joined=1, share_of_batch=0.5),
    Phase(steps=400, rate=1.5e-2, joined=4),
)
"""The beginning from nothing: single blocks learn on small batches, then sections of four on whole ones."""


@dataclass(frozen=True)
class EmbedderRecipe(Recipe):
    steps: int = 4800
    peak_rate: float = 5e-3
    sectioned: Tuple[Phase, ...] = SECTIONED
    batch: int = 32
    warmup_steps: int = 100
    hint_weight: float = 4.0
    resemblance_weight: float = 4.0
    gradient_limit: float = 5.0
    settle_step: int = 200
    plain_share: float = 0.15
    """No mix-up, mild augmentation, no hints."""
    unfold_batches: int = 4

    def batch_at(self, step: int) -> int:
        return int(self.batch * phase_at(self.phases, step)[0].share_of_batch)


def draw_step(crops: Sequence[np.ndarray], recipe: EmbedderRecipe, step: int) -> Tuple[Tensor, bool]:
    """Network input of one step, the same for the same seed and step; and whether it belongs to the plain end.

    `crops` holds those of each source, in the order of `SOURCES`.
    """
    rng = np.random.default_rng([recipe.seed, step])
    weights = np.array([len(faces) * weight for faces, (_, weight) in zip(crops, SOURCES)])
    plain = recipe.is_plain(step)
    strength = 0.5 if plain else 1.0
    drawn = []
    for source in rng.choice(len(crops), recipe.batch_at(step), p=weights / weights.sum()):
        faces = crops[source]
        drawn.append(vary_face(faces[int(rng.integers(len(faces)))], rng, strength))
    images = np.stack(drawn)
    if not plain and step % 2:
        images = mix_up(images, rng)
    tensor = torch.from_numpy(network_input(images))
    return tensor.to(memory_format=torch.channels_last), plain


def grade(recipe: EmbedderRecipe, views: Views, plain: bool) -> Tuple[Tensor, Dict[str, float]]:
    """The loss of one batch, and its parts for the log."""
    embedding, goal = views.answer.float(), views.goal.float()
    angle, resemblance = angle_loss(embedding, goal), resemblance_loss(embedding, goal)
    total = angle + recipe.resemblance_weight * resemblance
    parts = {"angle": angle.item(), "resemblance": resemblance.item()}
    if not plain:
        hint = hint_loss(views.maps, views.goal_maps)
        total = total + recipe.hint_weight * hint
        parts["hint"] = hint.item()
    return total, parts


def embedder_training(
    recipe: EmbedderRecipe, crops: Sequence[np.ndarray], teacher: MobileFaceNet, act: str, device: torch.device
) -> StudentTraining[bool]:
    student = MobileFaceNet(act)
    initialise(student, recipe.seed)
    return StudentTraining(recipe, student, teacher, partial(draw_step, crops, recipe), partial(grade, recipe), device)


@torch.no_grad()
def embed(training: StudentTraining[bool], batch: np.ndarray) -> np.ndarray:
    """The averaged student, in full precision, for measuring."""
    images = torch.from_numpy(batch).to(training.device, memory_format=torch.channels_last)
    return np.asarray(training.average.network(images).float().cpu().numpy())


def main() -> None:
    parser = run_parser("embedder", __doc__, EmbedderRecipe, measure_every=500)
    parser.add_argument("--pairs", type=Path, help="development pairs to measure on (never trained on)")
    parser.add_argument(
        "--activation",
        choices=sorted(ACTIVATIONS),
        default="prelu",
        help="prelu, the teacher's, is exported in a form that ONNX Runtime runs well; relu is a quarter faster there",
    )
    arguments = begin(parser)
    recipe = chosen_recipe(EmbedderRecipe, arguments)
    teacher = load_onnx_teacher(arguments.teacher)
    crops = [load_crops(arguments.work, source)[0] for source, _ in SOURCES]
    training = embedder_training(recipe, crops, teacher, arguments.activation, arguments.device)
    pairs = DevelopmentPairs(arguments.work, arguments.pairs) if arguments.pairs else None
    carry_out(arguments, training, pairs and partial(pairs.figures, partial(embed, training)))


if __name__ == "__main__":
    main()
