"""Splitting people into a gallery, probes and strangers."""

from pathlib import Path

import cv2
import numpy as np

from training.split import PEOPLE, made_small, split


def names(folder: Path) -> set:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_enrolled_people_are_not_strangers_and_no_photo_is_on_both_sides(tmp_path: Path) -> None:
    for number in range(PEOPLE + 5):
        folder = tmp_path / "people" / f"p{number}"
        folder.mkdir(parents=True)
        for photo in range(1 + number % 3):
            cv2.imwrite(str(folder / f"{photo}.jpg"), np.full((250, 250, 3), number, np.uint8))
    split(tmp_path / "people", 1, tmp_path / "out", False)
    gallery, probes, strangers = (names(tmp_path / "out" / part) for part in ("gallery", "probes", "strangers"))
    assert len(gallery) == PEOPLE and not gallery & probes
    people = {name.split("/")[0] for name in gallery}
    assert {name.split("/")[0] for name in probes} <= people
    assert len({name.split("/")[0] for name in strangers}) == 5 and not {n.split("/")[0] for n in strangers} & people


def test_a_small_picture_has_space_around() -> None:
    small = made_small(np.zeros((250, 250, 3), np.uint8), np.random.default_rng(1))
    assert 255 <= small.shape[0] <= 320 and small.shape[0] == small.shape[1]
