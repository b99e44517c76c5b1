"""Devices and commands that change the same at the same moment, devices that are killed, and wrong clocks."""

import threading
import time

import pytest
from shared_devices import agree
from shared_doors import exchange
from stranger_stage import StrangerStage
from waiting import until

from app.database.connection import connect, connected
from app.database.gallery import SharedGallery
from app.database.strangers import SharedStrangers
from app.fleet.decisions import decide
from app.gallery.stranger_actions import rename_visits
from app.gallery.stranger_journal import StrangerJournal
from app.gallery.strangers import strangers_folder
from app.identity.stranger_rules import without
from app.identity.strangers import Named


def revisions(rows):
    return rows("select revision from stranger_head"), rows("select revision from head")


def test_two_names_of_a_stranger_are_not_sent_for_ever(doors, rows):
    """Each device keeps its own; whoever hears of the other one does not answer with its own again."""
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    number = int(b.passes("Eva").rpartition("-")[2])
    exchange(a, b)
    a.change(Named(1, "Eva"))
    b.change(Named(number, "Eve"))
    exchange(a, b)
    before = revisions(rows)
    exchange(a, b)
    assert revisions(rows) == before
    assert (a.book.named, b.book.named) == ({1: "Eva"}, {number: "Eve"})
    assert rows("select distinct name from stranger") == [("Eve",)]


def test_a_stranger_with_a_name_is_renamed_with_the_person_everywhere(doors, photo, rows):
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    number = int(b.passes("Eva").rpartition("-")[2])
    a.device.put("Eva/1.jpg", photo(0))
    a.change(Named(1, "Eva"))
    exchange(a, b)
    assert b.book.named == {number: "Eva"}
    a.device.rename("Eva", "Eva Maria")
    rename_visits(a.device.settings, "Eva", "Eva Maria")
    exchange(a, b)
    exchange(a, b)
    before = revisions(rows)
    exchange(a, b)
    assert revisions(rows) == before
    assert (a.book.named, b.book.named) == ({1: "Eva Maria"}, {number: "Eva Maria"})
    assert {visit.name for visit in b.book.visits.values()} == {"Eva Maria"}


def test_visits_get_the_name_of_another_device_that_somebody_has_kept(doors, photo):
    a, b = doors
    a.device.put("Ann/1.jpg", photo(0))
    exchange(a, b)
    b.passes("Eva")
    b.change(Named(1, "Ann"))
    for one, name in ((a, "Anna"), (b, "Annie")):
        one.device.rename("Ann", name)
        rename_visits(one.device.settings, "Ann", name)
    exchange(a, b)
    decide(b.device.settings, 1, keep_mine=False)
    assert b.device.people() == ["Anna"]
    assert {visit.name for visit in b.book.visits.values()} == {"Anna"}


def test_looks_that_a_device_took_away_are_sent_again_by_another_that_saw_the_person_long_ago(doors, rows):
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    b.passes("Eva")
    exchange(a, b)
    rows("update stranger set last_seen = last_seen - interval '3 days'")
    rows("update stranger_at set last_seen = last_seen - interval '3 days'")
    exchange(a, b)
    a.journal.rewrite(lambda book: without(book, [1], []))
    a.exchange()
    assert rows("select weight from stranger") == [(0,)]
    b.exchange()
    ((weight,),) = rows("select weight from stranger")
    assert weight > 0


class Killed(BaseException):
    pass


@pytest.fixture
def killed_after(monkeypatch):
    """Ends an exchange of a device as soon as this method has returned."""

    def exchange_and_die(door, owner, name):
        done = getattr(owner, name)

        def run_and_die(*facts):
            done(*facts)
            raise Killed

        with monkeypatch.context() as context, pytest.raises(Killed):
            context.setattr(owner, name, run_and_die)
            door.exchange()

    return exchange_and_die


def test_who_was_sent_by_a_device_that_was_killed_is_forgotten_with_it(doors, rows, killed_after):
    a, _ = doors
    a.passes("Eva")
    killed_after(a, SharedStrangers, "seen")
    a.journal.rewrite(lambda book: without(book, [1], []))
    a.exchange()
    assert rows("select count(*), count(prototype) from stranger") == [(1, 0)]


