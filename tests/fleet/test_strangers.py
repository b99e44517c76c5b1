"""Strangers at the doors of several devices: planted faces, real trackers, journals and database."""

import dataclasses
import time
import tracemalloc

import numpy as np
import pytest
from planted_visits import MODEL
from shared_doors import exchange
from waiting import PATIENT_S, until

from app.database.connection import connected, listen, rings
from app.database.strangers import MAX_COMPARED, SharedStrangers
from app.fleet.merger import merge
from app.fleet.state import StrangerState
from app.fleet.strangers import StrangerSync
from app.fleet.thread import FleetThread
from app.identity.stranger_rules import without
from app.identity.strangers import Dropped, Merged, Moved, Named


def test_a_stranger_of_one_door_is_known_at_the_next(doors, seen):
    a, b = doors
    assert b.passes("Max") == "stranger-1"
    assert a.passes("Eva") == "stranger-1"
    exchange(a, b)
    assert b.passes("Eva") == "stranger-2"
    exchange(b, a)
    assert seen() == [
        [("door-a", "stranger-1", None), ("door-b", "stranger-2", None)],
        [("door-b", "stranger-1", None)],
    ]
    assert len(a.book.strangers) == 2


def test_what_is_said_twice_is_announced_once(doors, seen, fleet):
    a, b = doors
    a.passes("Eva")
    a.passes("Max")
    exchange(a, b)
    first, second = sorted(StrangerState.read(a.device.folder / ".fleet" / "strangers.json").ids.values())
    with connected(fleet) as connection, connected(fleet) as listening:
        shared = SharedStrangers(connection, a.device.state.device)
        listen(listening, "strangers")
        listen(listening, "end")

        def rung():
            connection.execute('notify "end"')  # after all others, which may need a while
            found = set()
            until(lambda: "end" in found, lambda: found.update(rings(listening, 1)))
            return found - {"end"}

        for said in (
            lambda: shared.decide(first, second, same=False, by_person=True),
            lambda: shared.name(first, "Eva"),
            lambda: shared.leave(99),
        ):
            said()
            rung()
            said()
            assert rung() == set()


def test_who_was_seen_by_both_before_they_heard_of_each_other_is_one_person(doors, seen):
    a, b = doors
    a.passes("Eva")
    b.passes("Max")
    b.passes("Eva")
    exchange(a, b)
    assert seen() == [
        [("door-a", "stranger-1", None), ("door-b", "stranger-2", None)],
        [("door-b", "stranger-1", None)],
    ]
    assert b.passes("Eva") == "stranger-2"
    exchange(a, b)
    assert len(a.book.strangers) == 2


def test_a_name_that_is_given_at_one_door_is_known_at_the_other(doors, seen):
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    number = int(b.passes("Eva").rpartition("-")[2])
    exchange(b, a)
    a.change(Named(1, "Eva"))
    exchange(a, b)
    assert b.book.named == {number: "Eva"}
    assert {name for places in seen() for _, _, name in places} == {"Eva"}
    b.change(Merged(number, number))  # nothing
    exchange(b, a)
    assert a.book.named == {1: "Eva"}


def test_strangers_whom_somebody_made_one_person_are_one_person_everywhere(doors, seen):
    a, b = doors
    a.passes("Eva")
    a.passes("Max")
    exchange(a, b)
    b.passes("Eva")
    b.passes("Max")
    exchange(b, a)
    assert len(seen()) == 2
    a.change(Merged(2, 1))
    exchange(a, b)
    assert len(seen()) == 1
    assert len(b.book.strangers) == 1


def test_two_people_who_were_separated_are_not_made_one_again(doors, seen):
    a, b = doors
    a.passes("Eva")
    a.passes("Eva")
    first, second = a.book.visits_of(1)
    exchange(a, b)
    assert len(seen()) == 1
    a.change(Moved((second.id,), 2))
    exchange(a, b)
    exchange(a, b)
    assert sorted(place for places in seen() for place in places) == [
        ("door-a", "stranger-1", None),
        ("door-a", "stranger-2", None),
    ]
    assert len(seen()) == 2
    assert first.id in {visit.id for visit in a.book.visits_of(1)}


