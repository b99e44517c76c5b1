"""Strangers: visits with planted embeddings are grouped, merged, split, named, ignored and forgotten."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_visits import BASIS, MODEL, mixed, visit

from app.identity.anchors import NegativeAnchors
from app.identity.looks import TrackLooks, is_unknown, stranger_of
from app.identity.stranger_rules import duplicates, outdated, pruned, replayed, split, without
from app.identity.strangers import (
    EXEMPLARS,
    MAX_CROPS,
    Denied,
    Dropped,
    Ignored,
    Merged,
    Moved,
    Named,
    Numbered,
    Renamed,
    Seen,
    stranger_name,
    stranger_number,
)
from app.types import Match, Reason

SIMILARITY = 0.5


def seen(*visits):
    return replayed(map(Seen, visits))


def ids(book, stranger):
    return [kept.id for kept in book.visits_of(stranger)]


@pytest.mark.parametrize("text, number", [("stranger-7", 7), ("Stranger-12", 12), (" stranger-1 ", 1)])
def test_the_name_of_a_stranger_is_read_back(text, number):
    assert stranger_number(text) == number
    assert stranger_number(stranger_name(number)) == number


@pytest.mark.parametrize("text", ["stranger-0", "stranger-", "stranger-07", "7", "Ann", "stranger-1234567890"])
def test_other_names_are_no_strangers(text):
    assert stranger_number(text) is None


def test_a_face_is_compared_with_every_stranger_and_the_most_similar_comes_first():
    book = seen(visit("a", 0, stranger=1), visit("b", 1, stranger=2), visit("c", 2, stranger=3))
    found = book.nearest(mixed(1, 0, 0.8), MODEL)
    assert [one.stranger for one in found] == [2, 1, 3]
    assert found[0].similarity == pytest.approx(0.8, abs=0.01)
    assert [one.stranger for one in book.nearest(mixed(1, 0, 0.8), MODEL, without=[2])] == [1, 3]


def test_embeddings_of_another_model_are_never_compared():
    book = seen(visit("a", 0, stranger=1))
    assert book.nearest(BASIS[0], "another model") == []


def test_a_stranger_is_compared_by_the_clearest_visits():
    book = seen(
        *(visit(f"v{number}", 0, stranger=1, weight=5 + number) for number in range(EXEMPLARS)),
        visit("blurred", 1, stranger=1, weight=1),
    )
    assert book.nearest(BASIS[1], MODEL)[0].similarity < 0.1


def test_only_the_best_pictures_of_a_stranger_are_kept():
    book = seen(*(visit(f"v{number}", 0, stranger=1, crop_quality=0.5 + number / 10) for number in range(5)))
    assert book.crops_of(1) == ["v4.jpg", "v3.jpg", "v2.jpg"] and len(book.crops()) == MAX_CROPS


def test_numbers_are_never_used_again():
    book = seen(visit("a", 0, stranger=1), visit("b", 1, stranger=2))
    book.apply(Dropped(("a", "b")))
    assert (book.strangers, book.next_number) == ([], 3)
    assert replayed(book.changes()).next_number == 3


def test_merged_strangers_are_one_also_in_later_visits_under_the_old_number():
    book = seen(visit("a", 0, stranger=1), visit("b", 1, stranger=2), visit("c", 2, stranger=3))
    book.apply(Merged(3, 2))
    book.apply(Merged(2, 1))
    book.apply(Seen(visit("d", 2, stranger=3, first_seen=50)))
    assert book.strangers == [1] and ids(book, 1) == ["a", "b", "c", "d"]
    assert [book.current(number) for number in (1, 2, 3)] == [1, 1, 1]


def test_merged_numbers_are_kept_as_long_as_the_stranger_is_or_has_a_name():
    kept = [Seen(visit("a", 0, stranger=1)), Seen(visit("b", 0, stranger=2)), Merged(2, 1)]
    assert replayed([*kept, Dropped(("a",))]).merged == {2: 1}
    gone = replayed([*kept, Dropped(("a", "b"))])
    assert gone.merged == {} and gone.next_number == 3
    assert replayed([*kept, Named(1, "Ann"), Dropped(("a", "b"))]).names() == {"stranger-1": "Ann", "stranger-2": "Ann"}


def test_visits_can_be_moved_to_a_new_stranger():
    book = seen(visit("a", 0, stranger=1), visit("b", 1, stranger=1))
    book.apply(Moved(("b",), 2))
    assert (ids(book, 1), ids(book, 2), book.next_number) == (["a"], ["b"], 3)


def test_a_named_stranger_is_none_any_more_and_visits_that_go_on_get_the_name():
    book = seen(visit("a", 0, stranger=1))
    book.apply(Named(1, "Eva"))
    book.apply(Seen(visit("a", 0, stranger=1, last_seen=99.0)))
    book.apply(Seen(visit("b", 0, stranger=1)))
    assert book.strangers == [] and book.crops() == set()
    assert {kept.name for kept in book.visits.values()} == {"Eva"}
    assert book.visits["a"].last_seen == 99.0


def test_a_person_who_is_renamed_keeps_the_visits_and_the_faces_that_are_others():
    book = seen(visit("a", 0, stranger=1), visit("b", 1, name="Bob"))
    for change in (Named(1, "Eva"), Denied("Eva", MODEL, BASIS[3], 0.0), Renamed("Eva", "Eva Maria")):
        book.apply(change)
    assert {key: kept.name for key, kept in book.visits.items()} == {"a": "Eva Maria", "b": "Bob"}
    assert book.names() == {"stranger-1": "Eva Maria"} and book.denied[0].name == "Eva Maria"
    assert without(book, names=["Eva Maria"]).visits.keys() == {"b"}


def test_two_groups_of_visits_are_separated():
    mixture = [visit(f"v{number}", number % 2, stranger=1, first_seen=float(number)) for number in range(6)]
    older, newer = split(mixture)
    assert [kept.id for kept in older] == ["v0", "v2", "v4"] and [kept.id for kept in newer] == ["v1", "v3", "v5"]


def test_strangers_whom_one_visit_clearly_resembles_are_merged_into_the_oldest():
    both = visit("c", 0, stranger=2, embedding=mixed(0, 1, 0.75))
    book = seen(visit("a", 0, stranger=1), visit("b", 1, stranger=2), both)
    assert duplicates(book, both, SIMILARITY) == [Merged(2, 1)]
    assert duplicates(book, book.visits["b"], SIMILARITY) == []
    book.apply(Ignored(1))
    assert duplicates(book, both, SIMILARITY) == [], "an ignored stranger takes no one along"


def test_visits_expire_but_ignored_strangers_stay():
    book = seen(
        visit("old", 0, stranger=1, last_seen=10),
        visit("new", 0, stranger=1, last_seen=95),
        visit("gone", 1, stranger=2, last_seen=10),
        visit("ignored", 2, stranger=3, last_seen=10),
        visit("named", 3, name="Ann", last_seen=10),
    )
    book.apply(Ignored(3))
    left = pruned(book, now=100.0, keep_s=50.0, max_strangers=10)
    assert set(left.visits) == {"new", "ignored"} and left.strangers == [1, 3] and left.next_number == 4
    assert pruned(left, now=100.0, keep_s=50.0, max_strangers=10) is None


def test_of_too_many_strangers_those_who_came_once_and_longest_ago_go_first():
    book = seen(
        visit("regular", 0, stranger=1, last_seen=1),
        visit("regular again", 0, stranger=1, last_seen=2),
        visit("once early", 1, stranger=2, last_seen=3),
        visit("once late", 2, stranger=3, last_seen=4),
    )
    assert outdated(book, now=5.0, keep_s=100.0, max_strangers=2) == [Dropped(("once early",))]
    assert outdated(book, now=5.0, keep_s=100.0, max_strangers=1) == [Dropped(("once early", "once late"))]


def test_what_is_forgotten_leaves_nothing_but_the_used_numbers():
    book = seen(visit("a", 0, stranger=1), visit("b", 1, stranger=2), visit("c", 2, name="Ann"))
    for change in (Merged(2, 1), Denied("Ann", MODEL, BASIS[3], 0.0), Denied("Bob", MODEL, BASIS[4], 0.0)):
        book.apply(change)
    left = without(book, strangers=[2], names=["Ann"])
    assert (left.visits, left.merged, [one.name for one in left.denied]) == ({}, {}, ["Bob"])
    assert left.next_number == 3


CHANGES = st.lists(
    st.one_of(
        st.builds(
            lambda number, person, stranger, time: Seen(
                visit(f"v{number}", person, stranger=stranger, last_seen=float(time), crop_quality=time / 10)
            ),
            st.integers(1, 8),
            st.integers(0, 3),
            st.integers(1, 5),
            st.integers(1, 9),
        ),
        st.builds(lambda number, person: Seen(visit(f"n{number}", person, name="Ann")), st.integers(1, 3), st.just(4)),
        st.builds(Merged, st.integers(1, 5), st.integers(1, 5)),
        st.builds(lambda number, to: Moved((f"v{number}",), to), st.integers(1, 8), st.integers(1, 6)),
        st.builds(Ignored, st.integers(1, 5), st.booleans()),
        st.builds(Named, st.integers(1, 5), st.sampled_from(["Eva", "Bob"])),
        st.builds(Renamed, st.sampled_from(["Eva", "Ann"]), st.sampled_from(["Bob", "Ida"])),
        st.builds(lambda number: Dropped((f"v{number}",)), st.integers(1, 8)),
        st.builds(Numbered, st.integers(1, 9)),
    ),
    max_size=30,
)


def state(book):
    visits = {key: (v.stranger, v.name, v.crop, v.last_seen, v.embedding.tobytes()) for key, v in book.visits.items()}
    return book.next_number, visits, book.ignored, book.named, book.merged, book.strangers


@given(CHANGES)
def test_replaying_the_changes_gives_the_same_state(changes):
    book = replayed(changes)
    assert state(replayed(changes)) == state(book)
    assert state(replayed(book.changes())) == state(book), "the short form is enough"


@given(CHANGES)
def test_every_visit_belongs_to_one_person_and_no_number_is_ahead_of_the_next(changes):
    book, number = replayed([]), 1
    for change in changes:
        book.apply(change)
        assert book.next_number >= number, "numbers are never used again"
        number = book.next_number
        assert all(stranger < number and book.visits_of(stranger) for stranger in book.strangers)
        assert sum(len(book.visits_of(stranger)) for stranger in book.strangers) == sum(
            kept.stranger is not None for kept in book.visits.values()
        )
        assert all(len(book.crops_of(stranger)) <= MAX_CROPS for stranger in book.strangers)


def looks(*views):
    made = TrackLooks("t", "door", 1, 0.0, 1.0)
    return made, [made.add(embedding, quality, 0.42) for embedding, quality in views]


def test_looks_that_are_unclear_or_of_another_person_do_not_count():
    made, counted = looks((BASIS[0], 0.9), (BASIS[0], 0.1), (BASIS[1], 0.9), (mixed(0, 1, 0.9), 0.9))
    assert counted == [True, False, False, True] and made.looks == 2
    assert float(made.embedding @ BASIS[0]) > 0.95


def test_a_clear_look_weighs_more():
    made, _ = looks((mixed(0, 1, 0.8), 0.4), (mixed(0, 2, 0.8), 1.0))
    assert float(made.embedding @ BASIS[2]) > 2 * float(made.embedding @ BASIS[1])


def test_a_track_is_the_stranger_whom_it_resembles_enough_and_who_is_not_there_already():
    book = seen(visit("a", 0, stranger=1), visit("b", 1, stranger=2))
    similar, _ = looks((mixed(0, 3, 0.6), 1.0))
    different, _ = looks((mixed(0, 3, 0.4), 1.0))
    assert stranger_of(similar, book, MODEL, SIMILARITY, ()) == 1
    assert stranger_of(different, book, MODEL, SIMILARITY, ()) is None
    assert stranger_of(similar, book, MODEL, SIMILARITY, {1}) is None


@pytest.mark.parametrize(
    "match, unknown",
    [
        (Match(None, Reason.BELOW_THRESHOLD), True),
        (Match(None, Reason.NO_ONE_ENROLLED), True),
        (Match("Ann", Reason.MATCHED), False),
        (Match(None, Reason.VOTES_DISAGREE), False),
        (Match(None, Reason.IGNORED), False),
        (Match(None, Reason.TRACK_IN_DOUBT), False),
    ],
)
def test_only_a_face_that_is_certainly_unknown_may_be_a_stranger(match, unknown):
    assert is_unknown(match) is unknown


def anchors_of(*changes):
    return NegativeAnchors.of(replayed(changes), MODEL, SIMILARITY)


def test_a_face_nearer_to_a_negative_anchor_than_to_the_photos_does_not_get_the_name():
    anchors = anchors_of(Denied("Ann", MODEL, BASIS[1], 0.0))
    ann = Match("Ann", Reason.MATCHED, 0.6, nearest="Ann")
    assert anchors.checked(ann, mixed(0, 1, 0.9)) is ann
    denied = anchors.checked(ann, mixed(0, 1, 0.5))
    assert (denied.name, denied.reason, denied.nearest) == (None, Reason.NOT_THIS_PERSON, "Ann")
    assert (denied.measured, denied.limit) == (0.6, pytest.approx(0.866, abs=0.01))
    bob = Match("Bob", Reason.MATCHED, 0.6, nearest="Bob")
    assert anchors.checked(bob, BASIS[1]) is bob


def test_a_face_near_an_ignored_stranger_is_never_named_unless_it_is_nearer_to_a_person():
    anchors = anchors_of(Seen(visit("a", 0, stranger=1)), Ignored(1))
    near = mixed(0, 1, 0.8)
    assert anchors.checked(Match("Ann", Reason.MATCHED, 0.6, nearest="Ann"), near).reason is Reason.IGNORED
    assert anchors.checked(Match(None, Reason.NO_ONE_ENROLLED), near).reason is Reason.IGNORED
    assert anchors.checked(Match("Ann", Reason.MATCHED, 0.9, nearest="Ann"), near).name == "Ann"
    assert anchors.checked(Match("Ann", Reason.MATCHED, 0.45, nearest="Ann"), mixed(0, 1, 0.4)).name == "Ann"
    gated = Match(None, Reason.TOO_SMALL)
    assert anchors.checked(gated, np.full(len(near), np.nan, np.float32)) is gated
