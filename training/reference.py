"""Makes the reference of an embedder: its embeddings of strangers, and of what a detector takes for a face.

    python -m training.reference --data DIR --work WORK --out engines/mobilefacenet_reference.npz

Faces are found, aligned and embedded by the program itself, as the settings choose (--config), so that they are treated
as those of its users. DIR and WORK are those of training.agreement. Nothing that `scene_list.py` holds out is used, nor
any person of faces_lfw_dev.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections import defaultdict
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

import cv2
import numpy as np

from app.models.loading import ModelLoader
from app.recognizer import Recognizer
from app.settings import Settings
from app.settings.reader import load_settings
from app.types import Faces
from training.backgrounds import (
    SKIMAGE_TRAINING,
    lights,
    random_crop,
    skimage_pictures,
    texture,
    weave,
    windows_without_faces,
)
from training.files import replace_atomically
from training.labels import load_table
from training.scene_list import training_crowds, training_empty

log = logging.getLogger(__name__)

SEED = 20_000_047
STRANGERS = {"faces_lfw_train": 900, "faces_utk": 600}
FACE_SCORE = 0.6
UTK_BORDER = 40
"""UTK's pictures are all face; with a border the detector sees them as it sees others."""
MIN_AGE, YEARS_PER_GROUP = 4, 10
PAIRS_A_PERSON = 3
SAME_PERSON = 0.45
"""Two strangers who are more alike are one, as far as we know; one of them is left out."""

NON_FACES = 500
NON_FACE_SCORE = 0.05
MIN_NON_FACE_PX = 16
A_FACE_AFTER_ALL = 0.35
"""In pictures of people, a mark that is more like one of the strangers may be a face that the labels missed, and is
left out. Pictures without people were looked through: what is marked there is a bear or a banana."""
NEARLY_THE_SAME = 0.9
MOST_PER_PICTURE = 6
VIEWS = 250
WINDOWS_PER_CROWD = 12


def picture_of(path: Path, border: int = 0) -> np.ndarray:
    picture = cv2.imread(str(path))
    if picture is None:
        raise SystemExit(f"cannot read {path}")
    return cv2.copyMakeBorder(picture, *[border] * 4, cv2.BORDER_REPLICATE) if border else picture


def central_face(faces: Faces, picture: np.ndarray) -> Optional[int]:
    """The row of the largest of the faces that contain the middle of the picture."""
    height, width = picture.shape[:2]
    low, high = faces.boxes[:, :2], faces.boxes[:, 2:]
    middle = np.array([width / 2, height / 2])
    area = (high - low).prod(axis=1) * ((low < middle) & (middle < high)).all(axis=1) * (faces.scores >= FACE_SCORE)
    return int(area.argmax()) if area.max(initial=0) > 0 else None


def one_photo_each(folder: Path) -> List[Path]:
    """The first photo of every person, where each has a folder."""
    return [sorted(person.glob("*.jpg"))[0] for person in sorted(folder.iterdir()) if person.is_dir()]


