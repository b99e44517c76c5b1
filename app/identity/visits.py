"""How often a stranger's whole visit gets a name, given how often a single comparison does."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Dict

import numpy as np

COMPARISONS_PER_VISIT = 20
"""An unknown face is compared at once until its votes are full, then after 1, 2, 4, 4, … seconds: about a minute."""

_LONGEST_WINDOW = 8
"""Longer windows are counted as this one, in which a name wins a majority more easily."""
_CORRELATIONS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
_NODES = 400


@lru_cache(maxsize=256)
def visit_rate(comparison_rate: float, vote_window: int, min_votes: int) -> float:
    """The share of strangers' visits that get a name at some time, where `comparison_rate` of single comparisons do.

    How much the comparisons of one visit resemble each other is not known: the same stranger in nearly the same
    picture resembles the same person again. The worst case is assumed, which is between independence, where votes
    help most, and one picture that is compared again and again, where they do not help at all.
    """
    if not 0 < comparison_rate < 1:
        return comparison_rate
    limit = NormalDist().inv_cdf(1 - comparison_rate)
    nodes = np.linspace(-8, 8, _NODES)
    weights = np.exp(-(nodes**2) / 2)
    weights /= weights.sum()
    worst = comparison_rate
    for correlation in _CORRELATIONS:
        # The similarity of a comparison: what is common to the visit, and what is not.
        over = (limit - np.sqrt(correlation) * nodes) / np.sqrt(2 * (1 - correlation))
        passes = np.array([math.erfc(value) / 2 for value in over])
        worst = max(worst, float(weights @ _named(passes, vote_window, min_votes)))
    return min(worst, 1.0)


def comparison_rate_for(rate: float, vote_window: int, min_votes: int) -> float:
    """The rate of single comparisons at which `rate` of the visits get a name."""
    low, high = rate / (4 * COMPARISONS_PER_VISIT), rate
    for _ in range(24):
        middle = (low * high) ** 0.5
        if visit_rate(middle, vote_window, min_votes) > rate:
            high = middle
        else:
            low = middle
    return low


def _named(passes: np.ndarray, vote_window: int, min_votes: int) -> np.ndarray:
    """For each probability of a single comparison: that of `min_votes` and a majority at some time of a visit.

    The rule is that of `app/identity/votes.py`. A state is the last votes as bits of a number.
    """
    window = min(vote_window, _LONGEST_WINDOW)
    needed = min(min_votes, window)
    states = {0: np.ones_like(passes)}
    named = np.zeros_like(passes)
    for comparison in range(1, COMPARISONS_PER_VISIT + 1):
        seen = min(comparison, window)
        after: Dict[int, np.ndarray] = {}
        for bits, chance in states.items():
            for vote, likely in ((0, 1 - passes), (1, passes)):
                new = (bits << 1 | vote) & ((1 << window) - 1)
                votes = bin(new).count("1")
                if votes >= needed and 2 * votes > seen:
                    named += chance * likely
                else:
                    after[new] = after.get(new, 0) + chance * likely
        states = after
    return named
