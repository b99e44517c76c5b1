"""Who reads the shared gallery up to a revision has missed nothing before it."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import until

from app.database.connection import connect, connected, listen, rings
from app.database.gallery import CHANNEL, SharedGallery
from app.database.ids import new_id
from app.database.schema import migrate
from app.settings import FleetSettings

ADD = "insert into person(id, name) values (%s, %s)"


@pytest.fixture
def fleet(database):
    settings = FleetSettings(database=database)
    with connected(settings) as connection:
        migrate(connection)
    return settings


def waits_for_a_lock(connection):
    return connection.execute("select count(*) from pg_stat_activity where wait_event_type = 'Lock'").fetchone()[0] > 0


def test_a_later_revision_is_never_visible_before_an_earlier_one(fleet):
    """With numbers of a sequence, the second transaction would commit 2 while 1 is not visible yet, and a reader who
    has seen 2 would never see 1."""
    with connect(fleet) as first, connect(fleet) as second, connect(fleet) as reading:
        reader = SharedGallery(reading, new_id())
        with first.transaction():
            first.execute(ADD, [new_id(), "first"])
            other = threading.Thread(target=second.execute, args=(ADD, [new_id(), "second"]))
            other.start()
            until(lambda: waits_for_a_lock(reading))
            people, _, seen, _ = reader.changes(0)
            assert (people, seen) == ([], 0)
        other.join()
        people = reader.changes(seen).people
        assert [person.name for person in people] == ["first", "second"]


def test_a_reader_that_comes_and_goes_has_what_is_in_the_table(fleet):
    """Four writers, of whose transactions some are slow and some are rolled back."""
    ids = [new_id() for _ in range(12)]
    with connect(fleet) as connection:
        for number, person in enumerate(ids):
            connection.execute(ADD, [person, f"person {number}"])

    def write(seed):
        chance = random.Random(seed)
        with connect(fleet) as connection:
            for number in range(40):
                with connection.transaction(force_rollback=chance.random() < 0.25):
                    connection.execute(
                        "update person set name = %s where id = %s", [f"{seed}-{number}", chance.choice(ids)]
                    )

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, seed) for seed in range(4)]
        mirror, seen, is_last = {}, 0, False
        while not is_last:
            is_last = all(writer.done() for writer in writers)
            with connect(fleet) as connection:
                people, _, seen, _ = SharedGallery(connection, new_id()).changes(seen)
            mirror.update({person.id: person.name for person in people})
    for writer in writers:
        writer.result()
    with connect(fleet) as connection:
        table = dict(connection.execute("select id::text, name from person").fetchall())
    assert mirror == table


def test_a_change_rings_the_bell_of_those_who_listen(fleet):
    with connect(fleet) as listening, connect(fleet) as writing:
        listen(listening, CHANNEL)
        assert rings(listening, 0.01) == set()
        writing.execute(ADD, [new_id(), "Ann"])
        until(lambda: rings(listening, 1) == {CHANNEL})


def test_ids_sort_by_the_time_when_they_were_made():
    import time

    first = new_id()
    made = int(time.time() * 1000)
    until(lambda: int(time.time() * 1000) > made)
    assert first < new_id()
    assert first[14] == "7"
