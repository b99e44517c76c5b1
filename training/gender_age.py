"""Trains the built-in network for gender and age on UTKFace's labels, on from the embedder's weights.

The embedder's first blocks stay as they are; the later ones and a new end learn. Age is a distribution over the years
from 0 to 100, of which the network gives the mean. Before the first run:

    python -m training.labels    --data DIR --teacher retinaface.onnx --work WORK --sources faces_utk
    python -m training.crops     --data DIR --work WORK --sources faces_utk
    python -m training.portraits --work WORK --embedder engines/mobilefacenet.onnx

then, and again with --resume after any interruption:

    python -m training.gender_age --work WORK --start-from engines/mobilefacenet.onnx
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.augment import middle_crops, network_input, vary_face
from training.crops import load_crops
from training.early_maps import EarlyMaps, write_early_maps
from training.imitation import Recipe, StudentTraining, Views
from training.networks.attributes import AGES, GenderAgeNet, LatePart, take_from_embedder
from training.phases import Phase
from training.portraits import SOURCE, Portraits, load_portraits
from training.run import begin, carry_out, chosen_recipe, run_parser

SEEN_AT_ONCE = 64
UNFOLD_FACES = 96
VIEW_STRENGTHS = (0.0, 0.7)
"""How strongly the variations of each face differ from the application's crop; one set of maps for each. The first is
that crop itself, to measure with as well."""


@dataclass(frozen=True)
class GenderAgeRecipe(Recipe):
    steps: int = 3000
    peak_rate: float = 2e-3
    sectioned: Tuple[Phase, ...] = ()
    batch: int = 48
    warmup_steps: int = 100
    hint_weight: float = 0.0
    gradient_limit: float = 5.0
    settle_step: int = 0
    plain_share: float = 0.0
    unfold_batches: int = 0
    weight_decay: float = 0.05
    frozen_sections: int = 10
    """Of the embedder: the stem and its first nine blocks."""
    spread_years: float = 1.0
    spread_share: float = 0.06
    """The labels are guesses: the distribution to learn is as wide as `spread_years` plus this share of the age."""
    years_weight: float = 0.1
    """Of the mean absolute error in years, next to the two cross-entropies."""
    rareness: float = 0.5
    """Ages are drawn with their frequency to the power of one minus this: children and old people count more."""


class Lesson(NamedTuple):
    genders: Tensor
    """0: female, 1: male, the order of the network's scores."""
    ages: Tensor


def drawing_weights(ages: np.ndarray, rareness: float) -> np.ndarray:
    """How often each portrait is drawn: by the frequency of ages within three years of its own."""
    counts = np.convolve(np.bincount(np.minimum(ages, AGES - 1), minlength=AGES), np.ones(7), mode="same")
    weights = counts[np.minimum(ages, AGES - 1)] ** -rareness
    return np.asarray(weights / weights.sum())


def draw_step(
    views: List[EarlyMaps], portraits: Portraits, weights: np.ndarray, recipe: GenderAgeRecipe, step: int
) -> Tuple[Tensor, Lesson]:
    """Maps and labels of one step; the same for the same seed and step."""
    rng = np.random.default_rng([recipe.seed, step])
    chosen = rng.choice(len(portraits), recipe.batch, p=weights)
    maps = views[int(rng.integers(len(views)))].take(portraits.rows[chosen])
    return maps, lesson_of(portraits, chosen)


def lesson_of(portraits: Portraits, chosen: np.ndarray) -> Lesson:
    ages = np.minimum(portraits.ages[chosen], AGES - 1).astype(np.float32)
    return Lesson(torch.from_numpy(1 - portraits.genders[chosen]), torch.from_numpy(ages))


def age_distribution(ages: Tensor, recipe: GenderAgeRecipe) -> Tensor:
    """N×101: a bell around each age."""
    years = torch.arange(AGES, device=ages.device)
    spread = recipe.spread_years + recipe.spread_share * ages
    return functional.softmax(-0.5 * ((years - ages[:, None]) / spread[:, None]).square(), dim=1)


