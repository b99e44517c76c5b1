"""Which strangers of a fleet are one person. Pure: it follows from the decisions, in whatever order they came."""

from __future__ import annotations

from collections import defaultdict
from typing import Dict, Iterable, List, Mapping, Optional, Set

import numpy as np

from app.database.strangers import Pair


def survivors(living: Mapping[str, Optional[str]], pairs: Iterable[Pair]) -> Dict[str, str]:
    """By whom each stranger is represented: a named person beats a stranger, then the smallest id survives.

    `living` are the names by id. Strangers who are gone still connect others. Two who are not the same person, or have
    different names, never become one, even over others.
    """
    known = sorted(set(pairs))
    different: Dict[str, Set[str]] = defaultdict(set)
    for pair in known:
        if not pair.same:
            different[pair.low].add(pair.high)
            different[pair.high].add(pair.low)
    group: Dict[str, List[str]] = {one: [one] for one in living}
    for pair in known:
        if not pair.same:
            continue
        first, second = (group.setdefault(one, [one]) for one in (pair.low, pair.high))
        if first is second or any(different[one] & set(second) for one in first):
            continue
        if len({living[one] for one in (*first, *second) if living.get(one) is not None}) > 1:
            continue
        first.extend(second)
        for one in second:
            group[one] = first
    return {
        one: min((other for other in group[one] if other in living), key=lambda other: (living[other] is None, other))
        for one in living
    }


def similar_pairs(new: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray], similarity: float) -> List[Pair]:
    """Pairs of new and known strangers whose faces are more similar than this."""
    if not new or not known:
        return []
    names, others = list(new), list(known)
    similarities = np.stack(list(new.values())) @ np.stack(list(known.values())).T
    found = set()
    for row, column in zip(*(axis.tolist() for axis in np.nonzero(similarities >= similarity))):
        low, high = sorted((names[row], others[column]))
        if low != high:
            found.add(Pair(low, high, True))
    return sorted(found)
