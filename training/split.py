"""Splits a folder of people into a gallery, pictures to look up, and strangers, for `evaluate identification`.

    python -m training.split --images DIR/faces_lfw_dev --photos 3 --out SPLIT
    python -m app evaluate identification --gallery SPLIT/gallery --probes SPLIT/probes --strangers SPLIT/strangers

SPLIT holds links, and copies with --small: pictures in which the face is as small as a camera's.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List

import cv2
import numpy as np

SEED = 20_000_003
PEOPLE = 100
MOST_PROBES = 10
SMALL_SIDES = (55, 120)
"""Of LFW's 250 pixels: faces of 22 to 48 pixels."""


def made_small(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture as a camera far away sees it: few pixels, half of them blurred, compressed, with space around."""
    side = int(rng.integers(*SMALL_SIDES))
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.4, 1.0))
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 85))])[1]
    return cv2.copyMakeBorder(cv2.imdecode(data, cv2.IMREAD_COLOR), *[100] * 4, cv2.BORDER_REPLICATE)


def place(photos: List[Path], folder: Path, rng: np.random.Generator, small: bool) -> None:
    for photo in photos:
        target = folder / photo.parent.name / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if small:
            cv2.imwrite(str(target.with_suffix(".png")), made_small(cv2.imread(str(photo)), rng))
        else:
            target.symlink_to(photo.resolve())


def split(images: Path, photos: int, out: Path, small: bool, enrolled: int = PEOPLE) -> None:
    """`enrolled` people are enrolled, with up to `photos` photos each: first those who have
    most. The rest are strangers."""
    rng = np.random.default_rng(SEED)
    people = {folder: sorted(folder.glob("*.jpg")) for folder in sorted(images.iterdir()) if folder.is_dir()}
    order = [list(people)[row] for row in rng.permutation(len(people))]
    order.sort(key=lambda folder: -min(len(people[folder]), photos + 1))
    for folder in order[:enrolled]:
        own = [people[folder][row] for row in rng.permutation(len(people[folder]))]
        place(own[:photos], out / "gallery", rng, False)
        place(own[photos : photos + MOST_PROBES], out / "probes", rng, small)
    for folder in order[enrolled:]:
        place(people[folder], out / "strangers", rng, small)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.split", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="a folder a person, as in LFW")
    parser.add_argument("--people", type=int, default=PEOPLE, help="how many are enrolled")
    parser.add_argument("--photos", type=int, default=1, help="of each enrolled person")
    parser.add_argument("--small", action="store_true", help="probes and strangers as small as a camera's")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    split(arguments.images, arguments.photos, arguments.out, arguments.small, arguments.people)


if __name__ == "__main__":
    main()
