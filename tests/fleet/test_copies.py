"""Folders that were copied or restored, and databases that were restored from a backup."""

import contextlib
import shutil

import pytest
from shared_devices import agree
from shared_doors import exchange

from app.database.connection import connected
from app.database.devices import greet
from app.database.strangers import SharedStrangers
from app.identity.stranger_rules import without
from app.identity.strangers import Moved


def test_a_folder_that_is_lost_is_filled_again(two, photo):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    shutil.rmtree(a.folder)
    a.folder.mkdir()
    a.open()
    agree(a, b)
    assert a.files() == b.files() == [("Ann", photo(0))]


def test_another_database_gets_everything_and_deletes_nothing(two, photo, rows):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    rows("delete from photo", "delete from person", "update head set id = gen_random_uuid(), revision = 0")
    agree(a, b)
    assert a.files() == b.files() == [("Ann", photo(0))]
    assert rows("select count(*) from photo") == [(1,)]


def test_an_old_backup_of_the_database_deletes_no_photo_that_was_added_since(two, photo, rows):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    ((backup,),) = rows("select revision from head")
    a.put("Ann/2.jpg", photo(1))
    agree(a, b)
    rows(f"delete from photo where revision > {backup}", f"update head set revision = {backup}")
    agree(a, b)
    assert a.files() == b.files() == [("Ann", content) for content in sorted([photo(0), photo(1)])]


@pytest.mark.parametrize("first", ["original", "copy"])
def test_a_copied_folder_becomes_a_device_of_its_own(two, device, photo, rows, first, caplog):
    """As with a memory card: whichever comes second gets a new id, and nothing is lost or overwritten."""
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    a.put("Eva/2.jpg", photo(2))
    agree(a, b)
    copy = device("copy")
    shutil.copytree(a.folder, copy.folder, dirs_exist_ok=True)
    copy.open()
    assert copy.state.device == a.state.device
    one, other = (a, copy) if first == "original" else (copy, a)
    one.open()  # started again
    one.exchange()
    one.put("Ida/3.jpg", photo(1))
    other.delete("Eva/2.jpg")
    other.exchange()
    agree(one, other, b)
    assert copy.state.device != a.state.device
    assert caplog.text.count("has used the id") == 1
    assert a.files() == b.files() == copy.files() == sorted([("Ann", photo(0)), ("Ida", photo(1))])
    assert sorted(rows("select name from device")) == [("a",), ("b",), ("copy",)]
    ids = {each.state.device for each in (a, b, copy)}
    for each in (a, b, copy):
        each.open()
        each.exchange()
    assert {each.state.device for each in (a, b, copy)} == ids


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_folder_that_is_copied_while_a_turn_is_drawn_becomes_a_device_of_its_own(
    two, device, photo, monkeypatch, is_killed
):
    a, b = two
    a.put("Ann/1.jpg", photo(0))
    agree(a, b)
    copy = device("copy")

    class Killed(BaseException):
        pass

    def copy_first(*facts):
        shutil.copytree(a.folder, copy.folder, dirs_exist_ok=True)
        if is_killed:
            raise Killed
        return greet(*facts)

    a.open()
    with monkeypatch.context() as context, pytest.raises(Killed) if is_killed else contextlib.nullcontext():
        context.setattr("app.fleet.sync.greet", copy_first)
        a.exchange()
    before = a.state.device
    assert copy.state.device == before
    for one in (copy, a) if is_killed else (copy,):
        one.open()
    agree(copy, a, b)
    assert (copy.state.device == before) + (a.state.device == before) == 1
    assert a.files() == b.files() == copy.files() == [("Ann", photo(0))]


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_device_that_was_killed_while_it_drew_a_turn_keeps_its_id(two, photo, monkeypatch, is_stored):
    a, _ = two
    a.put("Ann/1.jpg", photo(0))
    a.exchange()
    before = a.state.device

    class Killed(BaseException):
        pass

    def kill(*facts):
        if is_stored:
            greet(*facts)
        raise Killed

    a.open()
    with monkeypatch.context() as context, pytest.raises(Killed):
        context.setattr("app.fleet.sync.greet", kill)
        a.exchange()
    a.open()
    a.exchange()
    assert a.state.device == before


