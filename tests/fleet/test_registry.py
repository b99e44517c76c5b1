"""Who is one person follows from the decisions, in whatever order they come and however often."""

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import until

from app.database.connection import connected
from app.database.devices import greet
from app.database.ids import new_id
from app.database.schema import migrate
from app.database.strangers import Pair, SeenStranger, SharedStrangers
from app.fleet.merger import merge, packed, update_survivors
from app.fleet.registry import similar_pairs, survivors
from app.settings import FleetSettings

IDS = [f"{number:02}" for number in range(8)]
pairs = st.tuples(st.sampled_from(IDS), st.sampled_from(IDS), st.booleans()).filter(lambda pair: pair[0] < pair[1])
decisions = st.lists(pairs, max_size=14, unique_by=lambda pair: pair[:2]).map(
    lambda found: [Pair(*one) for one in found]
)
living = st.dictionaries(st.sampled_from(IDS), st.sampled_from([None, None, "Ann", "Eva"]))


@hypothesis.settings(max_examples=50)
@given(living, decisions, st.randoms(use_true_random=False))
def test_the_order_of_decisions_and_their_repetition_change_nothing(names, found, chance):
    shuffled = [*found, *chance.sample(found, len(found) // 2)]
    chance.shuffle(shuffled)
    assert survivors(names, shuffled) == survivors(names, found)


@hypothesis.settings(max_examples=50)
@given(living, decisions)
def test_a_named_person_beats_a_stranger_and_the_smallest_id_survives(names, found):
    answer = survivors(names, found)
    assert answer.keys() == names.keys()
    groups = {}
    for one, survivor in answer.items():
        groups.setdefault(survivor, set()).add(one)
    for survivor, members in groups.items():
        named = {one for one in members if names[one] is not None}
        assert survivor == min(named or members)
        assert len({names[one] for one in named}) <= 1


@hypothesis.settings(max_examples=50)
@given(living, decisions)
def test_two_who_are_not_the_same_person_never_become_one(names, found):
    answer = survivors(names, found)
    for pair in found:
        if not pair.same and pair.low in answer and pair.high in answer:
            assert answer[pair.low] != answer[pair.high]


@hypothesis.settings(max_examples=50)
@given(decisions)
def test_without_objections_exactly_those_who_are_connected_are_one_person(found):
    same = [pair for pair in found if pair.same]
    answer = survivors(dict.fromkeys(IDS), same)
    parts = {one: {one} for one in IDS}
    for pair in same:
        joined = parts[pair.low] | parts[pair.high]
        parts.update(dict.fromkeys(joined, joined))
    assert answer == {one: min(parts[one]) for one in IDS}


def test_who_resembles_whom():
    faces = dict(zip("abc", np.eye(3, dtype=np.float32)))
    near = np.array([0.9, np.sqrt(0.19), 0], np.float32)
    assert similar_pairs({"x": near}, {**faces, "x": near}, 0.8) == [Pair("a", "x", True)]
    assert similar_pairs({}, faces, 0.8) == []


@pytest.mark.parametrize("order", [1, -1])
def test_the_database_gives_the_same_answer_for_any_order(database, order):
    settings = FleetSettings(database=database)
    with connected(settings) as connection:
        migrate(connection)
        device = new_id()
        greet(connection, device, "a", "m", "1")
        shared = SharedStrangers(connection, device)
        ids = [f"00000000-0000-7000-8000-{number:012}" for number in range(5)]
        for number, one in enumerate(ids):
            shared.seen(SeenStranger(one, number, "door", "m", b"xx", 1.0, 2, 0.0, 1.0, 4e9))
        done = [
            (ids[1], ids[2], True, False),
            (ids[2], ids[3], True, False),
            (ids[0], ids[3], False, True),
            (ids[0], ids[1], True, False),
            (ids[3], ids[4], True, False),
        ]
        for decision in done[::order] * 2:
            shared.decide(*decision)
            update_survivors(shared)
        rows = connection.execute("select right(id::text, 1), right(merged_into::text, 1) from stranger order by 1")
        assert rows.fetchall() == [("0", None), ("1", "0"), ("2", "0"), ("3", None), ("4", "3")]


def test_one_device_compares_and_another_goes_on_when_it_is_gone(database):
    settings = FleetSettings(database=database)
    with connected(settings) as first:
        migrate(first)
        device = new_id()
        greet(first, device, "a", "m", "1")
        face = packed(np.array([0.6, 0.8], np.float32))
        for number in range(2):
            SharedStrangers(first, device).seen(SeenStranger(new_id(), number, "x", "m", face, 1.0, 2, 0.0, 1.0, 4e9))
        with connected(settings) as second:
            assert SharedStrangers(first, device).is_merger("m")
            assert SharedStrangers(first, device).is_merger("m")
            assert merge(SharedStrangers(second, device), "m", 0.9) == 0
            assert SharedStrangers(second, device).is_merger("other embedder")
            first.close()
            until(lambda: SharedStrangers(second, device).is_merger("m"))
            assert merge(SharedStrangers(second, device), "m", 0.9) == 1
