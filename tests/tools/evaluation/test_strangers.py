"""Numbers of strangers, counted with planted people and with the demo's portraits."""

import json

import cv2
import numpy as np
import pytest
from planted_visits import BASIS, mixed

from app.tools.evaluation.strangers import numbers_given


def planted(people=4, visits=5, likeness=0.8):
    rng = np.random.default_rng(1)
    faces = []
    for person in range(people):
        for _ in range(visits):
            noise = rng.normal(size=BASIS.shape[1])
            noise -= BASIS.T @ (BASIS @ noise)
            face = likeness * BASIS[person] + np.sqrt(1 - likeness**2) * noise / np.linalg.norm(noise)
            faces.append((f"person {person}", face.astype(np.float32)))
    return faces


@pytest.mark.parametrize("seed", range(3))
def test_people_who_resemble_only_themselves_have_one_number_each(seed):
    found = numbers_given(planted(), 0.5, seed)
    assert (found.people, found.visits, found.strangers, found.shared, found.divided) == (4, 20, 4, 0, 0)


def test_a_similarity_that_is_too_high_divides_people_and_one_that_is_too_low_joins_them():
    divided = numbers_given(planted(), 0.95)
    assert divided.divided == 4 and divided.strangers == 20 and divided.shared == 0
    joined = numbers_given([*planted(), ("twin", mixed(0, 1, 0.8))], 0.3)
    assert joined.shared >= 1


def test_the_command_counts_pictures_in_a_folder_per_person(completed, portraits, tmp_path):
    for portrait in portraits[:2]:
        folder = tmp_path / "people" / portrait.name
        folder.mkdir(parents=True)
        for number, scale in enumerate((1.0, 0.9)):
            cv2.imwrite(str(folder / f"{number}.jpg"), cv2.resize(portrait.image, None, fx=scale, fy=scale))
    (tmp_path / "people" / portraits[0].name / "broken.jpg").write_bytes(b"not a picture")
    code, out, err = completed("evaluate", "strangers", "--people", "people", "--json", "found.json")
    assert code == 0, err
    assert "4 visits of 2 people" in out
    figures = json.loads((tmp_path / "found.json").read_text())
    assert (figures["strangers"], figures["shared"], figures["divided"]) == (2, 0, 0)
    assert completed("evaluate", "strangers", "--people", "gallery-that-is-missing")[0] == 2
