"""Refines the built-in detector on agreed labels, on crowds with human boxes, and on what it takes for faces.

Labels come from training.agreement: faces that several detectors agree on, and the boxes that people drew. What the
shipped detector marks in pictures without faces comes from training.hard_negatives. Begins with shipped weights:

    python -m training.agreement  --data DIR --work WORK --config CONFIG --detectors scrfd_2_5g teacher centerface \\
        --crowd-labels crowds.txt
    python -m training.hard_negatives --data DIR --work WORK --config CONFIG --detectors retinaface_mnet025
    python -m training.refinement --data DIR --work WORK --start-from engines/retinaface_mnet025.onnx \\
        --teacher retinaface.pth --resume

The teacher's scores and feature maps hold the network together at first, and count less and less; the labels alone
teach where faces and landmarks are. Without --teacher they teach everything from the beginning.
Pictures that training/scene_list.py holds out and faces_lfw_dev are never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np
import torch
from torch import Tensor

from training.augment import vary_light
from training.backgrounds import (
    REFINEMENT_TEXTURES,
    SKIMAGE_TRAINING,
    empty_view,
    skimage_pictures,
    windows_without_faces,
)
from training.composition import Canvas, placing_transform, rectangle_outline
from training.detection_loss import detection_loss, empty_loss, imitation_loss
from training.detector import DetectorRecipe
from training.distillation import hint_loss
from training.imitation import StudentTraining, Views
from training.labels import doubled, load_table
from training.matching import Targets, match_batch
from training.networks.retinaface import RetinaFace, load_public_teacher
from training.phases import Phase
from training.run import begin, carry_out, chosen_recipe, read_teacher, run_parser
from training.scene_list import empty_pictures, is_development, training_crowds, training_empty, training_people
from training.scenes import (
    NO_FACES,
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

WINDOWS_PER_CROWD = 8
GENERATED_PICTURES = 60
SHELF_SEED = 7


def hard_folder(work: Path) -> Path:
    return work / "hard"


class RefinementShelf(PictureShelf):
    """Adds crowds, windows of them without faces, cloth and lights, the folder `empty`, and what was mined from them.

    Scenes come with agreed labels.
    """

    hard: List[np.ndarray]
    """Windows about what a detector took for a face."""

    def _take_scenes(self, work: Path) -> None:
        rng = np.random.default_rng(SHELF_SEED)
        scenes, crowds = load_table(work, "scenes"), load_table(work, "crowds")
        index = {str(path): number for number, path in enumerate(scenes.paths)}
        self.empty = [self._read(path) for path in training_empty(index)] + skimage_pictures(SKIMAGE_TRAINING)
        self.empty += [
            REFINEMENT_TEXTURES[number % len(REFINEMENT_TEXTURES)](rng, 400) for number in range(GENERATED_PICTURES)
        ]
        self.empty += [self._read(path) for path in empty_pictures(self._data) if not is_development(path)]
        self.hard = [cv2.imread(str(path)) for path in sorted(hard_folder(work).glob("*.png"))]
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


def hard_scene(shelf: PictureShelf, rng: np.random.Generator, side: int, strength: float) -> Canvas:
    """Several things that look like faces, at about the size at which they did, on a picture without faces."""
    canvas = Canvas(empty_view(shelf.empty, rng, side))
    hard = shelf.hard if isinstance(shelf, RefinementShelf) else []
    for _ in range(int(rng.integers(3, 9)) if hard else 0):
        window = hard[int(rng.integers(len(hard)))]
        middle = np.array([window.shape[1], window.shape[0]]) / 2
        scale = float(np.exp(rng.normal(0, 0.35)))
        angle = strength * rng.normal(0, np.deg2rad(10))
        transform = placing_transform(middle, rng.uniform(0, side, 2), scale, angle, bool(rng.random() < 0.5))
        canvas.paste(window, NO_FACES, transform, rectangle_outline(window), rng.uniform(0, 3))
    return canvas


REFINEMENT_KINDS: SceneKinds = (
    (scattered_faces, 0.16),
    (rows_of_faces, 0.05),
    (real_scene, 0.48),
    (close_up, 0.06),
    (empty_scene, 0.12),
    (hard_scene, 0.13),
)


@dataclass(frozen=True)
class RefinementRecipe(DetectorRecipe):
    steps: int = 4000
    sectioned: Tuple[Phase, ...] = ()
    sides: Tuple[int, ...] = (256, 320, 320, 448, 640)
    pixels_per_batch: int = 12 * 320 * 320
    warmup_steps: int = 50
    settle_step: int = 0
    """Normalisation is frozen at once: the shipped weights have settled long ago."""
    peak_rate: float = 3e-4
    average_decay: float = 0.995
    imitation_weight: float = 0.5
    imitated_share: float = 0.6
    """The teacher's weight falls to nothing over this share of the run."""
    empty_weight: float = 4.0

    def imitation(self, step: int) -> float:
        """How much the teacher's scores count; its feature maps count in proportion."""
        return self.imitation_weight * max(0.0, 1 - step / max(self.imitated_share * self.steps, 1))


class Lesson(NamedTuple):
    targets: Targets
    imitation: float


def draw_step(shelf: PictureShelf, recipe: RefinementRecipe, step: int) -> Tuple[Tensor, Lesson]:
    """Network input and targets of one step; the same for the same seed and step."""
    side, count = recipe.layout(step)
    strength = 0.4 if recipe.is_plain(step) else 1.0
    images, faces = draw_batch(shelf, (recipe.seed, step), count, side, strength, REFINEMENT_KINDS)
    pixels = torch.from_numpy(images.astype(np.float32) - MEAN_BGR).permute(0, 3, 1, 2)
    return pixels, Lesson(match_batch(faces, side), recipe.imitation(step))


def grade(recipe: RefinementRecipe, views: Views, lesson: Lesson) -> Tuple[Tensor, Dict[str, float]]:
    """Labels, scenes without faces and, while it counts, the teacher's scores and feature maps."""
    device = views.maps[0].device
    kinds, boxes, landmarks = (torch.from_numpy(part).to(device) for part in vars(lesson.targets).values())
    total, parts = detection_loss(views.answer, kinds, boxes, landmarks)
    nothing_there = empty_loss(views.answer[1], kinds)
    total = total + recipe.empty_weight * nothing_there
    parts["empty"] = nothing_there.item()
    if views.goal is None or not lesson.imitation:
        return total, parts
    imitated, more_parts = imitation_loss(views.answer, views.goal, kinds, with_places=False)
    hint = hint_loss(views.maps, views.goal_maps)
    total = total + lesson.imitation * (imitated + recipe.hint_weight * hint)
    return total, {**parts, "as_teacher": more_parts["as_teacher"], "hint": hint.item()}


def refinement_training(
    recipe: RefinementRecipe, shelf: PictureShelf, teacher: Optional[RetinaFace], device: torch.device
) -> StudentTraining[Lesson]:
    return StudentTraining(
        recipe, RetinaFace(), teacher, partial(draw_step, shelf, recipe), partial(grade, recipe), device
    )


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
