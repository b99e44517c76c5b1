"""Draws pairs of photos to find a threshold with: the rare false accepts need more strangers than LFW's pairs have.

python -m training.pairs --images DIR/faces_lfw_dev --out many_pairs.csv

Then: python -m app evaluate verification --images DIR/faces_lfw_dev --pairs many_pairs.csv
"""

from __future__ import annotations

import argparse
import itertools
import random
from pathlib import Path
from typing import Dict, List, Set, Tuple

from training.files import replace_atomically

PAIRS_A_PERSON = 10
"""At most, so that a few much-photographed people do not speak for all."""


def photos_by_person(images: Path) -> Dict[str, List[str]]:
    """The names of the photos, without extension, of every folder with any."""
    folders = sorted(folder for folder in images.iterdir() if folder.is_dir())
    found = {folder.name: sorted(photo.stem for photo in folder.glob("*.jpg")) for folder in folders}
    return {person: photos for person, photos in found.items() if photos}


def draw_pairs(photos: Dict[str, List[str]], strangers: int, seed: int) -> List[Tuple[str, str, int]]:
    """Up to PAIRS_A_PERSON pairs of each person, and as many different pairs of two people as are wanted."""
    chance = random.Random(seed)
    pairs: List[Tuple[str, str, int]] = []
    for own in photos.values():
        combinations = list(itertools.combinations(own, 2))
        pairs.extend((a, b, 1) for a, b in chance.sample(combinations, min(PAIRS_A_PERSON, len(combinations))))
    people = sorted(photos)
    seen: Set[Tuple[str, str]] = set()
    while len(seen) < strangers:
        first, second = sorted(chance.sample(people, 2))
        seen.add((chance.choice(photos[first]), chance.choice(photos[second])))
    return pairs + [(a, b, 0) for a, b in sorted(seen)]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.pairs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="a folder a person, as in LFW")
    parser.add_argument("--out", type=Path, required=True, help="the CSV to write")
    parser.add_argument("--strangers", type=int, default=50_000, help="pairs of two people")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    photos = photos_by_person(arguments.images)
    possible = (sum(map(len, photos.values())) ** 2 - sum(len(own) ** 2 for own in photos.values())) // 2
    if arguments.strangers > possible // 2:
        raise SystemExit(f"{arguments.images} has {possible} pairs of two people; ask for at most half as many")
    pairs = draw_pairs(photos, arguments.strangers, arguments.seed)
    lines = [("image_a", "image_b", "same"), *pairs]
    with replace_atomically(arguments.out) as stream:
        stream.write("".join(",".join(map(str, line)) + "\n" for line in lines).encode())
    print(f"{arguments.out}: {len(pairs) - arguments.strangers} pairs of one person, {arguments.strangers} of two")


if __name__ == "__main__":
    main()