def test_who_is_forgotten_at_the_only_door_is_forgotten_everywhere(doors, seen, rows):
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    assert len(b.book.strangers) == 1
    a.journal.rewrite(lambda book: without(book, [1], []))
    exchange(a, b)
    assert (seen(), b.book.strangers) == ([], [])
    assert rows("select count(*), count(prototype), count(name) from stranger") == [(1, 0, 0)]


def test_who_passes_another_door_just_after_being_forgotten_is_a_new_stranger(doors, seen):
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    number = b.passes("Eva")
    a.journal.rewrite(lambda book: without(book, [1], []))
    a.exchange()
    b.exchange()
    assert seen() == [[("door-b", number, None)]]
    (own,) = [visit for visit in b.book.visits if not visit.startswith("fleet-")]
    assert own in b.book.visits


def test_what_a_door_has_seen_stays_its_own_when_the_next_one_sees_the_person_too(doors):
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    (before,) = b.book.visits.values()
    b.passes("Eva")
    b.passes("Eva")
    exchange(b, a)
    exchange(b, a)
    (own,) = a.book.visits.values()
    (after,) = [visit for visit in b.book.visits.values() if visit.id.startswith("fleet-")]
    assert after.channel == f"door-a/{own.channel}"
    assert (after.first_seen, after.last_seen) == pytest.approx((own.first_seen, own.last_seen), abs=0.01)
    assert np.array_equal(after.embedding, before.embedding)


def test_what_one_door_has_seen_of_a_person_is_forgotten_at_the_other(doors, rows):
    """The other one keeps its own visits, and the person comes from there as a new stranger."""
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    number = b.passes("Eva")
    exchange(b, a)
    (own,) = [visit for visit in b.book.visits.values() if not visit.id.startswith("fleet-")]
    a.journal.rewrite(lambda book: without(book, [1], []))
    a.exchange()
    assert rows("select weight, rtrim(encode(prototype, 'hex'), '0') from stranger") == [(0, "")]
    exchange(b, a)
    assert list(b.book.visits.values()) == [own]
    (foreign,) = a.book.visits.values()
    assert foreign.channel == f"door-b/{own.channel}"
    assert (foreign.first_seen, foreign.last_seen) == pytest.approx((own.first_seen, own.last_seen), abs=0.01)
    assert foreign.embedding @ own.embedding == pytest.approx(1, abs=1e-3)
    assert number == f"stranger-{own.stranger}"


def test_who_did_not_come_is_not_kept_for_longer_than_the_window(doors):
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    assert len(b.book.strangers) == 1
    b.exchange(time.time() + b.device.settings.fleet.strangers_minutes * 60 + 100)
    assert b.book.strangers == []
    a.exchange()
    assert len(a.book.strangers) == 1


def test_strangers_expire_in_the_database(doors, seen, rows):
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    rows("update stranger_at set expires = now() - interval '1 s'")
    with a.device.shared() as shared, connected(a.device.settings.fleet) as connection:
        SharedStrangers(connection, shared._device).expire()
    assert seen() == []
    b.exchange()
    assert b.book.strangers == []


def test_who_comes_again_after_the_database_has_forgotten_is_known_at_the_next_door(doors, seen, rows):
    """The device was away for longer than strangers are kept."""
    a, b = doors

    def expire():
        with a.device.shared() as shared, connected(a.device.settings.fleet) as connection:
            SharedStrangers(connection, shared._device).expire()

    a.passes("Eva")
    exchange(a, b)
    rows("update stranger_at set expires = now() - interval '1 s'")
    expire()
    b.exchange()
    assert b.book.strangers == []
    a.passes("Eva")
    exchange(a, b)
    assert len(b.book.strangers) == 1
    assert seen() == [[("door-a", "stranger-1", None)]]
    rows("update stranger set last_seen = now() - interval '100 days' where gone")
    expire()
    assert rows("select count(*) from stranger") == [(1,)]


def test_a_stranger_who_was_seen_better_during_a_comparison_is_compared_again(doors, rows):
    a, _ = doors
    a.passes("Eva")
    a.exchange()
    rows("update stranger set compared = false")
    with connected(a.device.settings.fleet) as connection:
        strangers = SharedStrangers(connection, a.device.state.device)
        ((one, _, revision),) = strangers.to_compare(MODEL)
        rows("update stranger set last_seen = last_seen + interval '1 s'")
        strangers.compared({one: revision})
        ((again, _, revision),) = strangers.to_compare(MODEL)
        assert again == one
        strangers.compared({one: revision})
        assert strangers.to_compare(MODEL) == []