def spread_over_groups(folder: Path, count: int, rng: np.random.Generator) -> List[Path]:
    """UTK's pictures, as many as possible of each combination of age group, gender and origin."""
    groups: Dict[Tuple[str, ...], List[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*.jpg")):
        facts = path.name.split("_")
        if len(facts) == 4 and int(facts[0]) >= MIN_AGE:
            groups[(str(int(facts[0]) // YEARS_PER_GROUP), *facts[1:3])].append(path)
    queues = [[members[row] for row in rng.permutation(len(members))] for _, members in sorted(groups.items())]
    chosen: List[Path] = []
    while len(chosen) < count and any(queues):
        chosen += [queue.pop() for queue in queues if queue]
    return chosen[:count]


def strangers(recognizer: Recognizer, data: Path, rng: np.random.Generator) -> np.ndarray:
    rows: List[np.ndarray] = []
    for source, wanted in STRANGERS.items():
        border = UTK_BORDER if source == "faces_utk" else 0
        paths = spread_over_groups(data / source, 2 * wanted, rng) if border else one_photo_each(data / source)
        if not border:
            paths = [paths[row] for row in rng.permutation(len(paths))]
        taken = 0
        for path in paths:
            picture = picture_of(path, border)
            (faces,) = recognizer.find([picture])
            face = central_face(faces, picture)
            if face is None or taken == wanted:
                continue
            embedded = recognizer.embed(picture, faces, [face]).embeddings
            assert embedded is not None
            if not rows or (np.stack(rows) @ embedded[face]).max() < SAME_PERSON:
                rows.append(embedded[face])
                taken += 1
        log.info("%s: %d strangers", source, taken)
    return np.stack(rows)


def same_person(recognizer: Recognizer, folder: Path) -> np.ndarray:
    """Similarities of two photos of one person, up to PAIRS_A_PERSON of each person who has two."""
    similarities: List[float] = []
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        rows: List[np.ndarray] = []
        for path in sorted(person.glob("*.jpg"))[: PAIRS_A_PERSON + 1]:
            picture = picture_of(path)
            (faces,) = recognizer.find([picture])
            face = central_face(faces, picture)
            if face is not None:
                embedded = recognizer.embed(picture, faces, [face]).embeddings
                assert embedded is not None
                rows.append(embedded[face])
        similarities += [float(one @ other) for one, other in zip(rows, rows[1:])]
    return np.array(similarities)


def windows_of_crowds(data: Path, work: Path, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Parts of pictures of people that keep clear of all faces: hands, clothes, hair, banners."""
    table = load_table(work, "crowds")
    index = {str(path): row for row, path in enumerate(table.paths)}
    paths = training_crowds(index)
    for path in (paths[row] for row in rng.permutation(len(paths))):
        boxes = table.faces(index[path]).boxes
        for window in windows_without_faces(picture_of(data / path), boxes, rng, WINDOWS_PER_CROWD):
            yield cv2.resize(window, (320, 320), interpolation=cv2.INTER_CUBIC)


def pictures_without_people(data: Path, work: Path, rng: np.random.Generator) -> Iterator[np.ndarray]:
    scenes = [picture_of(data / path) for path in training_empty(map(str, load_table(work, "scenes").paths))]
    scenes += skimage_pictures(SKIMAGE_TRAINING)
    yield from scenes
    for _ in range(6 * VIEWS):
        yield random_crop(scenes[int(rng.integers(len(scenes)))], rng, 320)
    for make in (texture, weave, lights):
        for _ in range(VIEWS):
            yield make(rng, 320)


def marked(recognizer: Recognizer, picture: np.ndarray) -> Iterator[Tuple[float, np.ndarray]]:
    """Score and embedding of everything that the detector marks."""
    (faces,) = recognizer.find([picture])
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1, initial=np.inf)
    faces = faces[np.flatnonzero(sides >= MIN_NON_FACE_PX)[:MOST_PER_PICTURE]]
    if len(faces):
        embeddings = recognizer.embed(picture, faces).embeddings
        assert embeddings is not None
        yield from zip(faces.scores.tolist(), embeddings)


def non_faces(
    recognizer: Recognizer, data: Path, work: Path, known: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The best marked first, each different from those before."""
    found = [hit for picture in pictures_without_people(data, work, rng) for hit in marked(recognizer, picture)]
    log.info("%d marks in pictures without people", len(found))
    hits = [hit for window in windows_of_crowds(data, work, rng) for hit in marked(recognizer, window)]
    certain = [hit for hit in hits if (known @ hit[1]).max() <= A_FACE_AFTER_ALL]
    log.info("%d marks in windows of crowds, %d of them unlike a stranger", len(hits), len(certain))
    found += certain
    found.sort(key=lambda hit: -hit[0])
    chosen: List[np.ndarray] = []
    for _, embedding in found:
        if not chosen or (np.stack(chosen) @ embedding).max() < NEARLY_THE_SAME:
            chosen.append(embedding)
    log.info("%d different ones", len(chosen))
    return np.stack(chosen[:NON_FACES])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.reference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder in which training.agreement has written")
    parser.add_argument("--config", type=Path, help="settings that choose detector and embedder")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = load_settings(arguments.config) if arguments.config else Settings()
    settings = dataclasses.replace(
        settings,
        models=dataclasses.replace(settings.models, backend="onnx", precision="fp32", threads=1),
        detection=dataclasses.replace(settings.detection, min_score=NON_FACE_SCORE),
    )
    loader = ModelLoader(settings)
    rng = np.random.default_rng(SEED)
    with Recognizer.from_loader(loader, with_attributes=False) as recognizer:
        people = strangers(recognizer, arguments.data, rng)
        pairs = same_person(recognizer, arguments.data / "faces_lfw_train")
        things = non_faces(recognizer, arguments.data, arguments.work, people, rng)
    with replace_atomically(arguments.out) as stream:
        np.savez(
            stream,
            embedder_sha256=np.array(loader.embedder_entry.sha256),
            strangers=people.astype(np.float16),
            same_person=pairs.astype(np.float16),
            non_faces=things.astype(np.float16),
        )
    log.info("%s: %d strangers, %d pairs, %d non-faces", arguments.out, len(people), len(pairs), len(things))


if __name__ == "__main__":
    main()
