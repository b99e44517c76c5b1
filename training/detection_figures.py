"""What a detector finds of what the teacher found, and what it finds where nobody is: figures for the curve.

python -m training.detection_figures --data DIR --work DIR --model retinaface_mnet025.onnx
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import cv2
import numpy as np

from training.anchors import MIN_SIZES, pairwise_iou
from training.backgrounds import SKIMAGE_HELD_OUT, random_crop, skimage_pictures, texture
from training.labels import LabelTable, load_table
from training.scene_list import held_out_empty, held_out_people
from training.teacher_detector import LabelledFaces, RetinaFaceSession

MIN_SCORE = 0.5
MIN_IOU = 0.5
EMPTY_SEED = 20_000_003
"""Far from the training seeds, so that no generated picture is met twice."""


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    if picture is None:
        raise SystemExit(f"cannot read {path}")
    return picture


def best_match(found: LabelledFaces, box: np.ndarray) -> Tuple[int, float]:
    """The found face that overlaps `box` most, and by how much."""
    if not len(found):
        return -1, 0.0
    overlaps = pairwise_iou(box[None], found.boxes)[0]
    return int(overlaps.argmax()), float(overlaps.max())


def portrait_figures(session: RetinaFaceSession, data: Path, table: LabelTable, limit: int = 0) -> Dict[str, float]:
    """Share of main faces found, and how far the landmarks are from the teacher's in eye distances."""
    count = min(limit, len(table)) if limit else len(table)
    errors, missed = [], 0
    for index in np.linspace(0, len(table) - 1, count).astype(int):
        main = table.main_face(int(index))
        if main is None:
            continue
        faces = table.faces(int(index))
        found = session.detect(read(data / str(table.paths[index])), MIN_SCORE)
        row, overlap = best_match(found, faces.boxes[main])
        if overlap < MIN_IOU:
            missed += 1
            continue
        goal = faces.landmarks[main]
        eyes = float(np.linalg.norm(goal[0] - goal[1]))
        errors.append(float(np.linalg.norm(found.landmarks[row] - goal, axis=1).mean()) / max(eyes, 1.0))
    return {
        "portraits": len(errors) + missed,
        "portrait_recall": len(errors) / max(len(errors) + missed, 1),
        "landmark_error": float(np.mean(errors)) if errors else float("nan"),
    }


def scene_figures(session: RetinaFaceSession, data: Path, table: LabelTable, min_px: float = 20) -> Dict[str, float]:
    """Recall of the teacher's faces of at least `min_px` (shorter side) in the held-out scenes with people."""
    index = {str(path): number for number, path in enumerate(table.paths)}
    wanted = hit = 0
    for path in held_out_people(index):
        faces = table.faces(index[path])
        found = session.detect(read(data / path), MIN_SCORE)
        for box, score in zip(faces.boxes, faces.scores):
            if score >= MIN_SCORE and (box[2:] - box[:2]).min() >= min_px:
                wanted += 1
                hit += best_match(found, box)[1] >= MIN_IOU
    return {"scene_faces": wanted, "scene_recall": hit / max(wanted, 1)}


def empty_pictures(data: Path, table: LabelTable) -> Iterator[Tuple[str, np.ndarray]]:
    """Face-free pictures of which training saw nothing: held-out scenes, scikit-image, textures of another seed."""
    rng = np.random.default_rng(EMPTY_SEED)
    for path in held_out_empty(str(path) for path in table.paths):
        picture = read(data / path)
        yield path, picture
        for number in range(7):
            yield f"{path}#{number}", random_crop(picture, rng, 320)
    for number, picture in enumerate(skimage_pictures(SKIMAGE_HELD_OUT)):
        yield f"scikit-image#{number}", picture
    for number in range(80):
        yield f"texture#{number}", texture(rng, 320)


def false_alarm_figures(session: RetinaFaceSession, data: Path, table: LabelTable) -> Dict[str, float]:
    alarms: List[int] = []
    for _, picture in empty_pictures(data, table):
        alarms.append(len(session.detect(picture, MIN_SCORE)))
    return {"empty_pictures": len(alarms), "false_alarms_per_picture": float(np.mean(alarms))}


def all_figures(model: Path, data: Path, work: Path, portraits: int = 0, threads: int = 1) -> Dict[str, float]:
    """Every figure of one model; `portraits` limits the development portraits for a quick look."""
    session = RetinaFaceSession(model, MIN_SIZES, threads)
    scenes = load_table(work, "scenes")
    return {
        **portrait_figures(session, data, load_table(work, "faces_lfw_dev"), portraits),
        **scene_figures(session, data, scenes),
        **false_alarm_figures(session, data, scenes),
    }


def write_held_out(data: Path, work: Path, target: Path) -> None:
    """The pictures behind two of the figures as files, for `python -m app evaluate detection`."""
    table = load_table(work, "scenes")
    for folder in ("empty", "people"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    for name, picture in empty_pictures(data, table):
        cv2.imwrite(str(target / "empty" / f"{Path(name).name.replace('#', '_').replace('.jpg', '')}.png"), picture)
    for path in held_out_people(str(path) for path in table.paths):
        shutil.copy(data / path, target / "people")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.detection_figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder in which training.labels has written")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--write-held-out", type=Path, metavar="DIR", help="write the held-out pictures there, too")
    parser.add_argument("--portraits", type=int, default=0, help="at most so many development portraits (0: all)")
    arguments = parser.parse_args()
    if arguments.write_held_out:
        write_held_out(arguments.data, arguments.work, arguments.write_held_out)
    print(json.dumps(all_figures(arguments.model, arguments.data, arguments.work, arguments.portraits), indent=1))


if __name__ == "__main__":
    main()
