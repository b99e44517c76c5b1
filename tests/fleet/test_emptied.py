"""A folder that lost most of its photos: nothing is deleted elsewhere, it is said, and they can be fetched again."""

import shutil

import pytest
from shared_devices import agree

from app.fleet.folder import missing_photos
from app.tools.doctor.checks import Status
from app.tools.doctor.fleet import check_fleet


@pytest.fixture
def emptied(two, photo):
    a, b = two
    for number in range(12):
        a.put(f"P{number}/1.jpg", photo(number))
    agree(a, b)
    assert [missing_photos(one.folder) for one in two] == [0, 0]
    for path in b.folder.glob("P*"):
        shutil.rmtree(path)
    return a, b


def test_missing_photos_are_counted_before_and_after_an_exchange(emptied):
    a, b = emptied
    for _ in range(2):
        assert missing_photos(b.folder) == 12
        found = check_fleet(b.settings)
        assert Status.WARNING in [one.status for one in found] and "12 photos" in found[0].text
        assert b.exchange().held_back == 12
    assert missing_photos(a.folder) == 0


def test_photos_that_were_moved_are_not_missing(emptied, photo):
    b = emptied[1]
    for number in range(12):
        b.put(f"Q{number}/other.jpg", photo(number))
    assert missing_photos(b.folder) == 0


def test_missing_photos_are_fetched_again(emptied):
    a, b = emptied
    a.delete("P3/1.jpg")
    a.exchange()
    b.exchange()
    assert b.exchange().held_back == 11
    done = b.exchange(restore_missing=True)
    assert (done.sent, done.received, done.is_complete) == (0, 11, True)
    agree(a, b)
    assert a.files() == b.files() and len(a.files()) == 11
    assert (missing_photos(b.folder), b.state.waiting) == (0, {})


def test_a_few_missing_photos_are_fetched_again_instead_of_being_deleted(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    agree(a, b)
    b.delete("Ann/1.jpg")
    b.put("Ida/1.jpg", photo(6))
    done = b.exchange(restore_missing=True)
    assert (done.sent, done.received) == (1, 1)
    agree(a, b)
    assert a.people() == b.people() == ["Ann", "Eva", "Ida"]


def test_a_missing_photo_that_is_another_persons_by_now_is_fetched_for_that_person(emptied):
    a, b = emptied
    b.exchange()
    a.rename("P1", "Ann")
    a.move("P2/1.jpg", "Eva")
    a.exchange()
    assert b.exchange(restore_missing=True).is_complete
    assert b.files() == a.files()