@pytest.fixture
def backup(postgres, database):
    """Keeps a copy of the database; the result restores it."""
    name = database.rpartition("/")[2]

    def keep():
        postgres.sql("postgres", f"create database {name}_backup template {name}")

        def restore():
            postgres.sql("postgres", f"drop database {name}", f"alter database {name}_backup rename to {name}")

        return restore

    return keep


@pytest.mark.parametrize("is_said", [True, False])
def test_a_backup_of_the_database_is_brought_up_to_date_by_all_devices(doors, seen, rows, backup, is_said):
    a, b = doors
    a.passes("Eva")
    a.passes("Tom")
    b.passes("Tom")
    exchange(a, b)
    restore = backup()
    a.passes("Max")
    a.journal.rewrite(lambda book: without(book, [1], []))
    exchange(a, b)
    wanted, numbers = seen(), (a.book.strangers, b.book.strangers)
    restore()
    assert seen() != wanted
    if is_said:
        rows("update head set id = gen_random_uuid()")
    exchange(a, b)
    assert seen() == wanted
    assert [places for places in wanted if ("door-a", "stranger-1", None) in places] == []
    assert (a.book.strangers, b.book.strangers) == numbers


def test_a_device_whose_state_of_strangers_is_lost_counts_nobody_twice(doors, seen):
    a, b = doors
    a.passes("Eva")
    a.passes("Max")
    exchange(a, b)
    b.passes("Eva")
    exchange(a, b)
    wanted, numbers = seen(), (a.book.strangers, b.book.strangers)
    (b.device.folder / ".fleet" / "strangers.json").write_text("{}")
    exchange(a, b)
    exchange(a, b)
    assert (a.book.strangers, b.book.strangers) == numbers
    assert seen() == wanted


def test_a_separation_is_in_a_restored_database_too(doors, seen, backup):
    a, b = doors
    a.passes("Eva")
    a.passes("Eva")
    exchange(a, b)
    restore = backup()
    a.change(Moved((a.book.visits_of(1)[1].id,), 2))
    exchange(a, b)
    restore()
    exchange(a, b)
    exchange(a, b)
    assert len(seen()) == 2


@pytest.mark.parametrize("is_started_again", [True, False])
def test_who_was_forgotten_is_forgotten_in_a_folder_that_is_restored(doors, seen, tmp_path, is_started_again):
    a, b = doors
    a.passes("Eva")
    a.passes("Max")
    exchange(a, b)
    folder = a.device.folder
    shutil.copytree(folder, tmp_path / "backup")
    a.journal.rewrite(lambda book: without(book, [1], []))
    if is_started_again:
        a.device.open()
    exchange(a, b)
    before = a.device.state.device
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    a.device.open()
    a.open()
    a.passes("Tom")
    exchange(a, b)
    assert (a.device.state.device == before) is not is_started_again
    assert a.book.strangers == [2, 3]
    assert {place for places in seen() for place in places} == {
        ("door-a", "stranger-2", None),
        ("door-a", "stranger-3", None),
    }
    assert len(b.book.strangers) == 2


def test_a_device_that_was_removed_and_comes_back_sends_its_strangers_again(doors, seen, rows):
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    with connected(a.device.settings.fleet) as connection:
        assert SharedStrangers(connection, a.device.state.device).remove_device() == 1
    b.exchange()
    assert (seen(), b.book.strangers) == ([], [])
    exchange(a, b)
    assert seen() == [[("door-a", "stranger-1", None)]]
    assert (len(a.book.strangers), len(b.book.strangers)) == (1, 1)
