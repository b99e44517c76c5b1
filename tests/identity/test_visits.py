"""From single comparisons to whole visits of strangers."""

import numpy as np
import pytest

from app.identity.visits import COMPARISONS_PER_VISIT, _named, comparison_rate_for, visit_rate
from app.identity.votes import NO_VOTES, add_vote
from app.settings import RecognitionSettings
from app.types import Match, Reason

ANN = Match("Ann", Reason.MATCHED, 0.5)
NO_ONE = Match(None, Reason.BELOW_THRESHOLD, 0.1)


def gets_a_name(looks, settings):
    votes = NO_VOTES
    for time, look in enumerate(looks):
        votes = add_vote(votes, ANN if look else NO_ONE, float(time), 1, settings)
        if votes.published.name is not None:
            return True
    return False


@pytest.mark.parametrize(("vote_window", "min_votes"), [(5, 2), (5, 3), (3, 3), (1, 1)])
def test_the_rule_is_that_of_the_votes(vote_window, min_votes):
    settings = RecognitionSettings(vote_window=vote_window, min_votes=min_votes)
    looks = np.random.default_rng(1).random((1500, COMPARISONS_PER_VISIT)) < 0.15
    observed = np.mean([gets_a_name(visit, settings) for visit in looks])
    (expected,) = _named(np.array([0.15]), vote_window, min_votes)
    assert observed == pytest.approx(expected, abs=0.05)


def test_votes_help_and_a_visit_is_never_safer_than_its_single_picture():
    without, with_votes = visit_rate(0.001, 1, 1), visit_rate(0.001, 5, 2)
    assert 0.001 <= with_votes < 0.002 < without < 0.001 * COMPARISONS_PER_VISIT
    assert visit_rate(0.001, 50, 25) >= 0.001
    assert (visit_rate(0.0, 5, 2), visit_rate(1.0, 5, 2)) == (0, 1)


@pytest.mark.parametrize("rate", [0.1, 0.001, 0.00001])
def test_the_rate_of_comparisons_gives_the_rate_of_visits(rate):
    assert visit_rate(comparison_rate_for(rate, 5, 2), 5, 2) == pytest.approx(rate, rel=0.01)
