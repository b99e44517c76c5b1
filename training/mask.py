"""Trains the built-in network for masks with masks that are drawn onto faces (training/drawn_masks.py).

The embedder's first blocks stay as they are, those in its middle are left out; the last ones and a new end learn.
Before the first run, as for training.gender_age: labels, crops (of faces_lfw_train too) and portraits. Then, and again
with --resume after any interruption:

    python -m training.mask --work WORK --start-from engines/mobilefacenet.onnx
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

from app.vision.align import similarity_transforms, template
from training.augment import middle_crops, network_input, vary_face
from training.crops import MARGIN, load_crops
from training.drawn_masks import DRAWINGS, WORN, draw_on
from training.early_maps import EarlyMaps, write_early_maps
from training.imitation import Recipe, StudentTraining, Views
from training.labels import load_table
from training.networks.attributes import LatePart, MaskNet, take_from_embedder
from training.phases import Phase
from training.portraits import SOURCE as PORTRAITS
from training.portraits import load_portraits
from training.run import begin, carry_out, chosen_recipe, run_parser

PEOPLE = "faces_lfw_train"
UNFOLD_FACES = 96
LEARNED, DEVELOPMENT = 8000, 1000
"""Pictures drawn to learn from, and to look at on the way (of other people)."""


@dataclass(frozen=True)
class MaskRecipe(Recipe):
    steps: int = 2000
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
    frozen_sections: int = 7
    """Of the embedder: the stem and the blocks down to the first map of 14×14."""


class FaceSource(NamedTuple):
    """The wide crops of one source with their landmarks, and the rows to draw on."""

    crops: np.ndarray
    landmarks: np.ndarray
    rows: np.ndarray


def landmarks_in_crops(work: Path, source: str, index: np.ndarray) -> np.ndarray:
    """N×5×2, in pixels of the wide crops."""
    table = load_table(work, source)
    found = []
    for picture in index:
        faces = table.faces(int(picture))
        found.append(faces.landmarks[table.main_face(int(picture))])
    landmarks = np.asarray(found, np.float64)
    transforms = similarity_transforms(landmarks, template((112, 112)) + MARGIN)
    return np.asarray(landmarks @ transforms[:, :, :2].transpose(0, 2, 1) + transforms[:, None, :, 2])


def face_source(work: Path, source: str, side: str) -> FaceSource:
    """Of UTKFace one side of training/portraits.py; other sources as a whole."""
    crops, index = load_crops(work, source)
    rows = load_portraits(work).on(side).rows if source == PORTRAITS else np.arange(len(crops))
    return FaceSource(crops, landmarks_in_crops(work, source, index), rows)


class Drawer:
    """Numbered pictures: the same for the same seed and number. Every second one is from the first source."""

    def __init__(self, sources: List[FaceSource], seed: int, count: int, strength: float) -> None:
        self._sources, self._seed, self._strength = sources, seed, strength
        shares = [share for _, share in DRAWINGS]
        self.kinds = np.random.default_rng(seed).choice(len(DRAWINGS), count, p=shares)
        """Indices of DRAWINGS."""

    def draw(self, number: int) -> np.ndarray:
        """112×112, BGR."""
        rng = np.random.default_rng([self._seed, number])
        source = self._sources[number % len(self._sources)]
        row = int(rng.choice(source.rows))
        wide = draw_on(source.crops[row], source.landmarks[row], rng, int(self.kinds[number]))
        if not self._strength:
            return np.asarray(middle_crops(wide[None])[0])
        return vary_face(wide, rng, self._strength)


def draw_step(maps: EarlyMaps, kinds: np.ndarray, recipe: MaskRecipe, step: int) -> Tuple[Tensor, Tensor]:
    """Maps and classes (0: mask, 1: none) of one step; the same for the same seed and step."""
    chosen = np.random.default_rng([recipe.seed, step]).integers(0, len(kinds), recipe.batch)
    return maps.take(chosen), torch.from_numpy((kinds[chosen] != WORN).astype(np.int64))


def grade(views: Views, classes: Tensor) -> Tuple[Tensor, Dict[str, float]]:
    values = views.answer.float()
    classes = classes.to(values.device)
    loss = functional.cross_entropy(values, classes, label_smoothing=0.02)
    return loss, {"loss": loss.item(), "right": (values.argmax(dim=1) == classes).float().mean().item()}


@torch.no_grad()
def development_figures(training: StudentTraining[Tensor], maps: EarlyMaps, kinds: np.ndarray) -> Dict[str, float]:
    """The share of right answers, of all pictures and for each drawing."""
    answers = []
    for start in range(0, len(kinds), 64):
        seen = maps.take(np.arange(start, min(start + 64, len(kinds)))).to(training.device)
        with torch.autocast(training.device.type, torch.bfloat16):
            answers.append(training.average.network(seen).float().cpu())
    right = (torch.cat(answers).argmax(dim=1).numpy() == 0) == (kinds == WORN)
    each = {DRAWINGS[kind][0].__name__: float(right[kinds == kind].mean()) for kind in np.unique(kinds)}
    return {"right": float(right.mean()), **each}


def main() -> None:
    parser = run_parser("mask", __doc__, MaskRecipe, measure_every=250, has_teacher=False)
    arguments = begin(parser)
    recipe = chosen_recipe(MaskRecipe, arguments)
    people = face_source(arguments.work, PEOPLE, "")
    network = MaskNet()
    if arguments.start_from:
        faces = people.crops[:: len(people.crops) // UNFOLD_FACES]
        take_from_embedder(network, arguments.start_from, torch.from_numpy(network_input(middle_crops(faces))))
        arguments.start_from = None
    folder = arguments.work / "mask"
    learned = Drawer([people, face_source(arguments.work, PORTRAITS, "train")], recipe.seed, LEARNED, 0.7)
    development = Drawer([face_source(arguments.work, PORTRAITS, "development")], recipe.seed + 1, DEVELOPMENT, 0.3)
    for name, drawer in (("development", development), ("learned", learned)):
        write_early_maps(folder / f"{name}.npy", network, recipe.frozen_sections, drawer.draw, len(drawer.kinds))
    draw = partial(draw_step, EarlyMaps(folder / "learned.npy"), learned.kinds, recipe)
    student = LatePart(network, recipe.frozen_sections)
    training = StudentTraining(recipe, student, None, draw, grade, arguments.device)
    maps = EarlyMaps(folder / "development.npy")
    carry_out(arguments, training, partial(development_figures, training, maps, development.kinds))


if __name__ == "__main__":
    main()
