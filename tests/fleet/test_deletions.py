"""Deletions win, whatever a device has or cannot do."""

import contextlib
import errno
import hashlib
from pathlib import Path

import pytest
from shared_devices import agree

from app.database.connection import connected
from app.fleet.decisions import allow_again


@contextlib.contextmanager
def undeletable(file, method="unlink"):
    """Meanwhile this file cannot be deleted, or read."""
    original = getattr(Path, method)

    def refused(path, *rest, **options):
        if path == file:
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(path, *rest, **options)

    with pytest.MonkeyPatch.context() as context:
        context.setattr(Path, method, refused)
        yield


@pytest.fixture
def forget(two, rows):
    """Makes all deletions older than they are remembered."""

    def run():
        rows("update photo set changed_at = now() - interval '100 days' where gone")
        rows("update person set changed_at = now() - interval '100 days' where gone")
        with two[0].shared() as shared:
            shared.forget_old_deletions()

    return run


def test_a_deletion_wins_over_a_late_copy_of_the_photo(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.exchange()
    b.put("Ann/copy.jpg", photo(0))  # b has not heard of it
    a.delete("Ann/1.jpg")
    a.exchange()
    agree(b, a)
    assert (a.files(), b.files()) == ([], [])
    with b.shared() as shared:
        assert [(row.kind, row.mine) for row in shared.conflicts()] == [("deleted", "copy.jpg")]


def test_a_deleted_person_wins_over_a_late_photo_and_over_a_late_name(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    b.put("Ann/2.jpg", photo(1))
    a.delete("Ann/1.jpg")
    agree(a, b)
    assert (a.files(), b.files()) == ([], [])


def test_a_deleted_photo_can_be_added_again_on_purpose(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    a.delete("Ann/1.jpg")
    agree(a, b)
    b.put("Ann/1.jpg", photo(0))  # refused
    b.exchange()
    with b.shared() as shared:
        assert [row.kind for row in shared.conflicts()] == ["deleted"]
        assert shared.allow_again(hashlib.sha256(photo(0)).hexdigest())
    b.put("Ann/1.jpg", photo(0))
    agree(b, a)
    with b.shared() as shared:
        assert shared.conflicts() == []
    assert a.files() == b.files() == [("Ann", photo(0))]


def test_the_device_that_deleted_a_photo_may_undo_that(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    a.delete("Ann/1.jpg")
    agree(a, b)
    b.put("Eva/1.jpg", photo(2))
    b.put("Ann/1.jpg", photo(0))  # refused
    b.exchange()
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    assert a.files() == b.files() == [("Ann", photo(0)), ("Eva", photo(2))]
    with b.shared() as shared:
        assert shared.conflicts() == []


def test_a_device_that_was_away_for_longer_than_deletions_are_remembered_deletes_what_is_gone(two, photo, rows, forget):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    agree(a, b)
    a.delete("Ann/1.jpg")
    a.exchange()
    forget()
    assert rows("select count(*) from photo") == [(1,)]
    agree(b, a)
    assert b.people() == ["Eva"]


def test_a_photo_that_cannot_be_deleted_here_does_not_stop_the_exchange(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    agree(a, b)
    a.delete("Ann/1.jpg")
    a.put("Ida/1.jpg", photo(1))
    a.exchange()
    with undeletable(b.folder / "Ann/1.jpg"):
        for _ in range(2):
            assert b.exchange().problems
        assert b.people() == ["Ann", "Eva", "Ida"]
        with b.shared() as shared:
            assert shared.conflicts() == []  # nothing was added there
    agree(a, b)
    assert a.people() == b.people() == ["Eva", "Ida"]


@pytest.mark.parametrize("is_away", [True, False])
@pytest.mark.parametrize("method", ["unlink", "read_bytes"])
def test_a_photo_that_cannot_be_deleted_here_is_not_shared_again_when_the_deletion_is_forgotten(
    two, photo, rows, forget, is_away, method
):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    agree(a, b)
    a.delete("Ann/1.jpg")
    a.exchange()
    with undeletable(b.folder / "Ann/1.jpg", method):
        if not is_away:
            assert b.exchange().problems
        forget()
        for _ in range(3):
            assert b.exchange().problems
    assert rows("select count(*) from photo") == [(1,)]
    agree(b, a)
    assert a.people() == b.people() == ["Eva"]
    assert b.state.waiting == {}


def test_a_late_copy_that_cannot_be_deleted_here_is_not_shared_when_the_deletion_is_forgotten(two, photo, rows, forget):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    agree(a, b)
    a.delete("Ann/1.jpg")
    b.put("Ann/2.jpg", photo(1))
    a.exchange()
    with undeletable(b.folder / "Ann/2.jpg"):
        assert b.exchange().problems
        forget()
        assert b.exchange().problems
    assert rows("select count(*) from photo") == [(1,)]
    agree(b, a)
    assert a.people() == b.people() == ["Eva"]


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_photo_that_could_not_be_deleted_here_and_was_added_again_stays_everywhere(two, photo, is_kept):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    agree(a, b)
    a.delete("Ann/1.jpg")
    a.exchange()
    with undeletable(b.folder / "Ann/1.jpg"):
        assert b.exchange().problems
    a.put("Ann/1.jpg", photo(0))
    a.exchange()
    if not is_kept:
        b.delete("Ann/1.jpg")
    agree(b, a)
    assert a.people() == b.people() == ["Ann", "Eva"]


def test_a_photo_that_could_not_be_deleted_here_can_be_added_again_on_purpose(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    agree(a, b)
    a.delete("Ann/1.jpg")
    a.exchange()
    with undeletable(b.folder / "Ann/1.jpg"):
        assert b.exchange().problems
    with connected(b.settings.fleet) as connection:
        allow_again(b.folder, connection, [hashlib.sha256(photo(0)).hexdigest()])
    agree(b, a)
    assert a.people() == b.people() == ["Ann", "Eva"]


def test_a_photo_that_could_not_be_written_and_whose_deletion_is_forgotten_is_not_waited_for(two, photo, rows, forget):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    a.exchange()
    rows("update photo set data = 'x' where person = (select id from person where name = 'Ann')")
    assert b.exchange().problems
    a.delete("Ann/1.jpg")
    a.exchange()
    forget()
    agree(b, a)
    assert b.state.waiting == {}
    assert b.people() == ["Eva"]
