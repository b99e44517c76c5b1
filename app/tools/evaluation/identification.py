"""How well people are identified among strangers: open-set figures from embeddings, as pure functions.

A picture of an enrolled person is identified if that person is the nearest and the score reaches the threshold; the
share of such pictures is the true-positive identification rate (TPIR). The share of strangers' pictures that get any
name is the false-positive identification rate (FPIR). A picture without a face is never identified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from app.intervals import Share

FPIRS = (0.01, 0.001)
RESAMPLINGS = 1000
SEED = 20261129
NEAREST_STRANGERS = 200
"""For AS-norm."""
BEST_PHOTO = "best photo"


@dataclass(frozen=True, eq=False)
class Answers:
    """The nearest person of each picture. Pictures of one person are not independent, so the person is known too."""

    scores: np.ndarray
    """N: of the nearest person; -inf: no face, or no name whatever the threshold."""
    right: np.ndarray
    """N: whether the nearest person is the right one; all False for strangers."""
    persons: np.ndarray
    """N: the number of the person in the picture."""

    def accepted(self, threshold: float) -> Share:
        return Share(int((self.scores >= threshold).sum()), len(self.scores))

    def identified(self, threshold: float) -> Share:
        return Share(int((self.right & (self.scores >= threshold)).sum()), len(self.scores))

    @property
    def rank_1(self) -> Share:
        return Share(int(self.right.sum()), len(self.right))


@dataclass(frozen=True)
class Tpir:
    """TPIR at an FPIR."""

    fpir: float
    threshold: float
    share: Share
    interval: Tuple[float, float]
    """95 %, resampled over persons, with the threshold of each resampling."""
    measurable: bool
    """Whether there are enough strangers: 1 / fpir pictures."""


def tpir(enrolled: Answers, strangers: Answers, fpir: float) -> Tpir:
    threshold = threshold_at(strangers.scores, np.ones(len(strangers.scores)), fpir)
    values = resampled(enrolled, strangers, fpir)
    low, high = np.quantile(values, (0.025, 0.975))
    measurable = len(strangers.scores) >= 1 / fpir
    return Tpir(fpir, threshold, enrolled.identified(threshold), (float(low), float(high)), measurable)


def resampled(enrolled: Answers, strangers: Answers, fpir: float) -> np.ndarray:
    """TPIR with persons drawn at random, with repetition. The same draws for the same pictures, so that two ways to
    compare can be paired."""
    rng = np.random.default_rng(SEED)
    values = np.empty(RESAMPLINGS)
    for draw in range(RESAMPLINGS):
        known, unknown = (_drawn(answers.persons, rng) for answers in (enrolled, strangers))
        threshold = threshold_at(strangers.scores, unknown, fpir)
        hits = enrolled.right & (enrolled.scores >= threshold)
        values[draw] = (known * hits).sum() / known.sum()
    return values


def _drawn(persons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each picture counts when as many persons are drawn as there are."""
    names, rows = np.unique(persons, return_inverse=True)
    return np.asarray(np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[rows])


def threshold_at(scores: np.ndarray, weights: np.ndarray, fpir: float) -> float:
    """The lowest threshold that lets at most this share of the strangers pass."""
    order = np.argsort(-scores)
    passed = np.cumsum(weights[order]) / weights.sum()
    allowed = int(np.searchsorted(passed, fpir, side="right"))
    if allowed == len(order):
        return -1.0
    return float(np.nextafter(scores[order[allowed]], np.inf))


@dataclass(frozen=True, eq=False)
class EnrolledPhotos:
    """The photos of one enrolled person."""

    embeddings: np.ndarray
    clarities: np.ndarray
    """How clearly the face is seen in each, for the weighted mean."""


def ways_to_compare(
    faces: np.ndarray, people: Sequence[EnrolledPhotos], strangers: np.ndarray
) -> Dict[str, np.ndarray]:
    """The similarity of faces (N x D) to people (P), N x P, in several ways; `strangers` are those of the reference."""
    best = _best(faces, people)
    means = [(person.embeddings.mean(axis=0)) for person in people]
    weighted = [(person.embeddings * person.clarities[:, None]).sum(axis=0) for person in people]
    mean, quality = (faces @ _unit(np.stack(vectors)).T for vectors in (means, weighted))
    ways = {
        BEST_PHOTO: best,
        "mean of the photos": mean,
        "mean weighted by quality": quality,
        "best and mean": (best + mean) / 2,
    }
    if len(strangers):
        to_strangers = faces @ strangers.T
        level, spread = to_strangers.mean(axis=1, keepdims=True), to_strangers.std(axis=1, keepdims=True)
        ways["best photo, T-norm"] = (best - level) / spread
        ways["best and mean, T-norm"] = (ways["best and mean"] - level) / spread
        of_people = _best(strangers, people).T
        ways["best photo, AS-norm"] = (_adapted(best.T, of_people).T + _adapted(best, to_strangers)) / 2
    return ways


def _adapted(scores: np.ndarray, to_strangers: np.ndarray) -> np.ndarray:
    """Each row in standard deviations above the most similar strangers of that row."""
    count = min(NEAREST_STRANGERS, to_strangers.shape[1])
    nearest = -np.partition(-to_strangers, count - 1, axis=1)[:, :count]
    return np.asarray((scores - nearest.mean(axis=1, keepdims=True)) / nearest.std(axis=1, keepdims=True))


def _best(faces: np.ndarray, people: Sequence[EnrolledPhotos]) -> np.ndarray:
    return np.stack([(faces @ person.embeddings.T).max(axis=1) for person in people], axis=1)


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def answers(scores: np.ndarray, truth: Sequence[Optional[int]], persons: Sequence[int]) -> Answers:
    """`scores` are N x P; `truth` is the person's column, None for strangers."""
    nearest = scores.argmax(axis=1)
    right = np.array([who == int(column) for who, column in zip(truth, nearest)], bool)
    return Answers(scores[np.arange(len(scores)), nearest], right, np.array(persons))


@dataclass(frozen=True)
class Difference:
    """TPIR of a way to compare, and what it gains over the best photo."""

    way: str
    tpir: float
    gain: float
    interval: Tuple[float, float]
    """95 %, of the gain, resampled over persons."""

    @property
    def better(self) -> bool:
        return self.interval[0] > 0


def differences(enrolled: Dict[str, Answers], strangers: Dict[str, Answers], fpir: float) -> List[Difference]:
    base = resampled(enrolled[BEST_PHOTO], strangers[BEST_PHOTO], fpir)
    plain = tpir(enrolled[BEST_PHOTO], strangers[BEST_PHOTO], fpir).share.value
    found = []
    for way in enrolled:
        gains = resampled(enrolled[way], strangers[way], fpir) - base
        value = tpir(enrolled[way], strangers[way], fpir).share.value
        low, high = np.quantile(gains, (0.025, 0.975))
        found.append(Difference(way, value, value - plain, (float(low), float(high))))
    return found
