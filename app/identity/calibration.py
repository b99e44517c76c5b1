"""How often a stranger would get a name, how often the enrolled people do, and how certain a single name is.

Everything is computed from embeddings: those of the gallery, and those of strangers that come with the embedder. The
strangers are compared with the whole gallery, as a visitor would be, so the number of people counts by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from app.identity.visits import comparison_rate_for, visit_rate
from app.intervals import Share, poisson
from app.settings import RecognitionSettings

TAIL_SHARE = 0.1
"""Of the strangers, whose similarities are extrapolated to rarer ones."""
SAME_PICTURE = 0.95
"""Photos of a person that are more similar are copies, or frames of one video: one does not test the other."""
MIN_STRANGERS = 100
MIN_OWN_LOOKS = 5
MOST_CERTAIN = 0.999
"""More than that cannot be known from a thousand strangers."""
PRIOR = 0.5
"""Before the comparison, a face is as likely that of an enrolled person as that of a stranger."""

MOST_PEOPLE = 200
USUAL_SLOPE, USUAL_OFFSET = 30.0, -9.0
"""Of `Certainty`, for the built-in embedder."""

MOST_COMPARISONS = 200_000_000
"""Of photos with one another. Of larger galleries, some people's photos are compared with everybody's: those of 14,000
photos all, of 100,000 photos 2,000."""

_PULL = 1e-7
_BINS = 1000
_CELLS_PER_BLOCK = 8_000_000
"""Of a table of similarities: 32 MB."""
_REPEATS_OF_Q90_TO_MEDIAN = 4


class Nearest(NamedTuple):
    """The two people most similar to each of several faces."""

    person: np.ndarray
    """N: number of the person, -1 without one."""
    similarity: np.ndarray
    """N: cosine of the person's best photo, -1 without one."""
    runner_up: np.ndarray
    """N: the same for the second person."""


@dataclass(frozen=True, eq=False)
class Tail:
    """How often strangers reach high similarities: as counted, and beyond a limit as an exponential.

    The similarities of strangers fall off faster than an exponential, so that rare false accepts are estimated a
    little too high.
    """

    similarities: np.ndarray
    """Of all strangers, ascending."""
    start: float
    """Where the exponential begins."""
    share: float
    """Of the strangers above it."""
    mean_excess: float

    @classmethod
    def of(cls, similarities: np.ndarray) -> Tail:
        ordered = np.sort(similarities)
        start = float(np.quantile(ordered, 1 - TAIL_SHARE))
        above = ordered[ordered > start]
        mean_excess = float((above - start).mean()) if len(above) else 1e-3
        return cls(ordered, start, len(above) / len(ordered), max(mean_excess, 1e-6))

    def rate(self, threshold: float) -> float:
        """The share of strangers who are at least so similar."""
        if threshold <= self.start:
            return self.reached(threshold) / len(self.similarities)
        return self.share * math.exp((self.start - threshold) / self.mean_excess)

    def reached(self, threshold: float) -> int:
        return len(self.similarities) - int(np.searchsorted(self.similarities, threshold, side="left"))

    def upper_bound(self, threshold: float) -> float:
        """95 % upper bound of the rate, from the count alone, with no assumption about the tail."""
        return min(
            1.0, max(self.rate(threshold), poisson(self.reached(threshold), tail=0.05)[1] / len(self.similarities))
        )

    def threshold(self, rate: float) -> float:
        if rate >= self.share:
            return float(np.quantile(self.similarities, max(0.0, 1 - rate)))
        return self.start + self.mean_excess * math.log(self.share / rate)


@dataclass(frozen=True)
class Certainty:
    """From similarities to the probability that a name is right: a likelihood ratio with a stated prior."""

    slope: float
    offset: float
    """log(likelihood of the similarity for the same person / for two people) = slope * similarity + offset."""
    people: int

    def probability(self, similarity: float, runner_up: float = -1.0) -> float:
        """That the face is the nearest person's, and neither the runner-up's nor that of a stranger."""
        first, second = (min(max(self.slope * value + self.offset, -60), 60) for value in (similarity, runner_up))
        stranger = math.log(self.people * (1 - PRIOR) / PRIOR)
        return min(1 / (1 + math.exp(second - first) + math.exp(stranger - first)), MOST_CERTAIN)


