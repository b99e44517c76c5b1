"""Thresholds and confidence from embeddings: planted people, and strangers that are random directions."""

import numpy as np
import pytest

from app.identity import calibration as calibration_module
from app.identity.calibration import (
    MOST_CERTAIN,
    Tail,
    best_per_person,
    calibrate,
    certainty,
    nearest_pair,
    nearest_people,
    own_looks,
)
from app.identity.index import PersonIndex, decide
from app.settings import RecognitionSettings

SIZE = 128
SETTINGS = RecognitionSettings()
SAME_PERSON = np.random.default_rng(9).normal(0.7, 0.08, 500)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def random_people(count, seed):
    return unit(np.random.default_rng(seed).normal(size=(count, SIZE)))


def photos_of(people, each, seed, spread=0.06):
    """Photos near each person's direction, and the names of the persons."""
    noise = np.random.default_rng(seed).normal(0, spread, (len(people) * each, SIZE))
    return unit(np.repeat(people, each, axis=0) + noise), [f"p{row // each:03}" for row in range(len(people) * each)]


def calibrated(people=20, each=1, settings=SETTINGS, strangers=1500):
    photos, names = photos_of(random_people(people, 1), each, 2)
    return calibrate(photos, names, random_people(strangers, 3), SAME_PERSON, settings)


@pytest.mark.parametrize("people", [1, 20, 100])
@pytest.mark.parametrize("rate", [0.01, 0.001])
def test_unseen_strangers_are_accepted_as_often_as_stated(people, rate):
    photos, names = photos_of(random_people(people, 1), 1, 2)
    found = calibrate(photos, names, random_people(1500, 3), SAME_PERSON, SETTINGS)
    threshold = found.tail.threshold(rate)
    index = PersonIndex(photos, names, names)
    matches = [decide(face, threshold, SETTINGS.margin) for face in index.search(random_people(40_000, 4))]
    observed = np.mean([match.name is not None for match in matches])
    assert observed <= found.tail.upper_bound(threshold)
    # The tail of random directions is lighter than an exponential: rarer accepts than stated, not more frequent ones.
    assert rate / 10 < observed < 1.5 * rate


def test_more_people_and_fewer_wanted_accepts_need_a_higher_threshold():
    few, many = calibrated(people=2), calibrated(people=100)
    assert few.threshold(0.01) < many.threshold(0.01) < many.threshold(0.001)
    for found in (few, many):
        for rate in (0.05, 0.001):
            assert found.false_accept_rate(found.threshold(rate)) == pytest.approx(rate, rel=0.02)


def test_votes_need_a_lower_threshold_than_single_comparisons():
    assert calibrated().threshold(0.001) < calibrated(
        settings=RecognitionSettings(vote_window=1, min_votes=1)
    ).threshold(0.001)


def test_the_bound_rests_on_the_number_of_strangers_alone():
    tail = Tail.of(np.linspace(0, 0.3, 1000))
    assert (tail.reached(0.31), tail.reached(0.3), tail.reached(0.0)) == (0, 1, 1000)
    assert tail.upper_bound(0.9) == pytest.approx(3.0 / 1000, rel=0.01)  # the rule of three
    assert tail.rate(0.9) < 1e-6
    assert tail.upper_bound(0.15) >= tail.rate(0.15) == pytest.approx(0.5, abs=0.01)


def test_an_enrolled_person_among_the_strangers_is_left_out():
    photos, names = photos_of(random_people(20, 1), 1, 2)
    strangers = random_people(1500, 3)
    among = np.concatenate([strangers, unit(photos[:2] + 0.03)])
    found = calibrate(photos, names, among, SAME_PERSON, SETTINGS)
    assert (found.strangers, found.strangers_left_out) == (1500, 2)
    without = calibrate(photos, names, strangers, SAME_PERSON, SETTINGS)
    assert found.threshold(0.001) == pytest.approx(without.threshold(0.001), abs=1e-4)


def test_nothing_is_calibrated_without_people_or_with_few_strangers():
    nobody = np.empty((0, 0), np.float32)
    assert calibrate(nobody, [], random_people(1500, 3), SAME_PERSON, SETTINGS) is None
    assert calibrate(random_people(2, 1), ["a", "b"], random_people(50, 3), SAME_PERSON, SETTINGS) is None


def test_one_photo_each_is_not_enough_to_say_how_often_people_are_named():
    assert calibrated(each=1).named(0.3) is None
    assert calibrated(people=1, each=8).named(0.3) is None
    share = calibrated(people=10, each=4).named(0.3)
    assert (share.hits, share.of) == (40, 40)
    assert calibrated(people=10, each=4).named(0.99).hits == 0


def test_a_photo_is_tested_against_the_others_of_its_person_and_against_everybody():
    ann, bob = np.eye(SIZE, dtype=np.float32)[:2]
    rows = unit(np.array([ann + 0.5 * bob, ann - 0.5 * bob, bob, bob * 2, bob + 0.9 * ann]))
    similarities, people = own_looks(rows, np.array([0, 0, 1, 1, 0]), margin=0.03)
    # Bob's two photos are the same picture; the last one of Ann's is nearer to Bob's than the margin allows.
    assert people == 1
    np.testing.assert_allclose(similarities, [rows[0] @ rows[4], 0.6, rows[4] @ rows[0]], atol=1e-5)
    rows[4] = unit(bob + 0.2 * ann)
    assert own_looks(rows, np.array([0, 0, 1, 1, 0]), margin=0.03)[0][-1] == -1


