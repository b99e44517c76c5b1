"""Intervals against values that are printed in textbooks and tables."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intervals import Rate, Share, poisson, wilson


@pytest.mark.parametrize(
    "hits, of, low, high",
    [
        (10, 20, 0.2993, 0.7007),
        (1, 10, 0.0179, 0.4042),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson(hits, of, low, high):
    assert wilson(hits, of) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    "events, low, high",
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (10, 4.795, 18.390), (100, 81.364, 121.627)],
)
def test_poisson(events, low, high):
    assert poisson(events) == pytest.approx((low, high), abs=6e-4)


@pytest.mark.parametrize("events", [2_000, 20_000])
def test_poisson_of_many_events_is_what_wilson_and_hilferty_approximate(events):
    def bound(count, deviations):
        return count * (1 - 1 / (9 * count) + deviations / (3 * math.sqrt(count))) ** 3

    assert poisson(events) == pytest.approx((bound(events, -1.959964), bound(events + 1, 1.959964)), rel=1e-5)


@given(st.integers(1, 5000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_wilson_holds_the_share_and_stays_within_0_and_1(counts):
    hits, of = counts
    low, high = wilson(hits, of)
    assert 0 <= low <= hits / of <= high <= 1


def test_a_share_of_nothing():
    assert wilson(0, 0) == (0.0, 1.0)
    assert str(Share(0, 0)) == str(Rate(0, 0)) == "none"
    assert Share(0, 0).as_json()["value"] is None and Rate(0, 0).as_json()["value"] is None


def test_in_words():
    assert str(Share(10, 20)) == "50.00 % [29.93 %, 70.07 %], 10 of 20"
    assert str(Rate(1, 10)) == "0.1000 [0.0025, 0.5572], 1 in 10 pictures"
