"""What is written into Frigate, and which face of a picture is the person's."""

from dataclasses import replace

import pytest

from app.frigate.looking import person_area
from app.frigate.messages import PersonMessage
from app.frigate.naming import TrackedPerson, answer, score, sub_label, with_vote
from app.settings import RecognitionSettings
from app.types import Match, Reason

MESSAGE = PersonMessage("a", "door", False, 1.0, None, None)
PERSON = TrackedPerson(MESSAGE)
ANN, EVA = Match("Ann", Reason.MATCHED, 0.7), Match("Eva", Reason.MATCHED, 0.6)
UNKNOWN = Match(None, Reason.BELOW_THRESHOLD, 0.2)
TWO = RecognitionSettings(min_votes=2)


def voted(*matches, ended=False):
    person = PERSON
    for match in matches:
        person = with_vote(person, match, 1.0, 1, TWO)
    return replace(person, message=replace(MESSAGE, has_ended=ended))


@pytest.mark.parametrize(
    "matches, while_there, at_the_end",
    [
        ((), None, None),
        ((ANN,), None, "Ann"),
        ((ANN, ANN), "Ann", "Ann"),
        ((ANN, UNKNOWN), None, None),
        ((ANN, EVA), None, None),
        ((ANN, EVA, ANN), "Ann", "Ann"),
        ((UNKNOWN,), None, None),
    ],
)
def test_fewer_votes_are_enough_when_there_will_be_no_more(matches, while_there, at_the_end):
    assert answer(voted(*matches), TWO).name == while_there
    assert answer(voted(*matches, ended=True), TWO).name == at_the_end


@pytest.mark.parametrize(
    "written, there, name, expected, expected_if_it_may_replace",
    [
        (None, None, "Ann", "Ann", "Ann"),
        ("Ann", None, "Ann", None, None),
        ("Ann", "Ann", "Eva", "Eva", "Eva"),
        ("Ann", "Ann", None, "", ""),
        (None, None, None, None, None),
        (None, "Ann", "Ann", None, None),
        (None, "Bob", "Ann", None, "Ann"),
        ("Ann", "Bob", "Eva", None, "Eva"),
        ("Ann", "Bob", None, None, None),
        (None, None, "x" * 150, "x" * 100, "x" * 100),
    ],
)
def test_a_sub_label_is_written_once_and_others_are_kept(written, there, name, expected, expected_if_it_may_replace):
    earlier = frozenset({written} - {None})
    person = TrackedPerson(replace(MESSAGE, sub_label=there), written=written, earlier=earlier)
    match = ANN if name == "Ann" else replace(UNKNOWN, name=name)
    assert sub_label(person, match, may_replace=False) == expected
    assert sub_label(person, match, may_replace=True) == expected_if_it_may_replace


@pytest.mark.parametrize("written, wanted", [("", EVA), ("Bob", EVA), ("Eva", ANN)])
def test_a_message_from_before_the_last_sub_label_does_not_keep_the_next_one_away(written, wanted):
    """It was on its way while this program wrote another name, or took it back."""
    person = TrackedPerson(replace(MESSAGE, sub_label="Ann"), written=written, earlier=frozenset({"Ann", written}))
    assert sub_label(person, wanted, may_replace=False) == wanted.name


@pytest.mark.parametrize(
    "similarity, confidence, expected", [(0.7, None, 0.7), (0.7, 0.93, 0.93), (-0.2, None, 0.01), (1.2, None, 1.0)]
)
def test_scores_are_those_that_frigate_takes(similarity, confidence, expected):
    assert score(Match("Ann", Reason.MATCHED, similarity, confidence=confidence)) == expected


@pytest.mark.parametrize(
    "size, watched, box, expected",
    [
        ((1280, 720), (1280, 720), (10, 20, 30, 40), (10, 20, 30, 40)),
        ((640, 360), (1280, 720), (10, 20, 30, 40), (5, 10, 15, 20)),
        ((700, 700), (1280, 720), (10, 20, 30, 40), None),
        ((1280, 720), (1280, 720), (10, 20, 1400, 40), None),
        ((1280, 720), None, (10, 20, 30, 40), None),
        ((1280, 720), (1280, 720), None, None),
    ],
)
def test_where_the_person_is_in_a_picture(size, watched, box, expected):
    assert person_area(size, watched, box) == expected
