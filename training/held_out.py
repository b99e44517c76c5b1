"""Writes the held-out pictures and their labels as files, for `python -m app evaluate detection`.

    python -m training.held_out --data DIR --work WORK --crowd-labels crowds.txt --out HELD
    python -m training.held_out --data DIR --work WORK --crowd-labels crowds.txt --out DEVELOPMENT --development

WORK holds the tables of training.agreement. HELD then has `crowds` (human labels), `scenes` and `portraits` (agreed
labels), `closeups` (faces that fill more than half of the picture) and `empty` (no faces), and a label file for each.
With --development: only `crowds` and `empty`, of other pictures, to choose checkpoints and the default score with.
No picture of them is ever trained on, and none belongs into the repository.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import FrozenSet, Iterator, List, Tuple

import cv2
import numpy as np

from app.tools.evaluation.labels import retinaface_lines
from app.types import Faces
from training.backgrounds import balls, lights, random_crop, weave, windows_without_faces
from training.composition import POSITIVE_SCORE
from training.detection_figures import empty_pictures as old_empty_pictures
from training.detection_figures import read
from training.labels import LabelTable, load_table
from training.scene_list import (
    DEVELOPMENT_CROWDS,
    HELD_OUT_CROWDS,
    development_crowds,
    empty_pictures,
    held_out_crowds,
    held_out_people,
    is_development,
)
from training.teacher_detector import LabelledFaces

SEED = 20_000_029
CLOSE_UPS = 120
CLOSE_UP_SIDE = 1280
CLOSE_UP_SHARES = (0.6, 0.75, 0.95)
"""Height of the face as a share of the picture's."""
PORTRAITS = 300
WINDOW_SIDE = 320
GENERATED_EACH = 25
OTHER_SKIMAGE = ("motorcycle_left", "motorcycle_right", "retina", "logo", "phantom", "chessboard_RGB", "lily", "skin")
MATPLOTLIB = ("Minduka_Present_Blue_Pack.png", "logo2.png")


def sample_pictures() -> Iterator[Tuple[str, np.ndarray]]:
    """Face-free pictures that scikit-image and matplotlib bring along and training does not use."""
    import matplotlib.cbook
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    paths = [path for path in sorted(folder.iterdir()) if path.stem in OTHER_SKIMAGE]
    paths += [Path(str(matplotlib.cbook.get_sample_data(name, asfileobj=False))) for name in MATPLOTLIB]
    for path in paths:
        picture = cv2.imread(str(path))
        if picture is not None:
            yield path.stem, picture


def more_empty_pictures(data: Path, crowds: LabelTable) -> Iterator[Tuple[str, np.ndarray]]:
    """What detection_figures.empty_pictures lacks: clothes, hands, banners and streets out of the held-out crowds,
    sample pictures, cloth, lights and heaps of balls."""
    rng = np.random.default_rng(SEED)
    index = {str(path): number for number, path in enumerate(crowds.paths)}
    for path in held_out_crowds(index):
        windows = windows_without_faces(read(data / path), crowds.faces(index[path]).boxes, rng, 8)
        for number, window in enumerate(windows):
            size = (WINDOW_SIDE, WINDOW_SIDE)
            yield f"window_{Path(path).stem}_{number}", cv2.resize(window, size, interpolation=cv2.INTER_CUBIC)
    yield from sample_pictures()
    for make in (weave, lights, balls):
        for number in range(GENERATED_EACH):
            yield f"{make.__name__}_{number}", make(rng, WINDOW_SIDE)