def test_visits_that_a_device_does_not_keep_are_not_noted_for_ever(doors):
    a, _ = doors
    for _ in range(2):
        a.passes("Eva")
    a.exchange()
    first, second = sorted(a.book.visits)
    a.change(Dropped((first,)))
    a.exchange()
    assert set(StrangerState.read(a.device.folder / ".fleet/strangers.json").visits) == {second}


def test_nothing_is_sent_when_nothing_happened(doors, rows):
    a, b = doors
    a.passes("Eva")
    exchange(a, b)
    before = rows("select revision from stranger_head")
    exchange(a, b)
    assert rows("select revision from stranger_head") == before


def test_new_strangers_are_compared_with_all_others_in_little_memory(fleet):
    prototypes = np.random.default_rng(0).standard_normal((MAX_COMPARED, 16)).astype("<f2")
    prototypes[-1] = prototypes[0]  # the one that was seen last is the one that was seen first
    with connected(fleet) as connection:
        connection.execute("alter table stranger disable trigger numbered")  # so many at once take long with it
        connection.execute(
            "insert into stranger(id, embedder, prototype, weight, looks, first_seen, last_seen, expires, compared, "
            "revision) select gen_random_uuid(), 'many', made, 1, 2, now(), now() - make_interval(secs => n), "
            "now() + interval '1 day', n > 1000, n from unnest(%s::bytea[]) with ordinality as one(made, n)",
            [[one.tobytes() for one in prototypes]],
        )
        connection.execute("alter table stranger enable trigger numbered")
        shared = SharedStrangers(connection, "")
        tracemalloc.start()
        try:
            assert merge(shared, "many", 0.999) == 1
            assert tracemalloc.get_traced_memory()[1] < 30e6
        finally:
            tracemalloc.stop()
        assert connection.execute("select count(*) from stranger where merged_into is not null").fetchone() == (1,)
        assert shared.to_compare("many") == []


def test_strangers_of_another_embedder_stay_apart(doors, seen):
    a, b = doors
    b.device.gallery.recognizer = dataclasses.replace(b.device.recognizer, embedder_id="another")
    b.strangers = StrangerSync(b.device.settings, b.device.gallery)
    a.passes("Eva")
    exchange(a, b)
    assert b.book.strangers == []


def test_the_last_visit_of_a_run_is_sent_at_its_end(doors, seen, monkeypatch):
    monkeypatch.setattr("app.fleet.thread._LOOK_EVERY_S", 2.0)
    monkeypatch.setattr("app.fleet.thread._JOIN_S", PATIENT_S)
    a = doors[0]
    thread = FleetThread(a.device.settings, a.device.gallery)
    thread.start()
    until(lambda: (a.device.folder / ".fleet/strangers.json").exists())
    assert a.passes("Eva") == "stranger-1"
    thread.close()
    assert seen() == [[("door-a", "stranger-1", None)]]


def test_a_run_that_ends_before_its_first_exchange_sends_its_visit(doors, seen, rows, monkeypatch):
    monkeypatch.setattr("app.fleet.thread._JOIN_S", 0.0)
    a = doors[0]
    thread = FleetThread(a.device.settings, a.device.gallery)
    connections = "select 1 from pg_stat_activity where application_name = 'face-recognition door-a'"
    with a.device.sync.folder.locked():  # the exchange waits
        thread.start()
        until(lambda: rows(connections))
        a.passes("Eva")
        thread.close()
    until(lambda: not rows(connections))
    assert seen() == [[("door-a", "stranger-1", None)]]


def test_a_stranger_at_a_door_is_known_at_the_next_one_while_both_run(doors):
    """The threads of two devices; what a run adds is that it reads its journal every two seconds."""
    a, b = doors
    threads = [FleetThread(door.device.settings, door.device.gallery) for door in doors]
    try:
        for thread in threads:
            thread.start()
        assert a.passes("Eva") == "stranger-1"
        until(lambda: len(b.book.strangers) == 1)
        assert b.passes("Eva") == "stranger-1"
        assert len(b.book.visits_of(1)) == 2
    finally:
        for thread in threads:
            thread.close()