def grade(recipe: GenderAgeRecipe, views: Views, lesson: Lesson) -> Tuple[Tensor, Dict[str, float]]:
    values = views.answer.float()
    ages = lesson.ages.to(values.device)
    gender = functional.cross_entropy(values[:, :2], lesson.genders.to(values.device), label_smoothing=0.05)
    shares = functional.log_softmax(values[:, 2:], dim=1)
    spread = -(age_distribution(ages, recipe) * shares).sum(dim=1).mean()
    mean = shares.exp() @ torch.arange(AGES, device=values.device, dtype=values.dtype)
    years = (mean - ages).abs().mean()
    right = (values[:, 1] > values[:, 0]) == (lesson.genders.to(values.device) == 1)
    parts = {
        "gender": gender.item(),
        "right": right.float().mean().item(),
        "spread": spread.item(),
        "years": years.item(),
    }
    return gender + 0.5 * spread + recipe.years_weight * years, parts


@torch.no_grad()
def development_figures(training: StudentTraining[Lesson], maps: EarlyMaps, portraits: Portraits) -> Dict[str, float]:
    network = training.average.network
    answers = []
    for start in range(0, len(portraits), SEEN_AT_ONCE):
        seen = maps.take(portraits.rows[start : start + SEEN_AT_ONCE]).to(training.device)
        with torch.autocast(training.device.type, torch.bfloat16):
            answers.append(network(seen).float().cpu())
    values = torch.cat(answers)
    ages = functional.softmax(values[:, 2:], dim=1) @ torch.arange(AGES, dtype=torch.float32)
    return {
        "gender_accuracy": float(((values[:, 1] > values[:, 0]).numpy() == (portraits.genders == 0)).mean()),
        "age_error": float(np.abs(ages.numpy() - portraits.ages).mean()),
    }


def see_portraits(work: Path, network: GenderAgeNet, recipe: GenderAgeRecipe) -> List[EarlyMaps]:
    """The maps of all views of all portraits."""
    crops, _ = load_crops(work, SOURCE)

    def view_of(view: int, number: int) -> np.ndarray:
        if not VIEW_STRENGTHS[view]:
            return middle_crops(crops[number][None])[0]
        return vary_face(crops[number], np.random.default_rng([recipe.seed, view, number]), VIEW_STRENGTHS[view])

    paths = [work / "gender_age" / f"view{view}.npy" for view in range(len(VIEW_STRENGTHS))]
    for view, path in enumerate(paths):
        write_early_maps(path, network, recipe.frozen_sections, partial(view_of, view), len(crops))
    return [EarlyMaps(path) for path in paths]


def main() -> None:
    parser = run_parser("gender_age", __doc__, GenderAgeRecipe, measure_every=250, has_teacher=False)
    arguments = begin(parser)
    recipe = chosen_recipe(GenderAgeRecipe, arguments)
    crops, _ = load_crops(arguments.work, SOURCE)
    network = GenderAgeNet()
    if arguments.start_from:
        faces = crops[:: len(crops) // UNFOLD_FACES]
        take_from_embedder(network, arguments.start_from, torch.from_numpy(network_input(middle_crops(faces))))
        arguments.start_from = None
    views = see_portraits(arguments.work, network, recipe)
    portraits = load_portraits(arguments.work)
    learned, development = portraits.on("train"), portraits.on("development")
    draw = partial(draw_step, views, learned, drawing_weights(learned.ages, recipe.rareness), recipe)
    student = LatePart(network, recipe.frozen_sections)
    training = StudentTraining(recipe, student, None, draw, partial(grade, recipe), arguments.device)
    carry_out(arguments, training, partial(development_figures, training, views[0], development))


if __name__ == "__main__":
    main()
