"""Choosing the strangers of a reference."""

from pathlib import Path

import numpy as np

from app.types import Faces
from training.reference import central_face, one_photo_each, spread_over_groups


def test_every_group_has_its_share_and_small_children_have_none(tmp_path: Path) -> None:
    names = [f"{age}_{gender}_0_{number}.jpg" for age in (25, 31, 2) for gender in (0, 1) for number in range(20)]
    for name in [*names, "67_1_4_0.jpg", "39_1_20170116174525125.jpg"]:
        (tmp_path / name).touch()
    chosen = spread_over_groups(tmp_path, 9, np.random.default_rng(1))
    assert len(set(chosen)) == 9
    groups = [path.name.rsplit("_", 1)[0] for path in chosen]
    assert {group: groups.count(group) for group in groups} == {
        "25_0_0": 2, "25_1_0": 2, "31_0_0": 2, "31_1_0": 2, "67_1_4": 1,
    }  # fmt: skip


def test_a_person_is_there_once(tmp_path: Path) -> None:
    for person, photo in (("Ann", "b"), ("Ann", "a"), ("Bob", "c")):
        (tmp_path / person).mkdir(exist_ok=True)
        (tmp_path / person / f"{photo}.jpg").touch()
    assert [path.stem for path in one_photo_each(tmp_path)] == ["a", "c"]


def test_the_face_in_the_middle_is_the_persons() -> None:
    boxes = np.array([[0, 0, 90, 90], [40, 40, 60, 60], [30, 30, 70, 70], [20, 20, 80, 80]], np.float32)
    faces = Faces(boxes, np.array([0.99, 0.9, 0.8, 0.3]), np.zeros((4, 5, 2)))
    picture = np.zeros((100, 100, 3), np.uint8)
    assert central_face(faces[[1, 2, 3]], picture) == 1
    assert central_face(faces[[3]], picture) is None
    assert central_face(Faces.empty(), picture) is None
