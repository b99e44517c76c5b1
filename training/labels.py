"""Labels every picture once with the teacher detector; everything else in training starts from this table.

python -m training.labels --data DIR --teacher retinaface.onnx --work DIR
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

import cv2
import numpy as np

from training.files import replace_atomically
from training.teacher_detector import ANCHOR_SETS, LabelledFaces, RetinaFaceSession

log = logging.getLogger(__name__)

MIN_SCORE = 0.3
"""Below this a box is background; from here to the positive threshold it is ignored in training."""
DOUBLED_SCENES = "scenes_doubled"
"""The scenes enlarged twofold: the teacher then sees the small faces of crowds, and training may enlarge them too."""
SOURCES = ("faces_utk", "faces_lfw_train", "faces_lfw_dev", "scenes", DOUBLED_SCENES)
MARGINS = {"faces_utk": 28}


@dataclass(frozen=True)
class LabelTable:
    """All labelled pictures of one source: `first[i]:first[i+1]` are the rows of picture i."""

    paths: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def faces(self, index: int) -> LabelledFaces:
        rows = slice(int(self.first[index]), int(self.first[index + 1]))
        return LabelledFaces(self.boxes[rows], self.scores[rows], self.landmarks[rows])

    def main_face(self, index: int, min_score: float = 0.5) -> Optional[int]:
        """The face the picture is about: well scored, large and central; None where nothing scores enough."""
        faces = self.faces(index)
        if not len(faces) or faces.scores[0] < min_score:
            return None
        height, width = self.sizes[index]
        centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
        distance = np.linalg.norm(centres - [width / 2, height / 2], axis=1) / np.hypot(width, height)
        side = np.sqrt(np.prod(faces.boxes[:, 2:] - faces.boxes[:, :2], axis=1))
        merit = np.where(faces.scores >= min_score, faces.scores * side * np.exp(-6 * distance), -1)
        return int(np.argmax(merit))


def table_path(work: Path, source: str) -> Path:
    return work / "labels" / f"{source}.npz"


def load_table(work: Path, source: str) -> LabelTable:
    with np.load(table_path(work, source)) as stored:
        return LabelTable(**{name: stored[name] for name in stored.files})


def doubled(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))


def label_source(session: RetinaFaceSession, root: Path, source: str) -> LabelTable:
    """Every JPEG below `root / source`, in the order of its path, so that indices stay valid between runs."""
    folder = root / ("scenes" if source == DOUBLED_SCENES else source)
    paths = sorted(folder.rglob("*.jpg"))
    found: List[LabelledFaces] = []
    sizes: List[Tuple[int, int]] = []
    for number, path in enumerate(paths):
        image = cv2.imread(str(path))
        if image is None:
            raise SystemExit(f"cannot read {path}")
        if source == DOUBLED_SCENES:
            image = doubled(image)
        found.append(session.detect(image, MIN_SCORE, MARGINS.get(source, 0)))
        sizes.append(image.shape[:2])
        if number % 2000 == 0:
            log.info("%s: %d of %d", source, number, len(paths))
    return LabelTable(
        paths=np.array([str(path.relative_to(root)) for path in paths]),
        sizes=np.array(sizes, np.int32),
        first=np.cumsum([0] + [len(faces) for faces in found]),
        boxes=np.concatenate([faces.boxes for faces in found]),
        scores=np.concatenate([faces.scores for faces in found]),
        landmarks=np.concatenate([faces.landmarks for faces in found]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.labels", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with " + ", ".join(SOURCES[:4]))
    parser.add_argument("--teacher", type=Path, required=True, help="RetinaFace ONNX that labels")
    parser.add_argument(
        "--teacher-anchors", choices=sorted(ANCHOR_SETS), default="10", help="smallest anchor of the teacher"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for everything derived")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES, help="only these folders")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    session = RetinaFaceSession(arguments.teacher, ANCHOR_SETS[arguments.teacher_anchors], arguments.threads)
    for source in arguments.sources:
        target = table_path(arguments.work, source)
        if target.exists():
            log.info("%s: already labelled", source)
            continue
        table = label_source(session, arguments.data, source)
        with replace_atomically(target) as stream:
            np.savez_compressed(stream, **vars(table))
        with_face = sum(table.main_face(index) is not None for index in range(len(table)))
        log.info("%s: a face in %d of %d pictures", source, with_face, len(table))


if __name__ == "__main__":
    main()
