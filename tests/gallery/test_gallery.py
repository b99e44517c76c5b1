import numpy as np
import pytest

from app.gallery.people import (
    Gallery,
    PhotoFinding,
    PhotoStatus,
    WarningKind,
    resembles_another,
    unlike_their_own,
    warnings,
)

EAST, NORTH, UP = np.eye(3)


def between(one, other, cosine):
    """A unit vector with this cosine to `one`, in the plane of both."""
    return cosine * one + np.sqrt(1 - cosine**2) * other


def test_an_empty_gallery_has_nobody_and_nothing_to_warn_of():
    gallery = Gallery()
    assert gallery.people == ()
    assert gallery.embeddings.shape[0] == 0
    assert warnings(gallery, 0.3) == ()


def test_photos_become_rows_of_unit_length_and_unusable_ones_do_not(record):
    gallery = Gallery((record("b.jpg", "B", 5 * NORTH), record("a.jpg", "A", EAST), record("c.jpg", "C")))
    assert gallery.people == ("A", "B", "C")
    assert [photo.path for photo in gallery.row_photos] == ["a.jpg", "b.jpg"]
    np.testing.assert_allclose(gallery.embeddings, [EAST, NORTH])
    assert gallery.embeddings.dtype == np.float32


def test_the_same_photo_twice_under_one_name_is_one_row_and_no_warning(record):
    gallery = Gallery((record("A_1.jpg", "A", EAST, "same"), record("A_2.jpg", "A", EAST, "same")))
    assert len(gallery.photos) == 2
    assert [photo.path for photo in gallery.row_photos] == ["A_1.jpg"]
    assert warnings(gallery, 0.3) == ()


def test_the_same_photo_under_two_names_is_warned_of_once_with_both_names_and_photos(record):
    gallery = Gallery((record("a.jpg", "Ann", EAST, "same"), record("b.jpg", "Bob", EAST, "same")))
    (warning,) = warnings(gallery, 0.3)
    assert warning.kind is WarningKind.SAME_PHOTO
    assert warning.people == ("Ann", "Bob")
    assert all(word in warning.message for word in ("a.jpg", "b.jpg", "Ann", "Bob"))


@pytest.mark.parametrize("swapped", [False, True])
def test_people_nearer_than_the_threshold_are_warned_of_by_their_nearest_photos(record, swapped):
    photos = [
        record("a1.jpg", "Ann", UP),
        record("a2.jpg", "Ann", EAST),
        record("b1.jpg", "Bob", between(EAST, NORTH, 0.5)),
        record("b2.jpg", "Bob", between(EAST, NORTH, 0.6)),
        record("c.jpg", "Cid", -EAST),
    ]
    (warning,) = warnings(Gallery(tuple(photos[::-1] if swapped else photos)), 0.45)
    assert warning.kind is WarningKind.PEOPLE_ALIKE
    assert warning.people == ("Ann", "Bob")
    assert warning.photos == ("a2.jpg", "b2.jpg")
    assert "0.60" in warning.message


def test_people_farther_than_the_threshold_are_not_warned_of(record):
    gallery = Gallery((record("a.jpg", "Ann", EAST), record("b.jpg", "Bob", between(EAST, NORTH, 0.44))))
    assert warnings(gallery, 0.45) == ()


def test_alike_people_are_found_across_a_large_gallery(record):
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(2500, 64))
    rows[2400] = rows[10]
    rows[2300] = rows[1500]
    gallery = Gallery(tuple(record(f"{n:04}.jpg", f"p{n:04}", row) for n, row in enumerate(rows)))
    assert [warning.people for warning in warnings(gallery, 0.9)] == [
        ("p0010", "p2400"),
        ("p1500", "p2300"),
    ]


@pytest.mark.parametrize(
    ("person", "embedding", "told"),
    [
        ("Ann", between(NORTH, EAST, 0.85), "looks like Bob: a similarity of 0.85 with b.jpg, enough for that name"),
        ("Cid", 3 * between(EAST, UP, 0.5), "looks like Ann: a similarity of 0.50 with a.jpg, enough for that name"),
        ("Cid", between(EAST, UP, 0.44), ""),
        ("Bob", between(NORTH, EAST, 0.85), ""),
    ],
)
def test_a_new_photo_nearer_to_somebody_else_is_doubtful(record, person, embedding, told):
    gallery = Gallery((record("a.jpg", "Ann", EAST), record("b.jpg", "Bob", NORTH)))
    doubt = resembles_another(gallery, 0.45, person, embedding)
    assert doubt.partition(";")[0] == told
    assert not told or f"if it does not show {person}, delete it" in doubt


def test_a_new_photo_like_nobody_in_an_empty_gallery_is_beyond_doubt():
    assert resembles_another(Gallery(), 0.45, "Ann", EAST) == ""


def test_a_photo_unlike_all_others_of_its_person_is_warned_of(record):
    alike = [record(f"Ann/{n}.jpg", "Ann", between(EAST, UP, cosine)) for n, cosine in enumerate((1, 0.9, 0.8))]
    wrong = record("Ann/wrong.jpg", "Ann", between(EAST, NORTH, 0.44))
    (warning,) = unlike_their_own(Gallery((*alike, wrong)), 0.45)
    assert warning.kind is WarningKind.UNLIKE_ITS_OWN
    assert (warning.people, warning.photos) == (("Ann",), ("Ann/wrong.jpg",))
    assert warning.message.startswith("Ann/wrong.jpg resembles no other photo of Ann: a similarity of 0.44 at best")
    assert "look whether it shows Ann; if not, delete it" in warning.message
    assert warnings(Gallery((*alike, wrong)), 0.45) == (), "a start says nothing of it"


def test_two_photos_alone_do_not_tell_which_of_them_is_wrong(record):
    photos = (record("a.jpg", "Ann", EAST), record("b.jpg", "Ann", NORTH), record("c.jpg", "Ann"))
    assert unlike_their_own(Gallery(photos), 0.45) == []


def test_a_photo_like_one_other_of_its_person_is_not_warned_of(record):
    photos = (record("a.jpg", "Ann", EAST), record("b.jpg", "Ann", between(EAST, NORTH, 0.46)))
    far = record("c.jpg", "Ann", between(EAST, UP, 0.9))
    assert unlike_their_own(Gallery((*photos, far)), 0.45) == []


def test_a_person_without_a_usable_photo_is_warned_of_with_the_reason(record):
    gallery = Gallery((record("a.jpg", "Ann", EAST), record("b.jpg", "Bob", status=PhotoStatus.TOO_BLURRED)))
    (warning,) = warnings(gallery, 0.3)
    assert warning.kind is WarningKind.NO_USABLE_PHOTO
    assert warning.people == ("Bob",)
    assert "b.jpg: too_blurred" in warning.message


@pytest.mark.parametrize(
    ("status", "embedding"),
    [
        (PhotoStatus.KEPT, None),
        (PhotoStatus.NO_FACE, EAST),
        (PhotoStatus.KEPT, np.array([1.0, np.nan])),
        (PhotoStatus.KEPT, np.zeros(3)),
        (PhotoStatus.KEPT, np.eye(3)),
    ],
)
def test_a_finding_that_contradicts_itself_cannot_be_made(status, embedding):
    with pytest.raises(ValueError, match="PhotoFinding"):
        PhotoFinding(status, embedding)


def test_embeddings_of_two_models_cannot_be_mixed(record):
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        Gallery((record("a.jpg", "A", EAST), record("b.jpg", "B", np.ones(2))))