class NearestPair(NamedTuple):
    """The two people who are most easily confused."""

    rows: Tuple[int, int]
    """Their most similar photos."""
    similarity: float
    without: Tuple[float, float]
    """The similarity of the two people without the one photo, and without the other; -1 if it was the last."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a gallery's embeddings and those of strangers say about thresholds and names."""

    people: int
    """With a photo that is used."""
    strangers: int
    """That were compared."""
    strangers_left_out: int
    """Who are so similar to an enrolled person that they are the same, as far as one can tell."""
    tail: Tail
    own: np.ndarray
    """Similarities of the enrolled people's photos to the other photos of the same person; -1 where another person was
    nearer, or nearly."""
    own_people: int
    """Who have two photos or more; of a large gallery, those of them who were compared."""
    compared_photos: int
    """That were compared with all others, for the nearest pair."""
    pair: Optional[NearestPair]
    certainty: Certainty
    votes: Tuple[int, int]
    """`vote_window` and `min_votes`."""

    def false_accept_rate(self, threshold: float) -> float:
        """The share of strangers' visits that would get a name."""
        return visit_rate(self.tail.rate(threshold), *self.votes)

    def upper_bound(self, threshold: float) -> float:
        """The 95 % upper bound of that share."""
        return visit_rate(self.tail.upper_bound(threshold), *self.votes)

    def threshold(self, rate: float) -> float:
        """The threshold at which this share of strangers' visits would get a name."""
        return self.tail.threshold(comparison_rate_for(rate, *self.votes))

    def named(self, threshold: float) -> Optional[Share]:
        """How many looks of the enrolled people would get their name; None: there are not enough photos."""
        if len(self.own) < MIN_OWN_LOOKS or self.own_people < 2:
            return None
        return Share(int((self.own >= threshold).sum()), len(self.own))


