"""Draws the detector's training scenes: mosaics of faces, real scenes at many scales, and pictures without faces.

Scene number `index` of a seed is always the same one.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple

import cv2
import numpy as np

from training.augment import compress, vary_light
from training.backgrounds import SKIMAGE_TRAINING, empty_view, skimage_pictures
from training.composition import Canvas, SceneFaces, head_outline, placing_transform, rectangle_outline
from training.labels import DOUBLED_SCENES, LabelTable, doubled, load_table
from training.scene_list import training_empty, training_people
from training.teacher_detector import LabelledFaces

FACE_SOURCES = ("faces_lfw_train", "faces_utk")
NO_FACES = LabelledFaces(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)))
MAX_SCENE_ZOOM = 1.3
"""More would bring up faces that were too small for the teacher, and teach that they are background."""


class PictureShelf:
    """Where scenes take their pictures from; ordinary scenes stay in memory, face pictures are read when drawn."""

    def __init__(self, data: Path, work: Path, cached_pictures: int = 16_000) -> None:
        self._data = data
        self._read = lru_cache(maxsize=cached_pictures)(self._read_file)
        self._tables: Dict[str, LabelTable] = {source: load_table(work, source) for source in FACE_SOURCES}
        self._usable = {
            source: np.array([i for i in range(len(table)) if table.main_face(i) is not None])
            for source, table in self._tables.items()
        }
        self.people: List[Tuple[np.ndarray, LabelledFaces]] = []
        self.empty: List[np.ndarray] = []
        self._take_scenes(work)

    def _take_scenes(self, work: Path) -> None:
        """Fills `people` and `empty`."""
        scenes, enlarged = load_table(work, "scenes"), load_table(work, DOUBLED_SCENES)
        index = {str(path): number for number, path in enumerate(scenes.paths)}
        for path in training_people(index):
            picture = self._read(path)
            self.people.append((picture, scenes.faces(index[path])))
            self.people.append((doubled(picture), enlarged.faces(index[path])))
        self.empty = [self._read(path) for path in training_empty(index)] + skimage_pictures(SKIMAGE_TRAINING)

    def _read_file(self, path: str) -> np.ndarray:
        picture = cv2.imread(str(self._data / path))
        if picture is None:
            raise SystemExit(f"cannot read {self._data / path}")
        return picture

    def face_picture(self, rng: np.random.Generator) -> Tuple[np.ndarray, LabelledFaces, int]:
        """A picture, its faces, and which of them it is about."""
        source = FACE_SOURCES[int(rng.random() < 0.45)]
        table = self._tables[source]
        index = int(rng.choice(self._usable[source]))
        main = table.main_face(index)
        assert main is not None  # `_usable` holds no others
        return self._read(str(table.paths[index])), table.faces(index), main


def face_length(rng: np.random.Generator, smallest: float, largest: float) -> float:
    return float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))


def paste_face(
    canvas: Canvas, shelf: PictureShelf, rng: np.random.Generator, centre: np.ndarray, length: float, strength: float
) -> None:
    """One face picture with its main face at `centre`, `length` pixels long, turned a little or a lot."""
    picture, faces, main = shelf.face_picture(rng)
    box = faces.boxes[main]
    scale = length / max(float((box[2:] - box[:2]).max()), 1.0)
    angle = strength * rng.normal(0, np.deg2rad(12 if rng.random() < 0.85 else 40))
    narrowing = float(np.exp(-abs(rng.normal(0, 0.12) * strength)))
    transform = placing_transform((box[:2] + box[2:]) / 2, centre, scale, angle, bool(rng.random() < 0.5), narrowing)
    if rng.random() < 0.5:
        picture = vary_light(picture, rng, 1.0)
    if rng.random() < 0.4:
        one = LabelledFaces(
            faces.boxes[main : main + 1], faces.scores[main : main + 1], faces.landmarks[main : main + 1]
        )
        canvas.paste(picture, one, transform, head_outline(box, rng, picture), rng.uniform(0, length / 15))
        return
    canvas.paste(picture, faces, transform, rectangle_outline(picture), rng.uniform(0, 3))


def cover_partly(canvas: Canvas, shelf: PictureShelf, rng: np.random.Generator) -> None:
    """Lays a few leaves of other pictures over the scene: hats, hands, microphones, shoulders in front."""
    side = canvas.image.shape[0]
    for _ in range(int(rng.integers(1, 6))):
        length = face_length(rng, 8, side / 4)
        picture = empty_view(shelf.empty, rng, 64)
        outline = head_outline(np.array([16.0, 16, 48, 48]) + rng.uniform(-10, 10, 4), rng, picture)
        place = rng.uniform(0, side, 2)
        transform = placing_transform(np.array([32.0, 32]), place, length / 64, rng.uniform(0, 6.3), False)
        canvas.paste(picture, NO_FACES, transform, outline, rng.uniform(0, 1.5))


def scattered_faces(shelf: PictureShelf, rng: np.random.Generator, side: int, strength: float) -> Canvas:
    """A few faces of any size on a picture without faces."""
    canvas = Canvas(empty_view(shelf.empty, rng, side))
    count = 1 + int(rng.poisson(2.5))
    for length in sorted((face_length(rng, 11, 0.9 * side / np.sqrt(count)) for _ in range(count)), reverse=True):
        paste_face(canvas, shelf, rng, rng.uniform(0.05, 0.95, 2) * side, length, strength)
    return canvas


def rows_of_faces(shelf: PictureShelf, rng: np.random.Generator, side: int, strength: float) -> Canvas:
    """Faces in rows, as in groups and crowds; the back rows are pasted first."""
    canvas = Canvas(empty_view(shelf.empty, rng, side))
    columns = int(rng.integers(2, 7))
    cell = side / columns
    for row in range(columns):
        for column in range(columns):
            if rng.random() < 0.2:
                continue
            centre = (np.array([column, row]) + 0.5 + rng.normal(0, 0.12, 2)) * cell
            paste_face(canvas, shelf, rng, centre, max(cell * rng.uniform(0.3, 0.8), 11), strength)
    return canvas


def real_scene(shelf: PictureShelf, rng: np.random.Generator, side: int, strength: float) -> Canvas:
    """A window of an ordinary picture with people, about one of its faces, at a drawn size."""
    picture, faces = shelf.people[int(rng.integers(len(shelf.people)))]
    chosen = int(rng.integers(len(faces))) if len(faces) else -1
    if chosen >= 0:
        box = faces.boxes[chosen]
        centre = (box[:2] + box[2:]) / 2
        scale = face_length(rng, 11, 0.7 * side) / max(float((box[2:] - box[:2]).max()), 1.0)
    else:
        centre = rng.uniform(0.2, 0.8, 2) * (picture.shape[1], picture.shape[0])
        scale = rng.uniform(0.4, 1.2)
    scale = float(np.clip(scale, 0.6 * side / max(picture.shape[:2]), MAX_SCENE_ZOOM))
    transform = placing_transform(
        centre, rng.uniform(0.15, 0.85, 2) * side, scale, rng.normal(0, np.deg2rad(8)), bool(rng.random() < 0.5)
    )
    canvas = Canvas(empty_view(shelf.empty, rng, side))
    canvas.paste(picture, faces, transform, rectangle_outline(picture), 0.5)
    return canvas


def empty_scene(shelf: PictureShelf, rng: np.random.Generator, side: int, strength: float) -> Canvas:
    return Canvas(empty_view(shelf.empty, rng, side))


SceneKinds = Sequence[Tuple[Callable[[PictureShelf, np.random.Generator, int, float], Canvas], float]]
SCENE_KINDS: SceneKinds = ((scattered_faces, 0.28), (rows_of_faces, 0.12), (real_scene, 0.38), (empty_scene, 0.22))


def vary_scene(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Light, blur, grain and compression over the whole scene; places stay."""
    image = vary_light(image, rng, strength)
    if rng.random() < 0.2 * strength:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.15 * strength:
        grain = rng.normal(0, rng.uniform(2, 12), image.shape).astype(np.float32)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    if rng.random() < 0.25 * strength:
        image = compress(image, rng)
    return image


def draw_scene(
    shelf: PictureShelf, rng: np.random.Generator, side: int, strength: float, kinds: SceneKinds = SCENE_KINDS
) -> Tuple[np.ndarray, SceneFaces]:
    """A square BGR scene and its faces."""
    makers, shares = zip(*kinds)
    canvas = makers[int(rng.choice(len(makers), p=shares))](shelf, rng, side, strength)
    if rng.random() < 0.4 * strength:
        cover_partly(canvas, shelf, rng)
    return vary_scene(canvas.image, rng, strength), canvas.faces()


def draw_batch(
    shelf: PictureShelf,
    seed: Sequence[int],
    count: int,
    side: int,
    strength: float = 1.0,
    kinds: SceneKinds = SCENE_KINDS,
) -> Tuple[np.ndarray, List[SceneFaces]]:
    """`count` scenes as N×side×side×3 BGR, with the faces of each; with less `strength` they are plainer."""
    rng = np.random.default_rng(list(seed))
    scenes = [draw_scene(shelf, rng, side, strength, kinds) for _ in range(count)]
    return np.stack([image for image, _ in scenes]), [faces for _, faces in scenes]
