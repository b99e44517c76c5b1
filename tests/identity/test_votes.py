import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.identity.votes import NO_VOTES, Vote, add_vote, clarity, needs_embedding, resolve, shaken
from app.settings import RecognitionSettings
from app.types import NOT_COMPARED_YET, Faces, Match, Reason


def vote(letter, similarity=0.6):
    """A, B, C: that person; u: below the threshold; t: too close; n: no one is enrolled."""
    reasons = {"u": Reason.BELOW_THRESHOLD, "t": Reason.AMBIGUOUS, "n": Reason.NO_ONE_ENROLLED}
    if letter in reasons:
        return Match(None, reasons[letter], 0.2, "A")
    return Match(letter, Reason.MATCHED, similarity, letter)


def votes(letters):
    return [Vote(vote(letter)) for letter in letters]


A = vote("A")


@pytest.mark.parametrize(
    ("seen", "name", "reason"),
    [
        ("A", None, Reason.NOT_COMPARED_YET),
        ("AA", "A", Reason.MATCHED),
        ("uAA", "A", Reason.MATCHED),
        ("uuAA", None, Reason.VOTES_DISAGREE),
        ("uuAAA", "A", Reason.MATCHED),
        ("BBAAA", "A", Reason.MATCHED),
        ("AB", None, Reason.VOTES_DISAGREE),
        ("AABB", None, Reason.VOTES_DISAGREE),
        ("AABBu", None, Reason.VOTES_DISAGREE),
        ("Au", None, Reason.VOTES_DISAGREE),
        ("uuA", None, Reason.BELOW_THRESHOLD),
        ("uuuAA", None, Reason.BELOW_THRESHOLD),
        ("u", None, Reason.BELOW_THRESHOLD),
        ("uttu", None, Reason.BELOW_THRESHOLD),
        ("utt", None, Reason.AMBIGUOUS),
        ("nnn", None, Reason.NO_ONE_ENROLLED),
    ],
)
def test_a_name_is_given_by_more_than_half_of_the_votes(seen, name, reason):
    match = resolve(votes(seen), NOT_COMPARED_YET, 2)
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
def test_a_name_is_kept_while_a_third_of_the_votes_agree(seen, name):
    assert resolve(votes(seen), A, 2).name == name


def test_with_one_vote_the_vote_decides():
    assert resolve(votes("A"), NOT_COMPARED_YET, 1).name == "A"
    assert resolve(votes("B"), A, 1).name == "B"
    assert resolve(votes("u"), A, 1).name is None


def test_faces_that_were_not_compared_do_not_vote():
    track = NO_VOTES
    for reason in (Reason.TOO_SMALL, Reason.NOT_COMPARED_YET):
        track = add_vote(track, Match(None, reason), 1.0, 1, RecognitionSettings())
        assert track.published.reason is reason and track.votes == ()
    for time in (2.0, 3.0):
        track = add_vote(track, A, time, 1, RecognitionSettings())
    rejected = add_vote(track, Match(None, Reason.TOO_SMALL), 4.0, 1, RecognitionSettings())
    assert rejected == track and rejected.published == A


def test_without_votes_the_published_answer_stays():
    assert resolve([], A, 2) == A
    assert resolve([], NOT_COMPARED_YET, 2) == NOT_COMPARED_YET


def test_the_most_similar_agreeing_vote_is_shown():
    seen = [vote("A", 0.5), vote("A", 0.7), vote("B", 0.9), vote("A", 0.6)]
    assert resolve([Vote(match) for match in seen], NOT_COMPARED_YET, 2) == vote("A", 0.7)


def test_votes_that_disagree_name_both_people():
    seen = [vote("A", 0.5), vote("B", 0.9), vote("A", 0.6), vote("B", 0.4)]
    match = resolve([Vote(match) for match in seen], NOT_COMPARED_YET, 2)
    assert (match.nearest, match.similarity, match.runner_up, match.runner_up_similarity) == ("A", 0.6, "B", 0.9)


def test_the_rules_hold_for_every_window_of_five_votes():
    for seen in itertools.product("ABu", repeat=5):
        for before in (NOT_COMPARED_YET, A):
            answer = resolve(votes(seen), before, 2).name
            count = {letter: seen.count(letter) for letter in "ABu"}
            if before is A and count["A"] >= 2:
                assert answer == "A"
            elif max(count["A"], count["B"]) >= 3:
                assert answer == max("AB", key=count.get)
            else:
                assert answer is None


def test_no_single_vote_changes_a_settled_name():
    """From any window that names A, A stays, for every next vote."""
    for seen in itertools.product("ABCu", repeat=5):
        if resolve(votes(seen), NOT_COMPARED_YET, 2).name == "A":
            for following in "BCu":
                assert resolve(votes([*seen[1:], following]), A, 2).name == "A"


def test_a_name_does_not_flicker_when_votes_alternate():
    answers, published = [], NOT_COMPARED_YET
    sequence = "AAABABABABABABABAB"
    for end in range(1, len(sequence) + 1):
        published = resolve(votes(sequence[max(0, end - 5) : end]), published, 2)
        answers.append(published.name)
    assert answers == [None] + ["A"] * (len(sequence) - 1)


