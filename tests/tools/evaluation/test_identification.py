"""Open-set identification: planted scores and embeddings, and real photos through the command."""

import json
import shutil

import numpy as np
import pytest

from app.tools.evaluation.identification import (
    BEST_PHOTO,
    Answers,
    EnrolledPhotos,
    answers,
    differences,
    resampled,
    threshold_at,
    tpir,
    ways_to_compare,
)

ENROLLED = Answers(np.array([0.9, 0.8, 0.7, 0.3]), np.array([True, True, False, True]), np.arange(4))
STRANGERS = Answers(np.linspace(0.0, 0.5, 200), np.zeros(200, bool), np.arange(200))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize(("fpir", "passing"), [(0.01, 2), (0.1, 20), (0.001, 0), (1.0, 200)])
def test_the_threshold_lets_at_most_the_share_of_strangers_pass(fpir, passing):
    threshold = threshold_at(STRANGERS.scores, np.ones(200), fpir)
    assert STRANGERS.accepted(threshold).hits == passing


def test_a_picture_is_identified_if_the_right_person_is_nearest_and_near_enough():
    found = tpir(ENROLLED, STRANGERS, 0.01)
    assert (found.share.hits, found.share.of, found.measurable) == (2, 4, True)
    assert found.interval[0] <= 0.5 <= found.interval[1]
    assert ENROLLED.rank_1.hits == 3
    assert not tpir(ENROLLED, STRANGERS, 0.001).measurable


def test_pictures_of_one_person_count_as_one_in_the_interval():
    rng = np.random.default_rng(1)
    right = rng.random(40) < 0.7
    scores = np.ones(400)
    alone = Answers(scores, np.repeat(right, 10), np.arange(400))
    together = Answers(scores, np.repeat(right, 10), np.repeat(np.arange(40), 10))
    assert resampled(together, STRANGERS, 0.1).std() > 2 * resampled(alone, STRANGERS, 0.1).std()


def test_the_ways_to_compare_are_what_they_are_called():
    people = [
        EnrolledPhotos(unit(np.array([[1.0, 0, 0], [0, 1, 0]])), np.array([1.0, 0.0])),
        EnrolledPhotos(unit(np.array([[0, 0, 1.0]])), np.array([0.5])),
    ]
    face = unit(np.array([[1.0, 1, 0]]))
    found = ways_to_compare(face, people, np.empty((0, 3)))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(found[BEST_PHOTO], [[half, 0]])
    np.testing.assert_allclose(found["mean of the photos"], [[1, 0]])
    np.testing.assert_allclose(found["mean weighted by quality"], [[half, 0]])
    np.testing.assert_allclose(found["best and mean"], [[(1 + half) / 2, 0]])


def test_normalised_scores_see_through_faces_that_resemble_everybody():
    """Blurred faces share a direction. Raw similarities take blurred strangers for anybody; T-norm does not."""
    rng = np.random.default_rng(2)
    blur = unit(rng.normal(size=64))
    faces = unit(rng.normal(size=(30, 64)))
    known = [EnrolledPhotos(unit(face + 0.4 * blur)[None], np.ones(1)) for face in faces]
    cohort = unit(unit(rng.normal(size=(500, 64))) + 0.5 * blur)
    probes = unit(np.repeat(faces, 10, axis=0) + rng.normal(0, 0.2, (300, 64)))
    others = unit(unit(rng.normal(size=(400, 64))) + 1.5 * blur * (rng.random((400, 1)) < 0.5))
    truth = np.repeat(np.arange(30), 10)
    enrolled, strangers = (
        {way: answers(scores, who, persons) for way, scores in ways_to_compare(rows, known, cohort).items()}
        for rows, who, persons in ((probes, list(truth), truth), (others, [None] * 400, np.arange(400)))
    )
    found = {way.way: way for way in differences(enrolled, strangers, 0.01)}
    assert found[BEST_PHOTO].gain == 0 and not found[BEST_PHOTO].better
    assert found["best photo, T-norm"].better and found["best photo, T-norm"].gain > 0.1


def test_people_without_a_photo_in_the_gallery_are_strangers(answered, config_file, people_gallery, tmp_path):
    for folder in ("g", "probes"):
        (tmp_path / folder).mkdir()
    shutil.copy(people_gallery / "Grace Hopper_1.jpg", tmp_path / "g")
    for photo in people_gallery.glob("*.jpg"):
        if photo.name != "Grace Hopper_1.jpg":
            shutil.copy(photo, tmp_path / "probes")
    words = ("--gallery", tmp_path / "g", "--probes", tmp_path / "probes", "--json", tmp_path / "out.json")
    code, _, err = answered("evaluate", "identification", *words, "--ways", "--config", config_file)
    assert code == 0, err
    facts = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (facts["people"], facts["pictures"], facts["strangers"], facts["stranger_pictures"]) == (1, 1, 1, 2)
    assert facts["rank_1"]["hits"] == 1
    assert [at["measurable"] for at in facts["tpir"]] == [False, False]
    assert facts["thresholds"][0]["identified"]["hits"] == 1
    assert {path.name for path in (tmp_path / "g").iterdir()} == {"Grace Hopper_1.jpg"}  # nothing is written there
    code, _, err = answered(
        "evaluate", "identification", *words[:2], "--probes", tmp_path / "g", "--config", config_file
    )
    assert code == 2 and "--strangers" in err
