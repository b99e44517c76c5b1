import numpy as np
import pytest

from app.gallery.checks import (
    MAX_SIMILAR_PAIRS,
    WarningKind,
    check_people,
    find_mixed,
    find_outliers,
    resembles_another,
)
from app.gallery.people import EnrolledPeople, PhotoFinding
from app.types import Reason

EAST, NORTH, UP = np.eye(3)


def between(one, other, cosine):
    """A unit vector with this cosine to `one`, in the plane of both."""
    return cosine * one + np.sqrt(1 - cosine**2) * other


def test_an_empty_gallery_has_no_people_and_no_warnings():
    gallery = EnrolledPeople()
    assert gallery.names == ()
    assert gallery.embeddings.shape[0] == 0
    assert check_people(gallery, 0.3) == []


def test_photos_become_rows_of_unit_length_and_unusable_ones_do_not(record):
    gallery = EnrolledPeople((record("b.jpg", "B", 5 * NORTH), record("a.jpg", "A", EAST), record("c.jpg", "C")))
    assert gallery.names == ("A", "B", "C")
    assert [photo.path for photo in gallery.row_photos] == ["a.jpg", "b.jpg"]
    np.testing.assert_allclose(gallery.embeddings, [EAST, NORTH])
    assert gallery.embeddings.dtype == np.float32


def test_the_same_photo_twice_under_one_name_is_one_row_and_no_warning(record):
    gallery = EnrolledPeople((record("A_1.jpg", "A", EAST, "same"), record("A_2.jpg", "A", EAST, "same")))
    assert len(gallery.photos) == 2
    assert [photo.path for photo in gallery.row_photos] == ["A_1.jpg"]
    assert check_people(gallery, 0.3) == []


def test_the_same_photo_under_two_names_gives_one_warning_with_both_names_and_photos(record):
    gallery = EnrolledPeople((record("a.jpg", "Ann", EAST, "same"), record("b.jpg", "Bob", EAST, "same")))
    (warning,) = check_people(gallery, 0.3)
    assert warning.kind is WarningKind.SAME_PHOTO
    assert warning.people == ("Ann", "Bob")
    assert all(word in warning.message for word in ("a.jpg", "b.jpg", "Ann", "Bob"))


@pytest.mark.parametrize("swapped", [False, True])
def test_people_nearer_than_the_threshold_give_a_warning_with_their_nearest_photos(record, swapped):
    photos = [
        record("a1.jpg", "Ann", UP),
        record("a2.jpg", "Ann", EAST),
        record("b1.jpg", "Bob", between(EAST, NORTH, 0.5)),
        record("b2.jpg", "Bob", between(EAST, NORTH, 0.6)),
        record("c.jpg", "Cid", -EAST),
    ]
    (warning,) = check_people(EnrolledPeople(tuple(photos[::-1] if swapped else photos)), 0.45)
    assert warning.kind is WarningKind.SIMILAR_PEOPLE
    assert warning.people == ("Ann", "Bob")
    assert warning.photos == ("a2.jpg", "b2.jpg")
    assert warning.similarity == pytest.approx(0.6)


def test_people_farther_than_the_threshold_give_no_warning(record):
    gallery = EnrolledPeople((record("a.jpg", "Ann", EAST), record("b.jpg", "Bob", between(EAST, NORTH, 0.44))))
    assert check_people(gallery, 0.45) == []


def test_similar_people_are_found_across_a_large_gallery(record):
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(2500, 64))
    rows[2400] = rows[10]
    rows[2300] = rows[1500]
    gallery = EnrolledPeople(tuple(record(f"{n:04}.jpg", f"p{n:04}", row) for n, row in enumerate(rows)))
    assert [warning.people for warning in check_people(gallery, 0.9)] == [
        ("p0010", "p2400"),
        ("p1500", "p2300"),
    ]


def test_the_most_similar_photos_of_two_people_may_be_far_apart_in_the_gallery(record):
    """The first pair of photos is similar, a later one, in another block of rows, more so."""
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(1500, 64)).astype(np.float32)
    rows[1400] = rows[10] + 0.3 * rng.normal(size=64)
    rows[1401] = rows[11]
    names = {10: "Ann", 11: "Ann", 1400: "Bob", 1401: "Bob"}
    photos = tuple(record(f"{n:04}.jpg", names.get(n, f"p{n:04}"), row) for n, row in enumerate(rows))
    (warning,) = check_people(EnrolledPeople(photos), 0.9)
    assert (warning.people, warning.photos) == (("Ann", "Bob"), ("0011.jpg", "1401.jpg"))
    assert warning.similarity == pytest.approx(1)


def test_of_very_many_similar_people_the_most_similar_are_listed(record):
    rng = np.random.default_rng(7)
    faces = [EAST + 0.05 * rng.normal(size=3) for _ in range(150)]
    faces[140] = faces[70]
    photos = [record(f"{n:03}.jpg", f"p{n:03}", face) for n, face in enumerate(faces)]
    photos += [record("copy.jpg", "p001", faces[0], "000.jpg"), record("far.jpg", "Ann", UP)]
    people = EnrolledPeople(tuple(photos))
    same, *similar, more = check_people(people, 0.9)
    assert (same.kind, same.people) == (WarningKind.SAME_PHOTO, ("p000", "p001"))
    assert len(similar) == MAX_SIMILAR_PAIRS and [one.people for one in similar] == sorted(
        {one.people for one in similar}
    )
    assert ("p070", "p140") in [one.people for one in similar] and same.people not in [one.people for one in similar]
    unit = np.array([face / np.linalg.norm(face) for face in faces])
    every = np.sort((unit @ unit.T)[np.triu_indices(150, 1)])[::-1]
    assert min(one.similarity for one in similar) >= every[MAX_SIMILAR_PAIRS] - 1e-6
    assert (more.kind, more.people) == (WarningKind.SIMILAR_PEOPLE, ()) and "150 people" in more.message


