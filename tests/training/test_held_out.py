"""The held-out pictures as files, and the figures of detectors on them."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np
import pytest

from app.tools.evaluation.detection import PictureMatch
from app.tools.evaluation.labels import LabelledFace, labelled_picture, read_text_labels
from training.held_out import close_up, write_held_out
from training.held_out_figures import resampled_precisions, table
from training.scene_list import HELD_OUT_CROWDS
from training.teacher_detector import LabelledFaces

CROWDS = """crowds/one.jpg
1
50 40 100 120 0 0 0 0 0 0
crowds/3_Riot_Riot_3_393.jpg
2
50 40 100 120 0 0 0 0 0 0
1 1 5 5 0 0 0 1 0 0
"""


def test_24_crowds_are_held_out() -> None:
    assert len(HELD_OUT_CROWDS) == 24


@pytest.mark.slow
def test_held_out_pictures_and_labels_are_written(tiny_set: Tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "crowds.txt").write_text(CROWDS)
    write_held_out(*tiny_set, tmp_path / "crowds.txt", tmp_path / "held")

    (crowd,) = read_text_labels(tmp_path / "held" / "crowds.txt")
    assert crowd.file == "3_Riot_Riot_3_393.jpg"
    np.testing.assert_array_equal(crowd.ignored, [False, True])
    assert [path.name for path in (tmp_path / "held" / "crowds").iterdir()] == [crowd.file]
    (scene,) = read_text_labels(tmp_path / "held" / "scenes.txt")
    assert scene.file == "0060_people_held_out.jpg"
    names = {path.name for path in (tmp_path / "held" / "empty").iterdir()}
    assert {"0002_empty_held_out.png", "weave_0.png", "balls_0.png"} <= names
    for folder in ("portraits", "closeups"):
        labels = read_text_labels(tmp_path / "held" / f"{folder}.txt")
        assert all((tmp_path / "held" / folder / picture.file).is_file() for picture in labels)


def test_a_close_up_has_its_face_in_the_middle_and_of_the_wanted_height() -> None:
    faces = LabelledFaces(
        np.array([[40.0, 30, 80, 90]]),
        np.array([1.0]),
        np.array([[[50.0, 50], [70, 50], [60, 60], [52, 75], [68, 75]]]),
    )
    image, carried = close_up(np.zeros((200, 200, 3), np.uint8), faces, 0, 0.5)
    left, top, right, bottom = carried.boxes[0] / len(image)
    assert np.isclose(bottom - top, 0.5)
    assert np.isclose((left + right) / 2, 0.5)
    assert np.isclose(carried.landmarks[0, 2, 0] / len(image), 0.5)


def test_average_precision_is_resampled_picture_by_picture() -> None:
    picture = labelled_picture("a", [LabelledFace(0, 0, 9, 9)], "")
    found = PictureMatch(np.zeros((1, 4)), np.array([0.9]), np.array([0]), np.full(1, np.nan))
    missed = PictureMatch(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), np.zeros(0))
    values = resampled_precisions(([picture, picture], [found, missed]))
    assert set(values) == {0.0, 0.5, 1.0}
    assert (values == resampled_precisions(([picture, picture], [found, missed]))).all()


def test_the_table_has_a_column_for_each_detector() -> None:
    figures = {"found": {"value": 0.5, "interval_95": [0.25, 0.75]}}
    false = {"false_faces": {"value": 0.25, "interval_95": [0.125, 0.5]}}
    rows = table({"a": {"scenes": figures, "empty": false}, "b": {"scenes": figures, "empty": false}}).splitlines()
    assert rows[0] == "| | a | b |"
    assert rows[2] == "| scenes | 50.0% [25.0%, 75.0%] | 50.0% [25.0%, 75.0%] |"
    assert rows[3].endswith("| 0.250 [0.125, 0.500] |")