@pytest.mark.parametrize("moment", ["a stranger was sent", "a stranger came"])
def test_a_stranger_is_not_doubled_when_a_device_is_killed_in_an_exchange(doors, rows, killed_after, moment):
    a, b = doors
    a.passes("Eva")
    if moment == "a stranger was sent":
        killed_after(a, SharedStrangers, "seen")
        exchange(a, b)
        b.passes("Eva")
    else:
        a.exchange()
        killed_after(b, StrangerJournal, "update")
        assert b.passes("Eva") == "stranger-1"
    exchange(a, b)
    exchange(a, b)
    assert rows("select count(*) from stranger") == [(1,)]
    assert b.book.strangers == [1]


def test_the_removal_of_a_device_changes_no_photo_and_makes_no_conflict(two, photo, rows):
    """A change that another device has made offline is still based on what is in the database."""
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    agree(a, b)
    before = revisions(rows)
    b.rename("Ann", "Anna")
    b.move("Eva/1.jpg", "Ida")
    with connected(a.settings.fleet) as connection:
        SharedStrangers(connection, a.state.device).remove_device()
    assert revisions(rows) == before
    assert b.exchange().conflicts == 0
    agree(a, b)
    assert a.files() == b.files() == sorted([("Anna", photo(0)), ("Ida", photo(2))])


def test_a_device_is_removed_while_it_changes_the_gallery(two, photo, rows):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    own = a.state.device
    with connect(a.settings.fleet) as changing, connect(a.settings.fleet) as removing:
        with changing.transaction():
            changing.execute("select from head for update")
            thread = threading.Thread(target=SharedStrangers(removing, own).remove_device)
            thread.start()
            until(lambda: rows("select count(*) from pg_locks where not granted") == [(1,)])
            changing.execute("update photo set changed_by = %s, changed_at = now()", [own])
            SharedGallery(changing, own).notice("photo", "1.jpg")
        thread.join()
    assert rows("select count(*) from device where id = '" + own + "'") == [(0,)]


def test_deletions_that_are_forgotten_during_an_exchange_are_not_missed(two, photo, rows, monkeypatch):
    """Of a device that was away for nearly as long as deletions are remembered."""
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/1.jpg", photo(2))
    agree(a, b)
    a.delete("Ann/1.jpg")
    a.exchange()
    rows("update photo set changed_at = now() - interval '100 days' where gone")
    rows("update person set changed_at = now() - interval '100 days' where gone")
    read = SharedGallery.changes

    def forget_and_read(*facts):
        with a.shared() as shared:
            shared.forget_old_deletions()
        return read(*facts)

    with monkeypatch.context() as context:
        context.setattr(SharedGallery, "changes", forget_and_read)
        b.exchange()
    b.exchange()
    assert b.files() == [("Eva", photo(2))]


def test_a_device_whose_clock_is_ahead_for_a_while_hears_of_strangers(doors, monkeypatch):
    a, b = doors
    a.passes("Eva")
    a.exchange()
    with monkeypatch.context() as context:
        context.setattr(time, "time", lambda now=time.time: now() + 7 * 86400)
        b.exchange()
    assert b.passes("Eva") == "stranger-1"
    b.exchange()
    assert len(b.book.visits) == 2


def test_who_was_seen_with_a_clock_that_is_ahead_is_not_kept_for_longer(doors, rows):
    a, b = doors
    a.stage = StrangerStage(strangers_folder(a.device.settings), start=time.time() + 400 * 86400)
    a.passes("Eva")
    exchange(a, b)
    kept = "select bool_and(last_seen <= now() and expires <= now() + interval '{} days') from {}"
    for table in ("stranger", "stranger_at"):
        assert rows(kept.format(a.device.settings.strangers.keep_days, table)) == [(True,)]
    b.exchange(time.time() + b.device.settings.fleet.strangers_minutes * 60 + 100)
    assert b.book.strangers == []
