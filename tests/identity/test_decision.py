import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.identity.decision import decide, is_telling, settle
from app.identity.index import NO_EMBEDDING, NOBODY, Candidates
from app.types import NOT_COMPARED_YET, Match, Reason

NAN = float("nan")


def ann_before_bob(similarity, runner_up_similarity):
    return Candidates("Ann", similarity, "Ann/1.jpg", "Bob", runner_up_similarity)


@pytest.mark.parametrize(
    ("candidates", "name", "reason"),
    [
        (NOBODY, None, Reason.NOBODY_ENROLLED),
        (NO_EMBEDDING, None, Reason.NOT_COMPARED_YET),
        (ann_before_bob(0.39, 0.1), None, Reason.BELOW_THRESHOLD),
        (ann_before_bob(0.4, 0.1), "Ann", Reason.MATCHED),
        (ann_before_bob(0.8, 0.76), None, Reason.TOO_CLOSE_TO_RUNNER_UP),
        (ann_before_bob(0.75, 0.5), "Ann", Reason.MATCHED),
        (Candidates("Ann", 0.4, "Ann/1.jpg"), "Ann", Reason.MATCHED),
        (Candidates("Ann", -0.1, "Ann/1.jpg"), None, Reason.BELOW_THRESHOLD),
    ],
)
def test_one_look_names_only_who_is_near_and_alone(candidates, name, reason):
    match = decide(candidates, threshold=0.4, margin=0.05)
    assert (match.name, match.reason) == (name, reason)


def test_the_margin_itself_is_enough():
    assert decide(ann_before_bob(0.75, 0.5), 0.4, 0.25).name == "Ann"


def test_an_exact_tie_is_nobody_even_without_a_margin():
    assert decide(ann_before_bob(0.9, 0.9), 0.4, 0).reason is Reason.TOO_CLOSE_TO_RUNNER_UP


def test_a_refused_look_still_says_who_was_nearest():
    match = decide(ann_before_bob(0.3, 0.1), 0.4, 0.05)
    assert match == Match(None, Reason.BELOW_THRESHOLD, 0.3, "Ann", "Bob", 0.1)


cosines = st.floats(-1, 1) | st.just(NAN)


@given(cosines, cosines, st.floats(-1, 1) | st.just(NAN), st.floats(0, 1))
def test_a_name_is_given_only_above_the_threshold_and_beyond_the_margin(similarity, runner_up, threshold, margin):
    match = decide(ann_before_bob(similarity, runner_up), threshold, margin)
    named = similarity >= threshold and similarity - runner_up >= margin and similarity > runner_up
    assert (match.name == "Ann") == named
    assert (match.reason is Reason.MATCHED) == named
    assert match.similarity == match.similarity


def look(letter, similarity=0.6):
    """A, B, C: that person; u: below the threshold; t: too close; n: nobody enrolled."""
    reasons = {"u": Reason.BELOW_THRESHOLD, "t": Reason.TOO_CLOSE_TO_RUNNER_UP, "n": Reason.NOBODY_ENROLLED}
    if letter in reasons:
        return Match(None, reasons[letter], 0.2, "A")
    return Match(letter, Reason.MATCHED, similarity, letter)


def looks(letters):
    return [look(letter) for letter in letters]


A = look("A")


