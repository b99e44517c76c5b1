"""Refines the built-in detector on agreed labels and on crowds with human boxes.

Labels come from training.agreement: faces that several detectors agree on, and the boxes that people drew. Anchors are
assigned by ATSS, and scores learn to say how good their box is. Begins with shipped weights:

    python -m training.agreement  --data DIR --work WORK --config CONFIG --detectors scrfd_2_5g teacher centerface \\
        --crowd-labels crowds.txt
    python -m training.refinement --data DIR --work WORK --start-from engines/retinaface_mnet025.onnx --resume

With --teacher retinaface.pth the run keeps the targets and losses of training/detector.py instead, and imitates the
teacher's feature maps on the same scenes: faster at first, but never much better than the teacher.
Pictures that training/scene_list.py holds out and faces_lfw_dev are never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from training.anchors import anchor_grid
from training.assignment import assign_batch
from training.augment import vary_light
from training.backgrounds import (
    REFINEMENT_TEXTURES,
    SKIMAGE_TRAINING,
    empty_view,
    skimage_pictures,
    windows_without_faces,
)
from training.composition import Canvas, SceneFaces, placing_transform, rectangle_outline
from training.detector import DetectorRecipe
from training.detector import grade as grade_as_teacher
from training.imitation import StudentTraining, Views
from training.labels import doubled, load_table
from training.matching import Targets, match_batch
from training.networks.retinaface import RetinaFace, load_public_teacher
from training.phases import Phase
from training.quality_loss import quality_loss
from training.run import begin, carry_out, chosen_recipe, read_teacher, run_parser
from training.scene_list import training_crowds, training_empty, training_people
from training.scenes import (
    PictureShelf,
    SceneKinds,
    draw_batch,
    empty_scene,
    face_length,
    real_scene,
    rows_of_faces,
    scattered_faces,
)
from training.teacher_detector import MEAN_BGR, LabelledFaces

WINDOWS_PER_CROWD = 4
GENERATED_PICTURES = 60
SHELF_SEED = 7


class RefinementShelf(PictureShelf):
    """Adds crowds, windows of them without faces, and cloth and lights; scenes come with agreed labels."""

    def _take_scenes(self, work: Path) -> None:
        rng = np.random.default_rng(SHELF_SEED)
        scenes, crowds = load_table(work, "scenes"), load_table(work, "crowds")
        index = {str(path): number for number, path in enumerate(scenes.paths)}
        self.empty = [self._read(path) for path in training_empty(index)] + skimage_pictures(SKIMAGE_TRAINING)
        self.empty += [
            REFINEMENT_TEXTURES[number % len(REFINEMENT_TEXTURES)](rng, 400) for number in range(GENERATED_PICTURES)
        ]
        for path in training_people(index):
            self._add_people(self._read(path), scenes.faces(index[path]))
        index = {str(path): number for number, path in enumerate(crowds.paths)}
        for path in training_crowds(index):
            picture, faces = self._read(path), crowds.faces(index[path])
            self._add_people(picture, faces)
            self.empty += windows_without_faces(picture, faces.boxes, rng, WINDOWS_PER_CROWD)

    def _add_people(self, picture: np.ndarray, faces: LabelledFaces) -> None:
        """At their own size and twice it: the labels were made at the larger one."""
        self.people.append((picture, faces))
        twice = LabelledFaces(faces.boxes * 2, faces.scores, faces.landmarks * 2)
        self.people.append((doubled(picture), twice))


def close_up(shelf: PictureShelf, rng: np.random.Generator, side: int, strength: float) -> Canvas:
    """A face that fills most of the scene, or more than that."""
    canvas = Canvas(empty_view(shelf.empty, rng, side))
    picture, faces, main = shelf.face_picture(rng)
    box = faces.boxes[main]
    scale = face_length(rng, 0.5 * side, 1.05 * side) / max(float((box[2:] - box[:2]).max()), 1.0)
    centre = side * (0.5 + rng.normal(0, 0.06, 2))
    transform = placing_transform(
        (box[:2] + box[2:]) / 2, centre, scale, strength * rng.normal(0, np.deg2rad(10)), bool(rng.random() < 0.5)
    )
    canvas.paste(vary_light(picture, rng, 1.0), faces, transform, rectangle_outline(picture), rng.uniform(0, 2))
    return canvas


REFINEMENT_KINDS: SceneKinds = (
    (scattered_faces, 0.16),
    (rows_of_faces, 0.06),
    (real_scene, 0.48),
    (close_up, 0.08),
    (empty_scene, 0.22),
)


@dataclass(frozen=True)
class RefinementRecipe(DetectorRecipe):
    steps: int = 3000
    sectioned: Tuple[Phase, ...] = ()
    sides: Tuple[int, ...] = (256, 320, 320, 448, 640)
    pixels_per_batch: int = 12 * 320 * 320
    warmup_steps: int = 50
    settle_step: int = 0
    """Normalisation is frozen at once: the shipped weights have settled long ago."""
    peak_rate: float = 1.5e-4
    average_decay: float = 0.995


def draw_step(
    shelf: PictureShelf,
    recipe: RefinementRecipe,
    assign_targets: Callable[[Sequence[SceneFaces], int], Targets],
    step: int,
) -> Tuple[Tensor, Targets]:
    """Network input and targets of one step; the same for the same seed and step."""
    side, count = recipe.layout(step)
    strength = 0.4 if recipe.is_plain(step) else 1.0
    images, faces = draw_batch(shelf, (recipe.seed, step), count, side, strength, REFINEMENT_KINDS)
    pixels = torch.from_numpy(images.astype(np.float32) - MEAN_BGR).permute(0, 3, 1, 2)
    return pixels, assign_targets(faces, side)


def grade(views: Views, targets: Targets) -> Tuple[Tensor, Dict[str, float]]:
    device = views.maps[0].device
    kinds, boxes, landmarks = (
        torch.from_numpy(part).to(device) for part in (targets.kinds, targets.boxes, targets.landmarks)
    )
    side = views.maps[0].shape[-1] * 2
    anchors = torch.from_numpy(anchor_grid(side, side).copy()).to(device)
    return quality_loss(views.answer, kinds, boxes, landmarks, anchors)


def refinement_training(
    recipe: RefinementRecipe, shelf: PictureShelf, teacher: Optional[RetinaFace], device: torch.device
) -> StudentTraining[Targets]:
    draw = partial(draw_step, shelf, recipe, assign_batch if teacher is None else match_batch)
    graded = grade if teacher is None else partial(grade_as_teacher, recipe)
    return StudentTraining(recipe, RetinaFace(), teacher, draw, graded, device)


def main() -> None:
    parser = run_parser("refinement", __doc__, RefinementRecipe, measure_every=0, has_teacher=False)
    parser.add_argument("--data", type=Path, required=True, help="folder with the pictures")
    parser.add_argument("--teacher", type=Path, help="PyTorch checkpoint of a RetinaFace to imitate as well")
    arguments = begin(parser)
    recipe = chosen_recipe(RefinementRecipe, arguments)
    shelf = RefinementShelf(arguments.data, arguments.work)
    teacher = load_public_teacher(read_teacher(arguments)) if arguments.teacher else None
    carry_out(arguments, refinement_training(recipe, shelf, teacher, arguments.device), None)


if __name__ == "__main__":
    main()
