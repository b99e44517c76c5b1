"""Cuts every face upright once, with the application's own aligner, into one memory-mapped array a source.

A crop is 144×144 with the 112×112 crop of the application in its middle, so that augmentation can turn, scale and
shift it without running out of picture.

    python -m training.crops --data DIR --work DIR
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Tuple

import cv2
import numpy as np

from app.vision.align import similarity_transforms, template
from training.labels import load_table

log = logging.getLogger(__name__)

MARGIN = 16
SIDE = 112 + 2 * MARGIN
SOURCES = ("faces_utk", "faces_lfw_train", "faces_lfw_dev")


def wide_crop(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The application's crop with MARGIN more pixels on every side; beyond the picture its edge is repeated."""
    transform = similarity_transforms(landmarks[None], template((112, 112)) + MARGIN)[0]
    return cv2.warpAffine(image, transform, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def crops_path(work: Path, source: str) -> Path:
    return work / "crops" / f"{source}.npy"


def cut_source(data: Path, work: Path, source: str) -> int:
    """Writes the crops of one source; their picture's index in the label table goes beside them."""
    table = load_table(work, source)
    chosen = [index for index in range(len(table)) if table.main_face(index) is not None]
    target = crops_path(work, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    crops = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(chosen), SIDE, SIDE, 3))
    for row, index in enumerate(chosen):
        faces = table.faces(index)
        image = cv2.imread(str(data / str(table.paths[index])))
        crops[row] = wide_crop(image, faces.landmarks[table.main_face(index)])
    crops.flush()
    np.save(target.with_name(f"{source}_index.npy"), np.array(chosen, np.int32))
    partial.rename(target)
    return len(chosen)


def load_crops(work: Path, source: str) -> Tuple[np.ndarray, np.ndarray]:
    """The crops (read as they are needed, not into memory) and the index of each one's picture."""
    path = crops_path(work, source)
    return np.load(path, mmap_mode="r"), np.load(path.with_name(f"{source}_index.npy"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.crops", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the pictures")
    parser.add_argument("--work", type=Path, required=True, help="folder in which training.labels has written")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES, help="only these folders")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for source in arguments.sources:
        if crops_path(arguments.work, source).exists():
            log.info("%s: already cut", source)
            continue
        log.info("%s: %d faces", source, cut_source(arguments.data, arguments.work, source))


if __name__ == "__main__":
    main()
