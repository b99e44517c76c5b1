"""People who come into the picture of a fixed camera are found and named soon."""

import json

import cv2
import entering_people
import numpy as np
import pytest
from composed_clips import cut_out

FPS = 10


@pytest.fixture(scope="module")
def entrance(tmp_path_factory, recognizer, portraits):
    """A video of four visits of Collins and Hopper, with faces of 24 to 90 pixels."""
    folder = tmp_path_factory.mktemp("entrance")
    heads = []
    for portrait in portraits[:2]:
        cv2.imwrite(str(folder / "portrait.png"), portrait.image)
        heads.append(cut_out(recognizer, portrait.name, True, folder / "portrait.png"))
    background = entering_people.texture((1280, 720), np.random.default_rng(2))
    stage = entering_people.Stage(background, 4)
    entering_people.write(
        folder / "entrance.mp4", stage, entering_people.visits(stage, heads, (24, 90), FPS, 4), FPS, 5
    )
    return folder / "entrance.mp4"


@pytest.mark.slow
def test_people_who_come_in_are_found_and_named_within_a_second(completed, entrance, people_gallery, tmp_path):
    words = ("--truth", entrance.with_suffix(".csv"), "--boxes", entrance.with_suffix(".boxes.csv"))
    words = (*words, "--gallery", people_gallery, "--json", "found.json")
    code, out, err = completed("evaluate", "video", entrance, *words)
    assert code == 0, err
    facts = json.loads((tmp_path / "found.json").read_text())
    assert facts["people"].keys() == {"Eileen Collins", "Grace Hopper"}
    assert sum(size["appearances"] for size in facts["found"].values()) == 4
    assert all(size["found_soon"]["value"] == 1 for size in facts["found"].values()), out
    assert facts["wrong"] == 0 and facts["false_boxes"] <= 10
    assert sum(facts["looks"].values()) == facts["frames"]