@pytest.mark.parametrize(
    ("seen", "name", "reason"),
    [
        ("A", None, Reason.NOT_COMPARED_YET),
        ("AA", "A", Reason.MATCHED),
        ("uAA", "A", Reason.MATCHED),
        ("uuAA", None, Reason.LOOKS_DISAGREE),
        ("uuAAA", "A", Reason.MATCHED),
        ("BBAAA", "A", Reason.MATCHED),
        ("AB", None, Reason.LOOKS_DISAGREE),
        ("AABB", None, Reason.LOOKS_DISAGREE),
        ("AABBu", None, Reason.LOOKS_DISAGREE),
        ("Au", None, Reason.LOOKS_DISAGREE),
        ("uuA", None, Reason.BELOW_THRESHOLD),
        ("uuuAA", None, Reason.BELOW_THRESHOLD),
        ("u", None, Reason.BELOW_THRESHOLD),
        ("uttu", None, Reason.BELOW_THRESHOLD),
        ("utt", None, Reason.TOO_CLOSE_TO_RUNNER_UP),
        ("nnn", None, Reason.NOBODY_ENROLLED),
    ],
)
def test_a_name_is_given_by_more_than_half_of_the_looks(seen, name, reason):
    match = settle(looks(seen), None, 2)
    assert (match.name, match.reason) == (name, reason)


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        ("AAAAu", "A"),
        ("AAuuu", "A"),
        ("AAttt", "A"),
        ("Auuuu", None),
        ("AABBB", "A"),
        ("ABBBB", "B"),
        ("BBBBB", "B"),
        ("ABBuu", None),
        ("ABCuu", None),
        ("uuuuu", None),
        ("B", "A"),
        ("u", "A"),
        ("BB", "B"),
        ("uu", None),
        ("nn", None),
        ("AB", "A"),
    ],
)
def test_a_name_is_kept_while_a_third_of_the_looks_say_it(seen, name):
    assert settle(looks(seen), A, 2).name == name


def test_with_one_look_the_look_decides():
    assert settle(looks("A"), None, 1).name == "A"
    assert settle(looks("B"), A, 1).name == "B"
    assert settle(looks("u"), A, 1).name is None


def test_looks_that_compared_nothing_do_not_vote():
    silent = [Match(None, Reason.TOO_SMALL), NOT_COMPARED_YET] * 5
    assert settle([*silent, *looks("AA"), *silent], None, 2).name == "A"
    assert settle(silent, A, 2) == A
    assert settle([Match(None, Reason.TOO_SMALL)], None, 2).reason is Reason.TOO_SMALL
    assert settle([], None, 2) == NOT_COMPARED_YET


def test_the_clearest_agreeing_look_is_shown():
    seen = [look("A", 0.5), look("A", 0.7), look("B", 0.9), look("A", 0.6)]
    assert settle(seen, None, 2) == look("A", 0.7)


def test_looks_that_disagree_say_between_whom():
    match = settle([look("A", 0.5), look("B", 0.9), look("A", 0.6), look("B", 0.4)], None, 2)
    assert (match.nearest, match.similarity, match.runner_up, match.runner_up_similarity) == ("A", 0.6, "B", 0.9)


def test_the_rules_hold_for_every_window_of_five_looks():
    for seen in itertools.product("ABu", repeat=5):
        for before in (None, A):
            answer = settle(looks(seen), before, 2).name
            count = {letter: seen.count(letter) for letter in "ABu"}
            if before is A and count["A"] >= 2:
                assert answer == "A"
            elif max(count["A"], count["B"]) >= 3:
                assert answer == max("AB", key=count.get)
            else:
                assert answer is None


def test_no_single_look_changes_a_settled_name():
    """From any window that names A, whatever the next look says, A stays."""
    for seen in itertools.product("ABCu", repeat=5):
        if settle(looks(seen), None, 2).name == "A":
            for following in "BCu":
                assert settle(looks([*seen[1:], following]), A, 2).name == "A"


def test_a_name_does_not_flicker_when_looks_alternate():
    answers, published = [], None
    sequence = "AAABABABABABABABAB"
    for end in range(1, len(sequence) + 1):
        published = settle(looks(sequence[max(0, end - 5) : end]), published, 2)
        answers.append(published.name)
    assert answers == [None] + ["A"] * (len(sequence) - 1)


@given(st.lists(st.sampled_from("ABCutn"), max_size=12), st.sampled_from([None, "A", "D", "u"]), st.integers(1, 6))
def test_the_answer_is_always_sound(seen, before, min_agreeing):
    published = None if before is None else look(before)
    answer = settle(looks(seen), published, min_agreeing)
    assert (answer.name is None) != (answer.reason is Reason.MATCHED)
    if answer.name is not None and answer != published:
        assert answer in looks(seen)
    if len(seen) >= min_agreeing and answer.name is not None:
        assert answer.name in seen


def test_only_comparisons_are_telling():
    silent = {Reason.TOO_SMALL, Reason.NOT_COMPARED_YET}
    assert {reason for reason in Reason if not is_telling(Match(None, reason))} == silent
