"""What follows from the strangers that are kept: who is deleted, who is one person, and who is two."""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional, Tuple

import numpy as np

from app.identity.reassignments import Reassigned
from app.identity.strangers import (
    MAX_VISITS,
    MERGE_ABOVE_SIMILARITY,
    Change,
    Denied,
    Dropped,
    Ignored,
    Merged,
    Named,
    Renamed,
    Seen,
    StrangerBook,
    Unnamed,
    Visit,
    stranger_name,
)


def outdated(book: StrangerBook, now: float, keep_s: float, max_strangers: int) -> List[Change]:
    """What is no longer kept: visits that are too old, and strangers and visits beyond the maximum.

    Ignored strangers stay: without their faces they could not be ignored. Of too many strangers, those who came only
    once go first, and of these the one who was not seen for the longest time.
    """
    old = {
        visit.id
        for visit in book.visits.values()
        if visit.last_seen < now - keep_s and visit.stranger not in book.ignored
    }
    kept: Dict[int, List[Visit]] = {}
    for stranger in book.strangers:
        visits = [visit for visit in book.visits_of(stranger) if visit.id not in old]
        if visits and stranger not in book.ignored:
            kept[stranger] = visits
    surplus = len(kept) - max_strangers
    if surplus > 0:
        order = sorted(kept, key=lambda number: (len(kept[number]) > 1, max(v.last_seen for v in kept[number]), number))
        for stranger in order[:surplus]:
            old |= {visit.id for visit in kept.pop(stranger)}
    rest = [visit for visit in book.visits.values() if visit.id not in old and visit.stranger not in book.ignored]
    if len(rest) > MAX_VISITS:
        rest.sort(key=lambda visit: (visit.last_seen, visit.id))
        old |= {visit.id for visit in rest[: len(rest) - MAX_VISITS]}
    return [Dropped(tuple(sorted(old)))] if old else []


def pruned(book: StrangerBook, now: float, keep_s: float, max_strangers: int) -> Optional[StrangerBook]:
    """A book without what is no longer kept; None where that is nothing."""
    changes = outdated(book, now, keep_s, max_strangers)
    return replayed([*book.changes(), *changes]) if changes else None


def replayed(changes: Iterable[Change]) -> StrangerBook:
    """The state after these changes."""
    book = StrangerBook()
    for change in changes:
        book.apply(change)
    return book


def duplicates(book: StrangerBook, visit: Visit, similarity: float) -> List[Merged]:
    """The strangers who are the same person as that of this visit, which resembles them clearly."""
    if visit.stranger is None or visit.stranger in book.ignored:
        return []
    same = [
        found.stranger
        for found in book.nearest(visit.embedding, visit.model)
        if found.similarity >= similarity + MERGE_ABOVE_SIMILARITY and found.stranger not in book.ignored
    ]
    target = min([visit.stranger, *same])
    return [Merged(source, target) for source in sorted({visit.stranger, *same} - {target})]


def split(visits: Iterable[Visit]) -> Tuple[List[Visit], List[Visit]]:
    """Two groups of visits that resemble each other less than the visits of a group do; the older group first.

    They begin with the two visits that differ most.
    """
    chosen = list(visits)
    vectors = np.stack([visit.embedding for visit in chosen])
    first, second = np.unravel_index(int((vectors @ vectors.T).argmin()), (len(chosen), len(chosen)))
    centres = vectors[[first, second]]
    nearer = np.zeros(len(chosen), np.int64)
    for _ in range(10):
        nearer = (vectors @ centres.T).argmax(axis=1)
        nearer[first], nearer[second] = 0, 1
        means = np.stack([vectors[nearer == group].sum(axis=0) for group in (0, 1)])
        centres = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    groups = [[visit for visit, group in zip(chosen, nearer.tolist()) if group == wanted] for wanted in (0, 1)]
    older, newer = sorted(groups, key=lambda group: min(visit.first_seen for visit in group))
    return older, newer


def without(book: StrangerBook, strangers: Iterable[int] = (), names: Iterable[str] = ()) -> StrangerBook:
    """The book without everything that it has of these strangers and people. Their numbers stay used."""
    people = set(names)
    gone = {book.current(number) for number in strangers} | {n for n, name in book.named.items() if name in people}
    left = StrangerBook(next_number=book.next_number)
    for change in book.changes():
        if isinstance(change, Seen):
            kept = change.visit.stranger not in gone and change.visit.name not in people
        elif isinstance(change, Merged):
            kept = change.target not in gone
        elif isinstance(change, Ignored):
            kept = change.stranger not in gone
        elif isinstance(change, Named):
            kept = change.stranger not in gone and change.name not in people
        elif isinstance(change, Unnamed):
            kept = change.stranger not in gone
        elif isinstance(change, Renamed):
            kept = not people & {change.before, change.name}
        elif isinstance(change, Reassigned):
            kept = change.who not in {*people, *map(stranger_name, gone)}
        else:
            kept = not isinstance(change, Denied) or change.name not in people
        if kept:
            left.apply(change)
    return left
