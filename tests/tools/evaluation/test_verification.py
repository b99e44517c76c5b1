"""The figures of pairs, by hand and against slow references that try everything."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intervals import Share
from app.tools.evaluation.verification import (
    NOT_COMPARED,
    at_false_accept_rate,
    balanced_folds,
    best_threshold,
    equal_error,
    fold_accuracy,
    measure_verification,
    roc,
)

# Few distinct values, so that ties are common; neighbouring floats, between which there is no middle.
SCORES = st.one_of(
    st.sampled_from([-0.5, 0.0, 0.25, float(np.nextafter(0.25, 1)), 0.5, 0.9]), st.floats(-1, 1, allow_subnormal=False)
)


@st.composite
def labelled_scores(draw, scores=SCORES):
    pairs = draw(st.lists(st.tuples(scores, st.booleans()), min_size=2, max_size=40))
    pairs += [(draw(scores), True), (draw(scores), False)]
    return np.array([score for score, _ in pairs]), np.array([same for _, same in pairs])


def right(scores, same, threshold):
    return sum((score >= threshold) == truth for score, truth in zip(scores, same))


@given(labelled_scores())
def test_no_threshold_has_more_pairs_right_than_the_best(pairs):
    scores, same = pairs
    most = max(right(scores, same, threshold) for threshold in [*scores, math.inf])
    assert right(scores, same, best_threshold(scores, same)) == most


def test_the_best_threshold_lies_in_the_middle_of_the_gap():
    assert best_threshold(np.array([0.1, 0.2, 0.6, 0.8]), np.array([False, False, True, True])) == pytest.approx(0.4)


def test_of_equally_good_thresholds_the_middle_one_is_taken():
    scores = np.array([0.1, 0.2, 0.4, 0.5, 0.7, 0.8])
    assert best_threshold(scores, np.array([False, True] * 3)) == pytest.approx(0.45)


@pytest.mark.parametrize("lower", [0.25, float(np.nextafter(0.25, 1))])
def test_neighbouring_floats_are_told_apart(lower):
    scores, same = np.array([lower, np.nextafter(lower, 1)]), np.array([False, True])
    assert right(scores, same, best_threshold(scores, same)) == 2


@given(labelled_scores(st.one_of(SCORES, st.just(NOT_COMPARED))), st.sampled_from([0.01, 0.1, 0.25, 0.5, 1.0]))
def test_true_accepts_at_a_false_accept_rate(pairs, rate):
    scores, same = pairs
    found = at_false_accept_rate(scores, same, rate)
    allowed = round(rate * (~same).sum() * 1000) // 1000
    if allowed == 0:
        assert found is None
        return
    best = 0
    for threshold in [*scores[scores > NOT_COMPARED], 1.1]:
        false = sum(score >= threshold for score, truth in zip(scores, same) if not truth)
        if false <= allowed:
            best = max(best, sum(score >= threshold for score, truth in zip(scores, same) if truth))
    assert found.true_accepts == Share(best, int(same.sum()))
    assert found.false_accepts.hits <= allowed
    assert math.isfinite(found.threshold)


def test_a_rate_below_one_pair_is_not_measured():
    scores = np.linspace(-0.5, 0.9, 100)
    same = scores > 0.2
    assert at_false_accept_rate(scores, same, 1e-3) is None


@given(labelled_scores(st.one_of(SCORES, st.just(NOT_COMPARED))))
def test_the_curve_counts_what_each_threshold_accepts(pairs):
    scores, same = pairs
    curve = roc(scores, same)
    assert curve.thresholds[0] == math.inf and set(curve.thresholds[1:]) == set(scores)
    for threshold, false, true in zip(curve.thresholds, curve.false_accept_rates, curve.true_accept_rates):
        assert false == pytest.approx(np.mean(scores[~same] >= threshold))
        assert true == pytest.approx(np.mean(scores[same] >= threshold))


@given(labelled_scores())
def test_equal_errors_lie_where_the_curve_crosses_the_diagonal(pairs):
    scores, same = pairs
    curve = roc(scores, same)
    rate, threshold = equal_error(curve)
    points = list(zip(curve.false_accept_rates, curve.true_accept_rates))
    crossings = []
    for (x1, y1), (x2, y2) in zip(points, points[1:]):
        # Along the segment, where is x + y == 1?
        start, end = x1 + y1 - 1, x2 + y2 - 1
        if start <= 0 <= end and end > start:
            crossings.append(x1 + (x2 - x1) * -start / (end - start))
    assert any(rate == pytest.approx(crossing) for crossing in crossings)
    assert threshold in scores


def test_equal_errors_by_hand():
    # From 0.6 on one of four acquaintances is turned away and one of four strangers passes.
    scores = np.array([0.9, 0.8, 0.7, 0.3, 0.65, 0.2, 0.1, 0.0])
    same = np.array([True] * 4 + [False] * 4)
    assert equal_error(roc(scores, same)) == (pytest.approx(0.25), 0.65)


@given(st.integers(1, 60), st.integers(1, 60))
def test_folds_are_balanced_and_the_same_in_every_run(same_pairs, different_pairs):
    same = np.array([True] * same_pairs + [False] * different_pairs)
    folds = balanced_folds(same)
    assert (folds == balanced_folds(same)).all()
    count = min(10, same_pairs, different_pairs)
    assert set(folds) == set(range(count))
    for kind in (same, ~same):
        sizes = np.bincount(folds[kind], minlength=count)
        assert sizes.max() - sizes.min() <= 1


def test_each_fold_is_judged_by_the_threshold_of_the_others():
    # Each fold is perfect with its own threshold, and has one mistake with the other's.
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
    same = np.array([True, True, False, False] * 2)
    folds = np.array([0] * 4 + [1] * 4)
    result = fold_accuracy(scores, same, folds)
    assert result.thresholds == (pytest.approx(0.25), pytest.approx(0.75))
    assert result.by_fold == (0.5, 0.5)
    assert result.share == Share(4, 8)
    assert (result.mean, result.deviation) == (0.5, 0.0)


@given(labelled_scores(st.one_of(SCORES, st.just(NOT_COMPARED))), st.randoms())
def test_fold_accuracy_adds_up(pairs, random):
    scores, same = pairs
    folds = np.array([random.randrange(3) for _ in scores])
    result = fold_accuracy(scores, same, folds)
    correct = 0
    for fold, threshold in zip(np.unique(folds), result.thresholds):
        for score, truth, place in zip(scores, same, folds):
            correct += place == fold and score > NOT_COMPARED and (score >= threshold) == truth
    assert result.share == Share(correct, len(scores))


def test_pairs_without_a_face_count_as_wrong_and_are_never_accepted():
    scores = np.array([0.9, 0.8, NOT_COMPARED, 0.1, 0.2, NOT_COMPARED])
    same = np.array([True, True, True, False, False, False])
    figures = measure_verification(scores, same, np.array([0, 1, 0, 0, 1, 1]), given_threshold=0.5)
    assert figures.accuracy.share == Share(4, 6)
    assert figures.at_given.true_accepts == Share(2, 3)
    assert figures.at_given.false_accepts == Share(0, 3)
    assert figures.not_compared == 2
    assert (figures.same.count, figures.different.count) == (2, 2)
    assert figures.same.mean == pytest.approx(0.85)


def test_no_pair_could_be_compared():
    same = np.array([True, False])
    figures = measure_verification(np.array([NOT_COMPARED] * 2), same, np.array([0, 0]))
    assert figures.accuracy.share == Share(0, 2)
    assert figures.same.count == 0
