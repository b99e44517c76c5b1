"""How well an embedder distinguishes people: pure functions of the cosines of pairs.

A pair is accepted as the same person if its score reaches the threshold. A pair that could not be compared, because no
face was found in one of its pictures, has the score `NOT_COMPARED`: no threshold accepts it, and it counts as wrong in
the accuracy. So the whole program is measured, not only the pictures in which it found a face.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Optional, Tuple

import numpy as np

from app.intervals import Share

NOT_COMPARED = -math.inf

FOLDS = 10
FOLD_SEED = 0
FALSE_ACCEPT_RATES = (1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracy of cross-validation: each fold uses the threshold that is best for the other folds."""

    by_fold: Tuple[float, ...]
    thresholds: Tuple[float, ...]
    share: Share

    @property
    def mean(self) -> float:
        return float(np.mean(self.by_fold))

    @property
    def deviation(self) -> float:
        """Standard deviation between the folds."""
        return float(np.std(self.by_fold))


@dataclass(frozen=True)
class Acceptance:
    """The pairs that one threshold accepts."""

    threshold: float
    true_accepts: Share
    false_accepts: Share


@dataclass(frozen=True)
class RocCurve:
    """A ROC curve, from accepting no pair to accepting all: three arrays of the same length."""

    thresholds: np.ndarray
    false_accept_rates: np.ndarray
    true_accept_rates: np.ndarray


@dataclass(frozen=True)
class ScoreDistribution:
    """Distribution of the scores of one kind of pair, without those that were not compared."""

    count: int
    mean: float
    deviation: float


@dataclass(frozen=True)
class VerificationFigures:
    """All figures of an evaluation."""

    accuracy: FoldAccuracy
    best_threshold: float
    at_rates: Tuple[Tuple[float, Optional[Acceptance]], ...]
    """By target false accept rate; None if there are too few different pairs to measure it."""
    at_given: Optional[Acceptance]
    """At the threshold of the program."""
    equal_error_rate: float
    equal_error_threshold: float
    same: ScoreDistribution
    different: ScoreDistribution
    not_compared: int


def measure_verification(
    scores: np.ndarray, same: np.ndarray, folds: np.ndarray, given_threshold: Optional[float] = None
) -> VerificationFigures:
    """All figures of N pairs: their cosines, whether each shows one person, and the fold that each belongs to."""
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    compared = scores > NOT_COMPARED
    error_rate, error_threshold = equal_error(roc(scores, same))
    return VerificationFigures(
        accuracy=fold_accuracy(scores, same, folds),
        best_threshold=best_threshold(scores[compared], same[compared]),
        at_rates=tuple((rate, at_false_accept_rate(scores, same, rate)) for rate in FALSE_ACCEPT_RATES),
        at_given=None if given_threshold is None else acceptance(scores, same, given_threshold),
        equal_error_rate=error_rate,
        equal_error_threshold=error_threshold,
        same=_spread(scores[compared & same]),
        different=_spread(scores[compared & ~same]),
        not_compared=int((~compared).sum()),
    )


def balanced_folds(same: np.ndarray, max_folds: int = FOLDS) -> np.ndarray:
    """The fold of each pair: random with a fixed seed, with both kinds of pairs distributed evenly."""
    same = np.asarray(same, bool)
    count = max(1, min(max_folds, int(same.sum()), int((~same).sum())))
    # RandomState gives the same numbers in every version of NumPy.
    random = np.random.RandomState(FOLD_SEED)
    folds = np.empty(len(same), int)
    for kind in (same, ~same):
        rows = np.flatnonzero(kind)
        folds[random.permutation(rows)] = np.arange(len(rows)) % count
    return folds


