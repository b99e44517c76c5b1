"""Finds strangers of different devices who are one person. One device of the fleet does so at a time."""

from __future__ import annotations

from typing import Dict, Iterable, Set, Tuple

import numpy as np

from app.database.strangers import Pair, SharedStrangers
from app.fleet.registry import similar_pairs, survivors


def merge(shared: SharedStrangers, embedder: str, similarity: float) -> int:
    """Compares those who are new; how many pairs are one person. 0 where another device is elected."""
    if not shared.is_merger(embedder):
        return 0
    found: Set[Pair] = set()
    new = shared.to_compare(embedder)
    if new:
        vectors = _vectors((stranger, prototype) for stranger, prototype, _ in new)
        for known in shared.compared_with(embedder):
            found.update(similar_pairs(vectors, _vectors(known), similarity))
        for pair in sorted(found):
            shared.decide(pair.low, pair.high, same=True, by_person=False)
        shared.compared({stranger: revision for stranger, _, revision in new})
    if shared.is_unresolved():
        update_survivors(shared)
    return len(found)


def update_survivors(shared: SharedStrangers) -> None:
    with shared.resolving() as (living, pairs):
        shared.store_survivors(survivors(living, pairs))


def packed(embedding: np.ndarray) -> bytes:
    return embedding.astype("<f2").tobytes()


def unpacked(prototype: bytes) -> np.ndarray:
    vector = np.frombuffer(prototype, "<f2").astype(np.float32)
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def _vectors(rows: Iterable[Tuple[str, bytes]]) -> Dict[str, np.ndarray]:
    return {stranger: unpacked(prototype) for stranger, prototype in rows}