def close_up(picture: np.ndarray, faces: LabelledFaces, main: int, share: float) -> Tuple[np.ndarray, LabelledFaces]:
    """The picture cut and enlarged so that the main face takes `share` of its height."""
    box = faces.boxes[main]
    side = float((box[2:] - box[:2]).max()) / share
    scale = CLOSE_UP_SIDE / side
    corner = (box[:2] + box[2:]) / 2 - side / 2
    transform = np.column_stack([np.eye(2) * scale, -corner * scale])
    size = (CLOSE_UP_SIDE, CLOSE_UP_SIDE)
    image = cv2.warpAffine(picture, transform, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    rows = slice(main, main + 1)
    carried = LabelledFaces(
        (faces.boxes[rows] - np.tile(corner, 2)) * scale, faces.scores[rows], (faces.landmarks[rows] - corner) * scale
    )
    return image, carried


def as_app_faces(faces: LabelledFaces) -> Faces:
    return Faces(faces.boxes.astype(np.float32), faces.scores.astype(np.float32), faces.landmarks.astype(np.float32))


def wider_lines(name: str, faces: LabelledFaces) -> List[str]:
    """WIDER's format: faces of uncertain score are marked as invalid."""
    rows = []
    for box, score in zip(faces.boxes, faces.scores):
        x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
        rows.append(f"{x:.1f} {y:.1f} {width:.1f} {height:.1f} 0 0 0 {int(score < POSITIVE_SCORE)} 0 0")
    return [name, str(len(rows)), *rows]


def crowd_lines(labels: Path, names: FrozenSet[str] = HELD_OUT_CROWDS) -> List[str]:
    """The lines of those crowds in a file in WIDER's format."""
    lines, kept, position = labels.read_text().splitlines(), [], 0
    while position < len(lines):
        count = max(int(lines[position + 1]), 1)
        if Path(lines[position]).stem in names:
            kept += [Path(lines[position]).name, *lines[position + 1 : position + 2 + count]]
        position += 2 + count
    return kept


DEVELOPMENT_VIEWS = 2
"""Random views of each picture without faces."""


def write_development(data: Path, work: Path, crowd_labels: Path, target: Path) -> None:
    for folder in ("crowds", "empty"):
        shutil.rmtree(target / folder, ignore_errors=True)
        (target / folder).mkdir(parents=True)
    rng = np.random.default_rng(SEED + 1)
    crowds = load_table(work, "crowds")
    index = {str(path): number for number, path in enumerate(crowds.paths)}
    for path in development_crowds(index):
        shutil.copy(data / path, target / "crowds")
        windows = windows_without_faces(read(data / path), crowds.faces(index[path]).boxes, rng, 12)
        for number, window in enumerate(windows):
            cv2.imwrite(str(target / "empty" / f"window_{Path(path).stem}_{number}.png"), window)
    (target / "crowds.txt").write_text("\n".join(crowd_lines(crowd_labels, DEVELOPMENT_CROWDS)) + "\n")
    for path in filter(is_development, empty_pictures(data)):
        picture = read(data / path)
        views = [picture, *(random_crop(picture, rng, WINDOW_SIDE) for _ in range(DEVELOPMENT_VIEWS))]
        for number, view in enumerate(views):
            cv2.imwrite(str(target / "empty" / f"{Path(path).stem}_{number}.png"), view)


def write_held_out(data: Path, work: Path, crowd_labels: Path, target: Path) -> None:
    for folder in ("crowds", "scenes", "portraits", "closeups", "empty"):
        shutil.rmtree(target / folder, ignore_errors=True)
        (target / folder).mkdir(parents=True)
    scenes, crowds, portraits = (load_table(work, source) for source in ("scenes", "crowds", "faces_lfw_dev"))
    for path in held_out_crowds(str(path) for path in crowds.paths):
        shutil.copy(data / path, target / "crowds")
    (target / "crowds.txt").write_text("\n".join(crowd_lines(crowd_labels)) + "\n")

    index = {str(path): number for number, path in enumerate(scenes.paths)}
    lines: List[str] = []
    for path in held_out_people(index):
        shutil.copy(data / path, target / "scenes")
        lines += wider_lines(Path(path).name, scenes.faces(index[path]))
    (target / "scenes.txt").write_text("\n".join(lines) + "\n")

    portrait_lines: List[str] = []
    close_lines: List[str] = []
    usable = [row for row in range(len(portraits)) if portraits.main_face(row, POSITIVE_SCORE) is not None]
    for number, row in enumerate(np.unique(np.linspace(0, len(usable) - 1, PORTRAITS).astype(int))):
        path, faces = str(portraits.paths[usable[row]]), portraits.faces(usable[row])
        main = faces_main(portraits, usable[row])
        picture, name = read(data / path), Path(path).name
        cv2.imwrite(str(target / "portraits" / name), picture)
        one = LabelledFaces(
            faces.boxes[main : main + 1], faces.scores[main : main + 1], faces.landmarks[main : main + 1]
        )
        portrait_lines += retinaface_lines(name, as_app_faces(one))
        if number < CLOSE_UPS:
            image, carried = close_up(picture, faces, main, CLOSE_UP_SHARES[number % len(CLOSE_UP_SHARES)])
            cv2.imwrite(str(target / "closeups" / name), image)
            close_lines += retinaface_lines(name, as_app_faces(carried))
    (target / "portraits.txt").write_text("\n".join(portrait_lines) + "\n")
    (target / "closeups.txt").write_text("\n".join(close_lines) + "\n")

    old = ((name, picture) for name, picture in old_empty_pictures(data, scenes))
    for name, picture in [*old, *more_empty_pictures(data, crowds)]:
        stem = Path(name).name.replace("#", "_").replace(".jpg", "")
        cv2.imwrite(str(target / "empty" / f"{stem}.png"), picture)


def faces_main(table: LabelTable, row: int) -> int:
    main = table.main_face(row, POSITIVE_SCORE)
    assert main is not None  # the caller has left out the others
    return main


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.held_out", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder in which training.agreement has written")
    parser.add_argument("--crowd-labels", type=Path, required=True, help="human boxes in WIDER's format")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--development", action="store_true", help="the pictures to choose with, instead")
    arguments = parser.parse_args()
    write = write_development if arguments.development else write_held_out
    write(arguments.data, arguments.work, arguments.crowd_labels, arguments.out)


if __name__ == "__main__":
    main()
