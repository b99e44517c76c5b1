"""Gathers pictures without faces from folders of drawings, cut-out objects and photographs.

    apt-get download tuxpaint-stamps-default gnome-backgrounds mate-backgrounds    # and dpkg -x each into PACKAGES
    python -m training.empty_pictures --from PACKAGES --data DIR --config CONFIG --detectors scrfd_2_5g centerface

Cut-out objects (pictures with transparency) are laid on one colour. Pictures whose path names people, faces, coins or
monuments are left out, and so is what two detectors take for a face: look through what remains before you train on it.
The pictures go to DIR/empty, as JPEGs of at most 640 px.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional, Sequence

import cv2
import numpy as np

from app.vision.detector import FaceDetector
from training.agreement import open_detectors

LONGER_SIDE = 640
PEOPLE_WORDS = ("people", "face", "money", "coin", "monument", "statue", "halloween", "apes", "snowm", "santa", "elf")
PEOPLE_WORDS += ("christmas", "hobbies", "medical", "sports", "ethnic", "angel", "clown", "scarecrow", "doll")
SURE_SCORE = 0.5


def opaque(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """BGR, with one colour where the picture is transparent."""
    if picture.dtype != np.uint8:
        picture = (picture // 256).astype(np.uint8)
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    if picture.shape[2] == 3:
        return picture
    cover = picture[..., 3:].astype(np.float32) / 255
    return np.asarray(picture[..., :3] * cover + colour * (1 - cover)).astype(np.uint8)


def read_empty(path: Path, rng: np.random.Generator) -> Optional[np.ndarray]:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or max(picture.shape[:2]) < 64:
        return None
    picture = opaque(picture, rng.uniform(0, 255, 3))
    scale = LONGER_SIDE / max(picture.shape[:2])
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture


def shows_a_face(picture: np.ndarray, detectors: Sequence[FaceDetector]) -> bool:
    found = [detector.detect([picture])[0] for detector in detectors]
    return all(len(faces) > 0 and faces.scores[0] >= SURE_SCORE for faces in found)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.empty_pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", dest="source", type=Path, required=True, help="folder with any folders of pictures")
    parser.add_argument("--data", type=Path, required=True, help="the pictures go to the folder `empty` in it")
    parser.add_argument("--config", type=Path, required=True, help="settings file that names the catalogue")
    parser.add_argument("--detectors", nargs="+", required=True)
    arguments = parser.parse_args()
    detectors = list(open_detectors(arguments.config, arguments.detectors, threads=1).values())
    target = arguments.data / "empty"
    target.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    kept = left_out = 0
    for path in sorted(arguments.source.rglob("*")):
        name = str(path.relative_to(arguments.source)).lower()
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            continue
        picture = None if any(word in name for word in PEOPLE_WORDS) else read_empty(path, rng)
        if picture is None or shows_a_face(picture, detectors):
            left_out += 1
            continue
        cv2.imwrite(str(target / f"{kept:04d}_{path.stem}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        kept += 1
    print(f"{kept} pictures in {target}; {left_out} left out")


if __name__ == "__main__":
    main()