def calibrate(
    embeddings: np.ndarray,
    people: Sequence[str],
    strangers: np.ndarray,
    same_person: np.ndarray,
    settings: RecognitionSettings,
) -> Optional[Calibration]:
    """`embeddings` (R x D) are those of the gallery's photos, `people` their persons. None without people or strangers.

    `same_person` are similarities of pairs of photos of other people, for galleries with one photo each.
    """
    if not len(embeddings) or len(strangers) < MIN_STRANGERS:
        return None
    numbers = {name: number for number, name in enumerate(sorted(set(people)))}
    person_of_row = np.array([numbers[name] for name in people])
    nearest = nearest_people(strangers, embeddings, person_of_row)
    median, high = np.quantile(nearest.similarity, (0.5, 1 - TAIL_SHARE))
    unknown = nearest.similarity <= high + _REPEATS_OF_Q90_TO_MEDIAN * (high - median)
    lead = nearest.similarity - nearest.runner_up
    clear = (lead >= settings.margin) | (nearest.runner_up == -1)
    own, own_people = own_looks(embeddings, person_of_row, settings.margin)
    # Some of the people are enough for the typical similarity of two.
    some = np.isin(person_of_row, np.arange(0, len(numbers), len(numbers) // MOST_PEOPLE + 1))
    different = best_per_person(strangers[unknown], embeddings[some], person_of_row[some])[1]
    return Calibration(
        people=len(numbers),
        strangers=int(unknown.sum()),
        strangers_left_out=int((~unknown).sum()),
        tail=Tail.of(np.where(clear, nearest.similarity, -1.0)[unknown]),
        own=own,
        own_people=own_people,
        compared_photos=len(_some_rows(len(embeddings))),
        pair=nearest_pair(embeddings, person_of_row),
        certainty=certainty(np.concatenate([same_person, own[own > -1]]), different.ravel(), len(numbers)),
        votes=(settings.vote_window, settings.min_votes),
    )


def best_per_person(
    faces: np.ndarray, embeddings: np.ndarray, person_of_row: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """The numbers of the people (P), and each face's similarity to the best photo of each person (N x P)."""
    embeddings, person_of_row = _by_person(embeddings, person_of_row)
    persons, starts = np.unique(person_of_row, return_index=True)
    return persons, np.maximum.reduceat(faces @ embeddings.T, starts, axis=1)


def nearest_people(faces: np.ndarray, embeddings: np.ndarray, person_of_row: np.ndarray) -> Nearest:
    """Compares faces (N x D) with people, as `PersonIndex` does."""
    embeddings, person_of_row = _by_person(embeddings, person_of_row)
    found: List[Tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for block in _blocks(len(faces), len(embeddings)) if len(embeddings) else ():
        persons, best = best_per_person(faces[block], embeddings, person_of_row)
        rows = np.arange(len(best))
        first = best.argmax(axis=1)
        similarity = best[rows, first].copy()
        best[rows, first] = -1.0
        found.append((persons[first], similarity, best.max(axis=1)))
    if not found:
        return Nearest(*(np.full(len(faces), -1.0) for _ in Nearest._fields))
    return Nearest(*(np.concatenate(column) for column in zip(*found)))


def own_looks(embeddings: np.ndarray, person_of_row: np.ndarray, margin: float) -> Tuple[np.ndarray, int]:
    """Each photo of people with several, compared as if it were a look of a camera: with the person's other photos, and
    with everybody else's. Of a large gallery, the photos of some of these people."""
    embeddings, person_of_row = _by_person(embeddings, person_of_row)
    _, starts, counts = np.unique(person_of_row, return_index=True, return_counts=True)
    several = np.flatnonzero(counts > 1)
    looks = int(counts[several].sum())
    # Evenly spaced, so that the same gallery always gives the same answer.
    step = max(1, -(-looks // (MOST_COMPARISONS // max(len(embeddings), 1) + 1)))
    several = several[::step]
    similarities: List[float] = []
    own_people = 0
    for person in several.tolist():
        mine = slice(starts[person], starts[person] + counts[person])
        own = embeddings[mine] @ embeddings[mine].T
        own[own > SAME_PICTURE] = -1.0
        best = own.max(axis=1)
        tested = np.flatnonzero(best > -1)
        own_people += bool(len(tested))
        for block in _blocks(len(tested), len(embeddings)):
            table = embeddings[mine][tested[block]] @ embeddings.T
            table[:, mine] = -1.0
            clear = best[tested[block]] - table.max(axis=1) >= margin
            similarities += np.where(clear, best[tested[block]], -1.0).tolist()
    return np.array(similarities), own_people


def nearest_pair(embeddings: np.ndarray, person_of_row: np.ndarray) -> Optional[NearestPair]:
    """The most similar photos of two people; None where there are not two. Of a large gallery, one of them is among
    those photos that were compared with all."""
    best, rows = -2.0, (0, 0)
    some = _some_rows(len(embeddings))
    for block in _blocks(len(some), len(embeddings)):
        similarity = embeddings[some[block]] @ embeddings.T
        similarity[person_of_row[some[block], None] == person_of_row[None]] = -2.0
        at = int(similarity.argmax())
        if similarity.flat[at] > best:
            best = float(similarity.flat[at])
            rows = (int(some[block][at // len(embeddings)]), at % len(embeddings))
    if best == -2.0:
        return None
    one, other = (np.flatnonzero(person_of_row == person_of_row[row]) for row in rows)
    table = embeddings[one] @ embeddings[other].T
    without = (table[one != rows[0]].max(initial=-1.0), table[:, other != rows[1]].max(initial=-1.0))
    return NearestPair(rows, best, (float(without[0]), float(without[1])))


def _by_person(embeddings: np.ndarray, person_of_row: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Rows in the order of their people; not copied if they are in it already."""
    if (np.diff(person_of_row) >= 0).all():
        return embeddings, person_of_row
    order = np.argsort(person_of_row, kind="stable")
    return embeddings[order], person_of_row[order]


def _some_rows(count: int) -> np.ndarray:
    """The rows that can be compared with all, evenly spaced."""
    return np.arange(0, count, max(1, -(-count * count // MOST_COMPARISONS)))


def _blocks(faces: int, photos: int) -> Iterator[slice]:
    """Parts of the faces whose similarities to all photos fit into little memory."""
    size = max(1, min(256, _CELLS_PER_BLOCK // max(photos, 1)))
    return (slice(start, start + size) for start in range(0, faces, size))


def certainty(same: np.ndarray, different: np.ndarray, people: int) -> Certainty:
    """Logistic regression on similarities of one person (`same`) and of two, as if both were equally frequent."""
    edges = np.linspace(-1, 1, _BINS + 1)
    counts = [np.histogram(np.clip(group, -1, 1), edges)[0] for group in (same, different)]
    weight = np.concatenate([count / max(int(count.sum()), 1) for count in counts])
    middles = (edges[1:] + edges[:-1]) / 2
    design = np.stack([np.tile(middles, 2), np.ones(2 * _BINS)], axis=1)
    is_same = np.repeat([1.0, 0.0], _BINS)
    usual = np.array([USUAL_SLOPE, USUAL_OFFSET])
    fitted = usual.copy()
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(design @ fitted, -40, 40)))
        # A weak pull to the usual values keeps the fit finite where the two groups do not overlap.
        gradient = design.T @ (weight * (is_same - chance)) - _PULL * (fitted - usual)
        curvature = (design * (weight * chance * (1 - chance))[:, None]).T @ design + _PULL * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        fitted = fitted + step * min(1.0, 5 / float(np.abs(step).max(initial=1e-9)))
    return Certainty(float(fitted[0]), float(fitted[1]), people)