@pytest.mark.parametrize(
    ("person", "embedding", "other"),
    [
        ("Ann", between(NORTH, EAST, 0.85), ("Bob", "b.jpg", 0.85)),
        ("Cid", 3 * between(EAST, UP, 0.5), ("Ann", "a.jpg", 0.5)),
        ("Cid", between(EAST, UP, 0.44), None),
        ("Bob", between(NORTH, EAST, 0.85), None),
    ],
)
def test_a_new_photo_that_is_nearer_to_another_person_gives_a_warning(record, person, embedding, other):
    people = EnrolledPeople((record("a.jpg", "Ann", EAST), record("b.jpg", "Bob", NORTH)))
    warning = resembles_another(people, 0.45, record("new.jpg", person, embedding))
    if other is None:
        assert warning is None
    else:
        assert warning.people == (person, other[0]) and warning.photos == ("new.jpg", other[1])
        assert warning.similarity == pytest.approx(other[2])


def test_in_an_empty_gallery_a_new_photo_resembles_no_one(record):
    assert resembles_another(EnrolledPeople(), 0.45, record("a.jpg", "Ann", EAST)) is None


def test_a_photo_unlike_all_others_of_its_person_gives_a_warning(record):
    similar = [record(f"Ann/{n}.jpg", "Ann", between(EAST, UP, cosine)) for n, cosine in enumerate((1, 0.9, 0.8))]
    wrong = record("Ann/wrong.jpg", "Ann", between(EAST, NORTH, 0.44))
    (warning,) = find_outliers(EnrolledPeople((*similar, wrong)), 0.45)
    assert warning.kind is WarningKind.OUTLIER
    assert (warning.people, warning.photos) == (("Ann",), ("Ann/wrong.jpg",))
    assert warning.similarity == pytest.approx(0.44)
    assert check_people(EnrolledPeople((*similar, wrong)), 0.45) == [], "not at every start"


def test_of_two_photos_alone_neither_is_an_outlier(record):
    photos = (record("a.jpg", "Ann", EAST), record("b.jpg", "Ann", NORTH), record("c.jpg", "Ann"))
    assert find_outliers(EnrolledPeople(photos), 0.45) == []


def test_photos_of_two_people_under_one_name_are_noticed(record):
    two = (record("a.jpg", "Ann", EAST), record("b.jpg", "Ann", NORTH), record("c.jpg", "Bob", UP))
    (warning,) = find_mixed(EnrolledPeople(two), 0.45)
    assert (warning.kind, warning.people, warning.photos) == (WarningKind.MIXED, ("Ann",), ("a.jpg", "b.jpg"))
    more = [record(f"{n}.jpg", "Ann", between(far, UP, 0.9)) for n, far in enumerate((EAST, NORTH))]
    (warning,) = find_mixed(EnrolledPeople((*two, *more)), 0.85)
    assert sorted(warning.photos) == ["0.jpg", "1.jpg", "a.jpg", "b.jpg"]
    alike = (record("a.jpg", "Ann", EAST), record("b.jpg", "Ann", between(EAST, NORTH, 0.5)))
    assert find_mixed(EnrolledPeople(alike), 0.45) == []


def test_a_photo_like_one_other_of_its_person_gives_no_warning(record):
    photos = (record("a.jpg", "Ann", EAST), record("b.jpg", "Ann", between(EAST, NORTH, 0.46)))
    far = record("c.jpg", "Ann", between(EAST, UP, 0.9))
    assert find_outliers(EnrolledPeople((*photos, far)), 0.45) == []


def test_a_person_without_a_usable_photo_gives_a_warning_with_the_reason(record):
    gallery = EnrolledPeople((record("a.jpg", "Ann", EAST), record("b.jpg", "Bob", reason=Reason.TOO_BLURRED)))
    (warning,) = check_people(gallery, 0.3)
    assert warning.kind is WarningKind.NO_USABLE_PHOTO
    assert warning.people == ("Bob",)
    assert "b.jpg: too_blurred" in warning.message


@pytest.mark.parametrize(
    ("reason", "embedding"),
    [
        (Reason.USED, None),
        (Reason.NO_FACE, EAST),
        (Reason.USED, np.array([1.0, np.nan])),
        (Reason.USED, np.zeros(3)),
        (Reason.USED, np.eye(3)),
    ],
)
def test_a_contradictory_finding_is_an_error(reason, embedding):
    with pytest.raises(ValueError, match="PhotoFinding"):
        PhotoFinding(reason, embedding)


def test_embeddings_of_two_models_cannot_be_mixed(record):
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        EnrolledPeople((record("a.jpg", "A", EAST), record("b.jpg", "B", np.ones(2))))


def test_one_photo_compared_with_all_is_enough_to_find_whom_it_resembles(gallery_of):
    rng = np.random.default_rng(3)
    people = gallery_of(*((f"p{number}", rng.normal(size=64)) for number in range(30)), ("twin", np.ones(64)))
    people = gallery_of(*((photo.person, photo.finding.embedding) for photo in people.photos), ("other", np.ones(64)))
    row = next(row for row, photo in enumerate(people.row_photos) if photo.person == "twin")
    for compared in (None, np.array([row])):
        (warning,) = check_people(people, 0.9, compared)
        assert (warning.kind, warning.people) == (WarningKind.SIMILAR_PEOPLE, ("other", "twin"))
    assert check_people(people, 0.9, np.array([row - 1])) == []