@given(st.lists(st.sampled_from("ABCutn"), max_size=12), st.sampled_from([None, "A", "D", "u"]), st.integers(1, 6))
def test_the_answer_is_always_sound(seen, before, min_votes):
    published = NOT_COMPARED_YET if before is None else vote(before)
    answer = resolve(votes(seen), published, min_votes)
    assert (answer.name is None) != (answer.reason is Reason.MATCHED)
    if answer.name is not None and answer != published:
        assert Vote(answer) in votes(seen)
    if len(seen) >= min_votes and answer.name is not None:
        assert answer.name in seen


def test_a_clear_face_outvotes_unclear_ones():
    seen = [Vote(vote("u"), 0.1)] * 3 + [Vote(vote("A"), 0.9)] * 2
    assert resolve(seen, NOT_COMPARED_YET, 2).name == "A"
    assert resolve([Vote(match) for match, _ in seen], NOT_COMPARED_YET, 2).name is None


def test_unclear_faces_do_not_withdraw_a_name_but_clear_ones_do():
    assert resolve([Vote(A), Vote(A), *[Vote(vote("u"), 0.1)] * 8], A, 2).name == "A"
    assert resolve([Vote(A, 0.1), Vote(A, 0.1), *[Vote(vote("u"))] * 2], A, 2).name is None


def compared_at(letters, rules, until, weight=0.5, patience=1.0):
    """The times, in tenths of a second, at which a track is compared whose faces give these answers."""
    track, answers, times = NO_VOTES, itertools.chain(letters, itertools.repeat(letters[-1])), []
    for tenth in range(until):
        if needs_embedding(track, tenth / 10, 1, rules, weight, patience):
            track = add_vote(track, vote(next(answers)), tenth / 10, 1, rules, weight)
            times.append(tenth)
    return times


def test_a_settled_track_is_compared_less_and_less_often():
    rules = RecognitionSettings(reembed_after_s=0.95)
    assert compared_at("A", rules, 100) == [0, 1, 11, 30, 68]
    assert compared_at("u", rules, 100) == [0, 1, 2, 3, 4, 14, 33, 71]


def test_with_patience_a_settled_track_is_compared_less_often_and_a_new_one_as_often_as_before():
    rules = RecognitionSettings(reembed_after_s=0.95)
    assert compared_at("A", rules, 200, patience=4.0) == [0, 1, 39, 115]
    assert compared_at("u", rules, 100, patience=4.0) == [0, 1, 2, 3, 4, 42]


def test_a_track_that_was_in_doubt_is_compared_soon_whatever_the_patience():
    rules, track = RecognitionSettings(reembed_after_s=1.0), NO_VOTES
    for time in range(2):
        track = add_vote(track, A, time, 1, rules)
    for patience in (1.0, 4.0):
        assert needs_embedding(shaken(track), 1.3, 1, rules, 0.5, patience)
        assert not needs_embedding(track, 1.3, 1, rules, 0.5, patience)


def test_an_unknown_track_is_compared_at_once_when_it_is_seen_more_clearly():
    rules, track = RecognitionSettings(), NO_VOTES
    for time in range(5):
        track = add_vote(track, vote("u"), time, 1, rules, 0.4)
    assert not needs_embedding(track, 4.1, 1, rules, 0.45)
    assert needs_embedding(track, 4.1, 1, rules, 0.6)
    named = add_vote(add_vote(NO_VOTES, A, 0, 1, rules, 0.4), A, 4, 1, rules, 0.4)
    assert not needs_embedding(named, 4.1, 1, rules, 1.0)


def test_a_track_knows_how_often_it_was_compared_and_when_it_got_its_name():
    track = NO_VOTES
    for time, letter in enumerate("uAAuuuuuAAA"):
        track = add_vote(track, vote(letter), time, 1, RecognitionSettings())
    assert (track.count, track.named_at) == (11, 2)


def test_a_large_frontal_face_is_clearer_than_a_small_or_turned_one():
    boxes = np.array([[0, 0, 100, 100], [0, 0, 40, 40], [0, 0, 100, 100], [0, 0, 100, 100]], np.float32)
    landmarks = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32) * np.ones(
        (4, 1, 1), np.float32
    )
    landmarks[1] *= 0.4
    landmarks[2, 2, 0] = 70
    landmarks[3] = 0
    values = clarity(Faces(boxes, np.full(4, 0.9, np.float32), landmarks))
    np.testing.assert_allclose(values, [0.9, 0.45, 0.18, 0.9], rtol=1e-5)
    assert len(clarity(Faces.empty())) == 0


def test_a_name_is_as_certain_as_its_votes_on_average():
    sure, doubtful = (
        dataclasses.replace(vote("A", similarity), confidence=value) for similarity, value in ((0.7, 0.99), (0.5, 0.5))
    )
    match = resolve([Vote(sure), Vote(doubtful)], NOT_COMPARED_YET, 2)
    assert match.similarity == 0.7
    assert match.confidence == pytest.approx(1 / (1 + 99**-0.5))
    assert resolve([Vote(sure, 1.0), Vote(doubtful, 0.1)], NOT_COMPARED_YET, 2).confidence > match.confidence
    assert resolve(votes("AA"), NOT_COMPARED_YET, 2).confidence is None