def fold_accuracy(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> FoldAccuracy:
    """A single fold is evaluated with its own best threshold."""
    by_fold: List[float] = []
    thresholds: List[float] = []
    right = 0
    compared = scores > NOT_COMPARED
    for fold in np.unique(folds):
        inside = folds == fold
        others = compared & (~inside if not inside.all() else inside)
        threshold = best_threshold(scores[others], same[others])
        correct = ((scores >= threshold) == same) & compared & inside
        right += int(correct.sum())
        by_fold.append(float(correct.sum() / inside.sum()))
        thresholds.append(threshold)
    return FoldAccuracy(tuple(by_fold), tuple(thresholds), Share(right, len(scores)))


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the highest accuracy; of several equally good ones, the middle one."""
    if not len(scores):
        return 0.0
    values, true_counts, false_counts = _accepted_by_threshold(scores, same)
    right = true_counts + (int((~same).sum()) - false_counts)
    # Half way to the next lower score generalises better than the score itself.
    lower = np.append(values[1:], values[-1])
    thresholds = np.append(np.nextafter(values[0], np.inf), (values + lower) / 2)
    # Between adjacent floats there is no middle: the score itself is the threshold.
    between = (thresholds[1:] > lower) & (thresholds[1:] <= values)
    thresholds[1:] = np.where(between, thresholds[1:], values)
    right = np.append(int((~same).sum()), right)
    best = np.flatnonzero(right == right.max())
    return float(thresholds[best[len(best) // 2]])


def acceptance(scores: np.ndarray, same: np.ndarray, threshold: float) -> Acceptance:
    accepted = scores >= threshold
    return Acceptance(
        threshold,
        Share(int((accepted & same).sum()), int(same.sum())),
        Share(int((accepted & ~same).sum()), int((~same).sum())),
    )


def at_false_accept_rate(scores: np.ndarray, same: np.ndarray, rate: float) -> Optional[Acceptance]:
    """The lowest threshold that accepts at most this share of the different pairs.

    None if a single false accept exceeds the share: with n pairs, no rate below 1/n can be measured.
    """
    strangers = np.sort(scores[~same])[::-1]
    allowed = math.floor(rate * len(strangers) + 1e-9)
    if allowed < 1:
        return None
    finite = scores[scores > NOT_COMPARED]
    lowest = float(finite.min()) if len(finite) else 0.0
    if allowed >= len(strangers):
        return acceptance(scores, same, lowest)
    # Just above the highest score of a pair that must not be accepted.
    return acceptance(scores, same, max(lowest, float(np.nextafter(strangers[allowed], np.inf))))


def roc(scores: np.ndarray, same: np.ndarray) -> RocCurve:
    """One point for each distinct score, after one that accepts no pair."""
    values, true_counts, false_counts = _accepted_by_threshold(scores, same)
    return RocCurve(
        np.append(np.inf, values),
        np.append(0, false_counts) / max(1, int((~same).sum())),
        np.append(0, true_counts) / max(1, int(same.sum())),
    )


def equal_error(curve: RocCurve) -> Tuple[float, float]:
    """The rate at which false accepts and false rejects are equal, interpolated linearly, and the nearest threshold."""
    missed = 1 - curve.true_accept_rates
    difference = curve.false_accept_rates - missed
    after = int(np.argmax(difference >= 0))
    before = max(0, after - 1)
    step = difference[after] - difference[before]
    part = -difference[before] / step if step > 0 else 0.0
    rate = missed[before] + part * (missed[after] - missed[before])
    nearest = before if abs(difference[before]) < abs(difference[after]) and before > 0 else after
    return float(rate), float(curve.thresholds[nearest])


def _accepted_by_threshold(scores: np.ndarray, same: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, highest first, and how many same and different pairs each accepts as the threshold."""
    order = np.argsort(-scores, kind="stable")
    ordered, kinds = scores[order], same[order]
    last_of_value = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    return ordered[last_of_value], np.cumsum(kinds)[last_of_value], np.cumsum(~kinds)[last_of_value]


def _spread(scores: np.ndarray) -> ScoreDistribution:
    if not len(scores):
        return ScoreDistribution(0, math.nan, math.nan)
    return ScoreDistribution(len(scores), float(np.mean(scores)), float(np.std(scores)))
