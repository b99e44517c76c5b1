"""Many faces at once, divided into people: for an archive, where all faces are known beforehand."""

from __future__ import annotations

from typing import Dict, List, Tuple

import numpy as np

from app.identity.strangers import MERGE_ABOVE_SIMILARITY

_ROWS_AT_ONCE = 512
_NUMBERS_AT_ONCE = 1 << 25
"""Similarities that are held in memory."""
ROUNDS = 2
"""In the second one, groups begin with the faces of the first, so that the order of the faces counts for less."""

NO_GROUP = -1


def grouped(embeddings: np.ndarray, similarity: float) -> np.ndarray:
    """The number of each face's group: 0 for the largest one.

    A face (N x D, unit length, the clearest first) belongs to the group whose mean it resembles most, if by at least
    this cosine. Groups whose means resemble each other clearly more are one person. Takes time in proportion to the
    number of faces times that of groups.
    """
    centres = np.empty((0, embeddings.shape[1]), np.float32)
    of = np.full(len(embeddings), NO_GROUP)
    for _ in range(ROUNDS):
        of, sums = _assigned(embeddings, centres, similarity)
        of, sums = _merged(of, sums, min(1.0, similarity + MERGE_ABOVE_SIMILARITY))
        centres = _units(sums)
    sizes = np.bincount(of, minlength=len(centres))
    firsts = np.full(len(sizes), len(of))
    np.minimum.at(firsts, of, np.arange(len(of)))
    order = np.lexsort((firsts, -sizes))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[of])


def _assigned(embeddings: np.ndarray, centres: np.ndarray, similarity: float) -> Tuple[np.ndarray, np.ndarray]:
    """The group of each face, and the sum of each group's faces. What resembles none of the centres makes new ones."""
    of = np.full(len(embeddings), NO_GROUP)
    capacity = max(1024, 2 * len(centres))
    means = np.zeros((capacity, embeddings.shape[1]), np.float32)
    sums = np.zeros_like(means)
    means[: len(centres)] = centres
    count = len(centres)
    start = 0
    while start < len(embeddings):
        block = embeddings[start : start + _rows_at_once(count)]
        known = count
        if known:
            similarities = block @ means[:known].T
            best = similarities.argmax(axis=1)
            nearest = similarities[np.arange(len(block)), best]
        else:
            best, nearest = np.zeros(len(block), np.int64), np.full(len(block), -1.0)
        for row, vector in enumerate(block):
            group, near = int(best[row]), float(nearest[row])
            if count > known:
                # Groups that began in this block.
                new = means[known:count] @ vector
                at = int(new.argmax())
                if new[at] > near:
                    group, near = known + at, float(new[at])
            if near < similarity:
                group = count
                count += 1
                if count > len(means):
                    means, sums = (np.concatenate([array, np.zeros_like(array)]) for array in (means, sums))
            of[start + row] = group
            sums[group] += vector
            if group >= len(centres):
                means[group] = sums[group] / max(float(np.linalg.norm(sums[group])), 1e-9)
        start += len(block)
    used = np.unique(of)
    return np.searchsorted(used, of), sums[used]


def _merged(of: np.ndarray, sums: np.ndarray, similarity: float) -> Tuple[np.ndarray, np.ndarray]:
    """Joins groups whose means are so similar, directly or through others."""
    centres = _units(sums)
    parent: Dict[int, int] = {}

    def root(group: int) -> int:
        while group in parent:
            group = parent[group]
        return group

    at_once = _rows_at_once(len(centres))
    for start in range(0, len(centres), at_once):
        rows, others = np.nonzero(centres[start : start + at_once] @ centres.T >= similarity)
        for one, other in zip((rows + start).tolist(), others.tolist()):
            first, second = sorted((root(one), root(other)))
            if first != second:
                parent[second] = first
    roots = np.array([root(group) for group in range(len(centres))], np.int64)
    kept = np.unique(roots)
    joined = np.zeros((len(kept), sums.shape[1]), sums.dtype)
    numbers = np.searchsorted(kept, roots)
    np.add.at(joined, numbers, sums)
    return numbers[of], joined


def _rows_at_once(columns: int) -> int:
    return max(16, min(_ROWS_AT_ONCE, _NUMBERS_AT_ONCE // max(1, columns)))


def shares_of_pairs(groups: np.ndarray, people: np.ndarray) -> Tuple[float, float]:
    """How right groups are: of the pairs of faces in one group, the share that is one person (precision), and of the
    pairs of one person, the share that is in one group (recall). 1 where there are no pairs."""

    def pairs(of: np.ndarray) -> int:
        _, counts = np.unique(of, axis=0, return_counts=True)
        return int((counts.astype(np.int64) * (counts - 1) // 2).sum())

    right = pairs(np.stack([groups, people], axis=1))
    together, of_one_person = pairs(groups), pairs(people)
    return right / together if together else 1.0, right / of_one_person if of_one_person else 1.0


def _units(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9), np.float32)


def members(of: np.ndarray) -> List[np.ndarray]:
    """The faces of each group, in their order."""
    order = np.argsort(of, kind="stable")
    return np.split(order, np.cumsum(np.bincount(of))[:-1]) if len(of) else []
