import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.gallery.people import EnrolledPeople
from app.identity.index import NO_CANDIDATE, NO_EMBEDDING, Candidates, PersonIndex, decide
from app.types import Match, Reason


def slow_search(gallery, query):
    """Best person and runner-up by looking at everyone in turn."""
    best = {}
    for photo, row in zip(gallery.row_photos, gallery.embeddings):
        score = float(row.astype(np.float64) @ query)
        if score > best.get(photo.person, (-2, ""))[0]:
            best[photo.person] = (score, photo.path)
    return sorted(((score, person, path) for person, (score, path) in best.items()), reverse=True)


@settings(max_examples=60)
@given(
    photos=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    queries=st.integers(1, 25),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_search_agrees_with_a_linear_search(gallery_of, photos, queries, seed):
    rng = np.random.default_rng(seed)
    gallery = gallery_of(*((f"person {number}", rng.normal(size=8)) for number in photos))
    faces = rng.normal(size=(queries, 8)).astype(np.float32)
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    for face, found in zip(faces, gallery.index().search(faces)):
        (score, person, path), *others = slow_search(gallery, face)
        assert (found.person, found.photo) == (person, path)
        assert found.similarity == pytest.approx(score, abs=1e-5)
        assert found.runner_up == (others[0][1] if others else None)
        assert found.runner_up_similarity == pytest.approx(others[0][0] if others else 0, abs=1e-5)


def test_a_runner_up_is_found_behind_all_photos_of_a_person_with_many(gallery_of):
    rng = np.random.default_rng(3)
    many = [("Ann", [1, 0, *rng.normal(0, 0.01, 2)]) for _ in range(50)]
    (found,) = gallery_of(*many, ("Bob", [0, 1, 0, 0])).index().search(np.eye(4, dtype=np.float32)[:1])
    assert (found.person, found.runner_up) == ("Ann", "Bob")


def test_an_empty_gallery_has_no_candidate():
    index = EnrolledPeople().index()
    (found,) = index.search(np.ones((1, 128), np.float32))
    assert len(index) == 0
    assert (found.person, found.runner_up, found.similarity) == (None, None, 0.0)


def test_no_faces_give_no_answers(gallery_of):
    assert gallery_of(("Ann", [1, 0])).index().search(np.empty((0, 2), np.float32)) == []


def test_a_face_without_embedding_has_no_candidate_and_does_not_affect_others(gallery_of):
    faces = np.array([[np.nan, np.nan], [1, 0], [np.inf, 0]], np.float32)
    found = gallery_of(("Ann", [1, 0])).index().search(faces)
    assert [answer.person for answer in found] == [None, "Ann", None]
    assert np.isnan(found[0].similarity)
    assert np.isnan(found[2].similarity)


def test_embeddings_of_another_model_are_an_error_with_both_sizes(gallery_of):
    with pytest.raises(ValueError, match="3 columns like the gallery's, not 2"):
        gallery_of(("Ann", [1, 0, 0])).index().search(np.ones((1, 2), np.float32))


def test_threads_may_search_at_once(gallery_of):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(200, 32)).astype(np.float32)
    index = gallery_of(*((f"p{n}", row) for n, row in enumerate(rows))).index()
    faces = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    wrong = []

    def search():
        for _ in range(20):
            wrong.extend(n for n, found in enumerate(index.search(faces)) if found.person != f"p{n}")

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def ann_before_bob(similarity, runner_up_similarity):
    return Candidates("Ann", similarity, "Ann/1.jpg", "Bob", runner_up_similarity)


@pytest.mark.parametrize(
    ("candidates", "name", "reason"),
    [
        (NO_CANDIDATE, None, Reason.NO_ONE_ENROLLED),
        (NO_EMBEDDING, None, Reason.NOT_COMPARED_YET),
        (ann_before_bob(0.39, 0.1), None, Reason.BELOW_THRESHOLD),
        (ann_before_bob(0.4, 0.1), "Ann", Reason.MATCHED),
        (ann_before_bob(0.8, 0.76), None, Reason.AMBIGUOUS),
        (ann_before_bob(0.75, 0.5), "Ann", Reason.MATCHED),
        (Candidates("Ann", 0.4, "Ann/1.jpg"), "Ann", Reason.MATCHED),
        (Candidates("Ann", -0.1, "Ann/1.jpg"), None, Reason.BELOW_THRESHOLD),
    ],
)
def test_only_a_person_who_is_near_and_unique_is_named(candidates, name, reason):
    match = decide(candidates, threshold=0.4, margin=0.05)
    assert (match.name, match.reason) == (name, reason)


def test_the_margin_itself_is_enough():
    assert decide(ann_before_bob(0.75, 0.5), 0.4, 0.25).name == "Ann"


def test_an_exact_tie_gives_no_name_even_without_a_margin():
    assert decide(ann_before_bob(0.9, 0.9), 0.4, 0).reason is Reason.AMBIGUOUS


def test_a_face_without_a_name_still_has_its_nearest_people():
    match = decide(ann_before_bob(0.3, 0.1), 0.4, 0.05)
    assert match == Match(None, Reason.BELOW_THRESHOLD, 0.3, "Ann", "Ann/1.jpg", "Bob", 0.1, 0.3, 0.4)


@pytest.mark.parametrize(
    ("similarity", "runner_up", "why"),
    [
        (0.334, 0.1, "below_threshold 0.33<0.40"),
        (0.3999, 0.1, "below_threshold 0.3999<0.4000"),
        (0.6, 0.58, "ambiguous 0.02 Ann/Bob"),
        (0.6, 0.1, "matched 0.60"),
    ],
)
def test_each_answer_has_its_numbers(similarity, runner_up, why):
    assert decide(ann_before_bob(similarity, runner_up), 0.4, 0.05).why == why


cosines = st.floats(-1, 1) | st.just(float("nan"))


@given(cosines, cosines, st.floats(-1, 1) | st.just(float("nan")), st.floats(0, 1))
def test_a_name_is_given_only_above_the_threshold_and_with_the_margin(similarity, runner_up, threshold, margin):
    match = decide(ann_before_bob(similarity, runner_up), threshold, margin)
    named = similarity >= threshold and similarity - runner_up >= margin and similarity > runner_up
    assert (match.name == "Ann") == named
    assert (match.reason is Reason.MATCHED) == named
    assert match.similarity == match.similarity


def test_the_three_nearest_people_are_candidates_each_by_the_best_photo():
    rows = np.array([[1, 0], [0.9, 0.1], [0.8, 0.3], [0.7, 0.7], [0, 1]], np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = PersonIndex(rows, ["Ann", "Ann", "Bob", "Cid", "Dan"], ["a1", "a2", "b", "c", "d"])
    (found,) = index.search(np.array([[1, 0]], np.float32))
    assert [(one.name, one.photo) for one in found.nearest] == [("Ann", "a1"), ("Bob", "b"), ("Cid", "c")]
    assert (found.person, found.runner_up) == ("Ann", "Bob")
    assert decide(found, 0.4, 0.01).candidates == found.nearest
