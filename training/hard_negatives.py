"""Cuts out what a detector takes for faces in training pictures where there are none.

    python -m training.hard_negatives --data DIR --work WORK --config CONFIG --detectors retinaface_mnet025 [OTHERS]

Looks through the training pictures without faces at several sizes, and through crowds and scenes outside all boxes. The
windows go to WORK/hard; training.refinement lays them into its scenes. Run it again with a refined network to add what
is still wrong.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Iterator, Sequence, Tuple

import cv2
import numpy as np

from app.vision.detector import FaceDetector
from training.agreement import open_detectors
from training.backgrounds import empty_view
from training.refinement import RefinementShelf, hard_folder

log = logging.getLogger(__name__)

MIN_SCORE = 0.25
SIDES = (640, 320, 160)
"""Longer sides at which a picture is shown."""
VIEWS = 400
"""Random views besides, as training draws them."""
WINDOW_BOXES = 2.5
"""Side of a window in sides of the box."""
MIN_WINDOW, MAX_WINDOW = 48, 400


def views(shelf: RefinementShelf, rng: np.random.Generator) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """Pictures, and the boxes that may be faces in them."""
    nothing = np.zeros((0, 4), np.float32)
    for picture in shelf.empty:
        for side in SIDES:
            scale = side / max(picture.shape[:2])
            if scale <= 1 or side == min(SIDES):
                yield cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), nothing
    for number in range(VIEWS):
        yield empty_view(shelf.empty, rng, (320, 448)[number % 2]), nothing
    for picture, faces in shelf.people:
        yield picture, faces.boxes


def windows(picture: np.ndarray, taken: np.ndarray, detectors: Sequence[FaceDetector]) -> Iterator[np.ndarray]:
    """Square windows about what the detectors mark, clear of the boxes `taken`; at most eight a picture."""
    height, width = picture.shape[:2]
    found = [detector.detect([picture])[0] for detector in detectors]
    boxes = np.concatenate([faces.boxes[faces.scores >= MIN_SCORE][: 8 // len(detectors)] for faces in found])
    for box in boxes:
        side = float(np.clip(WINDOW_BOXES * (box[2:] - box[:2]).max(), MIN_WINDOW, MAX_WINDOW))
        middle = (box[:2] + box[2:]) / 2
        left, top = np.clip(middle - side / 2, 0, None).astype(int)
        right, bottom = np.minimum(middle + side / 2, (width, height)).astype(int)
        meets = (taken[:, :2] < (right, bottom)).all(axis=1) & (taken[:, 2:] > (left, top)).all(axis=1)
        if not meets.any() and min(right - left, bottom - top) >= MIN_WINDOW // 2:
            yield picture[top:bottom, left:right]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.hard_negatives",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="settings file that names the catalogue")
    parser.add_argument("--detectors", nargs="+", required=True)
    parser.add_argument("--prefix", default="", help="of the files, to tell rounds apart")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cv2.setNumThreads(1)
    detectors = list(open_detectors(arguments.config, arguments.detectors, threads=1).values())
    target = hard_folder(arguments.work)
    target.mkdir(parents=True, exist_ok=True)
    count = 0
    for picture, taken in views(RefinementShelf(arguments.data, arguments.work), np.random.default_rng(1)):
        for window in windows(picture, taken, detectors):
            cv2.imwrite(str(target / f"{arguments.prefix}{count:05d}.png"), window)
            count += 1
    log.info("%d windows in %s", count, target)


if __name__ == "__main__":
    main()