def test_the_nearest_pair_names_the_photo_that_is_responsible():
    ann, bob, eve = np.eye(SIZE, dtype=np.float32)[:3]
    rows = unit(np.array([ann, ann + 0.8 * bob, bob, bob + 0.1 * eve, eve]))
    pair = nearest_pair(rows, np.array([0, 0, 1, 1, 2]))
    assert pair.rows == (1, 2)
    assert pair.similarity == pytest.approx(0.8 / np.sqrt(1.64))
    assert pair.without[0] == pytest.approx(0.0, abs=1e-6)  # Ann's odd photo is the only reason
    assert pair.without[1] == pytest.approx(pair.similarity / np.sqrt(1.01))
    assert nearest_pair(rows[:2], np.array([0, 0])) is None
    assert nearest_pair(rows[[0, 2]], np.array([0, 1])).without == (-1, -1)


def test_of_a_large_gallery_some_photos_are_compared_with_all(monkeypatch):
    photos, names = photos_of(random_people(50, 1), 4, 2)
    numbers = np.array([int(name[1:]) for name in names])
    everything, people = own_looks(photos, numbers, margin=0.03)
    assert (len(everything), people) == (200, 50)
    monkeypatch.setattr(calibration_module, "MOST_COMPARISONS", 200 * 40)
    some, people = own_looks(photos, numbers, margin=0.03)
    assert people == 10 and len(some) == 40 and set(some) <= set(everything)
    found = calibrate(photos, names, random_people(1500, 3), SAME_PERSON, SETTINGS)
    assert (found.compared_photos, found.people) == (40, 50)
    assert numbers[found.pair.rows[0]] != numbers[found.pair.rows[1]] and found.pair.rows[0] % 5 == 0


def test_faces_are_compared_as_the_index_compares_them():
    photos, names = photos_of(random_people(7, 1), 3, 2)
    numbers = np.array([int(name[1:]) for name in names])
    faces = random_people(600, 5)
    found = nearest_people(faces, photos, numbers)
    for row, candidates in enumerate(PersonIndex(photos, names, names).search(faces)):
        assert f"p{int(found.person[row]):03}" == candidates.person
        assert found.similarity[row] == pytest.approx(candidates.similarity, abs=1e-5)
        assert found.runner_up[row] == pytest.approx(candidates.runner_up_similarity, abs=1e-5)
    assert best_per_person(faces, photos, numbers)[1].shape == (600, 7)


def test_confidence_is_the_share_of_names_that_are_right():
    """Half of the faces are strangers; in every range of confidence, so many names are right as it says."""
    people = random_people(30, 1)
    photos, names = photos_of(people, 1, 2, spread=0.1)
    looks, own = photos_of(people, 400, 7, spread=0.15)
    same = np.einsum("ij,ij->i", looks, np.repeat(photos, 400, axis=0))
    found = calibrate(photos, names, random_people(3000, 3), same[::10], SETTINGS)
    index = PersonIndex(photos, names, names, calibration=found)
    strangers = random_people(len(looks), 8)
    confidence, right = [], []
    for face, who in zip(index.search(np.concatenate([looks, strangers])), own + [None] * len(strangers)):
        match = decide(face, 0.0, 0.0, found.certainty)
        confidence.append(match.confidence)
        right.append(match.nearest == who)
    confidence, right = np.array(confidence), np.array(right)
    for low, high in ((0, 0.1), (0.1, 0.4), (0.4, 0.6), (0.6, 0.9), (0.9, 1)):
        here = (confidence >= low) & (confidence < high)
        assert here.sum() > 50
        assert right[here].mean() == pytest.approx(confidence[here].mean(), abs=0.2)
    assert np.mean(confidence) == pytest.approx(right.mean(), abs=0.03)


def test_confidence_falls_with_the_size_of_the_gallery_and_with_a_near_runner_up():
    found = certainty(SAME_PERSON, np.random.default_rng(1).normal(0, 0.12, 5000), people=10)
    larger = certainty(SAME_PERSON, np.random.default_rng(1).normal(0, 0.12, 5000), people=1000)
    assert found.probability(0.2) < found.probability(0.4) < found.probability(0.6) <= MOST_CERTAIN
    assert larger.probability(0.4) < found.probability(0.4)
    assert found.probability(0.6, 0.6) == pytest.approx(0.5, abs=0.01)
    assert 0 < found.probability(-1.0) < 1e-6


def test_without_a_single_pair_of_photos_confidence_is_still_finite():
    found = certainty(np.empty(0), np.empty(0), people=1)
    assert 0.9 < found.probability(0.6) < 1
    apart = certainty(np.array([0.9]), np.array([-0.5]), people=1)
    assert np.isfinite([apart.slope, apart.offset]).all() and apart.probability(0.9) > 0.9 > apart.probability(-0.5)
