"""Unknown people who come again: visits with their embeddings, grouped into strangers with numbers.

`StrangerBook` is the state. Every change of it is one of the dataclasses of `Change`, so that the changes are all that
has to be stored: applied to an empty book in their order, they give the same state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Dict, Iterable, List, NamedTuple, Optional, Set, Tuple, Union

import numpy as np

EXEMPLARS = 5
"""Visits of a stranger that new faces are compared with: those with the most and the clearest looks."""
MAX_CROPS = 3
"""Pictures that are kept of one stranger."""
MAX_VISITS = 10_000
"""Visits that are kept in all, named and unknown; the oldest go first."""
SIMILARITY_ABOVE_THRESHOLD = 0.12
"""A name rests on a few chosen photos; a stranger is compared with hundreds of others."""
MERGE_ABOVE_SIMILARITY = 0.1
"""Two strangers whom one visit resembles this much more than necessary are one person."""

_PREFIX = "stranger-"


def stranger_name(number: int) -> str:
    return f"{_PREFIX}{number}"


def stranger_number(text: str) -> Optional[int]:
    """7 from `stranger-7`; None for anything else."""
    found = re.fullmatch(rf"{_PREFIX}([1-9]\d{{0,8}})", text.strip(), re.ASCII | re.IGNORECASE)
    return int(found[1]) if found else None


@dataclass(frozen=True, eq=False)
class Visit:
    """A track that was seen well enough, with what the face looked like."""

    id: str
    channel: str
    track: int
    first_seen: float
    """In seconds since the epoch, also for a recording: when its frames were processed."""
    last_seen: float
    model: str
    """The embedder; only embeddings of the same one can be compared."""
    embedding: np.ndarray
    """Mean of the good looks, weighted by their quality; of unit length."""
    weight: float
    """Sum of the qualities."""
    looks: int
    crop: Optional[str] = None
    """File of the best picture."""
    crop_quality: float = 0.0
    position: Optional[float] = None
    """In a recording: seconds into it at `first_seen`."""
    file: Optional[str] = None
    """In a folder of pictures: the picture."""
    stranger: Optional[int] = None
    name: Optional[str] = None
    """A visit has a stranger or a name."""


@dataclass(frozen=True)
class Seen:
    """A visit began to count, or got better: it replaces the one with its id."""

    visit: Visit


@dataclass(frozen=True)
class Dropped:
    """Visits that are no longer kept. A stranger without visits is gone."""

    visits: Tuple[str, ...]


@dataclass(frozen=True)
class Moved:
    """Visits that belong to another stranger, or to none."""

    visits: Tuple[str, ...]
    stranger: Optional[int]
    name: Optional[str] = None


@dataclass(frozen=True)
class Merged:
    """Two strangers are one person."""

    source: int
    target: int


@dataclass(frozen=True)
class Ignored:
    """A stranger who is never shown and never named, or no longer so."""

    stranger: int
    ignored: bool = True


@dataclass(frozen=True)
class Named:
    """A stranger got a name; the visits are that person's."""

    stranger: int
    name: str


@dataclass(frozen=True)
class Renamed:
    """A person has another name; the visits, and what is not this person, keep belonging to the person."""

    before: str
    name: str


@dataclass(frozen=True, eq=False)
class Denied:
    """A face that is not this person."""

    name: str
    model: str
    embedding: np.ndarray
    time: float
    visit: Optional[str] = None


@dataclass(frozen=True)
class Numbered:
    """Numbers below this one have been used."""

    next_number: int


Change = Union[Seen, Dropped, Moved, Merged, Ignored, Named, Renamed, Denied, Numbered]


class Nearest(NamedTuple):
    """A stranger and the similarity of a face with the nearest visit."""

    stranger: int
    similarity: float


@dataclass(eq=False)
class StrangerBook:
    """All visits that are kept, and what follows from them. Changes only by `apply`."""

    next_number: int = 1
    """Of the next new stranger. Never decreases."""
    visits: Dict[str, Visit] = field(default_factory=dict)
    ignored: Set[int] = field(default_factory=set)
    named: Dict[int, str] = field(default_factory=dict)
    """Strangers who got a name, for events of the time before."""
    merged: Dict[int, int] = field(default_factory=dict)
    """Numbers that are another stranger's now, who is kept or has a name."""
    denied: List[Denied] = field(default_factory=list)
    _of: Dict[int, Dict[str, Visit]] = field(default_factory=dict)
    _exemplars: Dict[str, Tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """By model: embeddings, and the stranger of each row. Made when they are needed."""

    @property
    def strangers(self) -> List[int]:
        """Those of whom visits are kept, ignored ones too."""
        return sorted(self._of)

    def visits_of(self, stranger: int) -> List[Visit]:
        """The oldest first."""
        return sorted(self._of.get(stranger, {}).values(), key=lambda visit: (visit.first_seen, visit.id))

    def current(self, stranger: int) -> int:
        """The number that this one has after all merges."""
        return self.merged.get(stranger, stranger)

    def names(self) -> Dict[str, str]:
        """Of all strangers who got a name, also those that had been merged into one: `stranger-7` -> `Eva`."""
        numbers = sorted({*self.named, *self.merged})
        named = ((number, self.named.get(self.current(number))) for number in numbers)
        return {stranger_name(number): name for number, name in named if name is not None}

    def crops(self) -> Set[str]:
        return {visit.crop for visit in self.visits.values() if visit.crop is not None}

    def crops_of(self, stranger: int) -> List[str]:
        """The best first."""
        kept = sorted(self._of.get(stranger, {}).values(), key=lambda visit: (-visit.crop_quality, visit.id))
        return [visit.crop for visit in kept if visit.crop is not None]

    def nearest(self, embedding: np.ndarray, model: str, without: Iterable[int] = ()) -> List[Nearest]:
        """The strangers in the order of their similarity with a face."""
        if model not in self._exemplars:
            rows, owners = [], []
            for stranger, visits in self._of.items():
                comparable = [visit for visit in visits.values() if visit.model == model]
                for visit in sorted(comparable, key=lambda visit: (-visit.weight, visit.id))[:EXEMPLARS]:
                    rows.append(visit.embedding)
                    owners.append(stranger)
            embeddings = np.stack(rows) if rows else np.empty((0, len(embedding)), np.float32)
            self._exemplars[model] = embeddings, np.array(owners, np.int64)
        embeddings, strangers = self._exemplars[model]
        best: Dict[int, float] = {}
        skipped = set(without)
        for stranger, similarity in zip(strangers.tolist(), (embeddings @ embedding).tolist()):
            if stranger not in skipped and similarity > best.get(stranger, -np.inf):
                best[stranger] = similarity
        return [Nearest(*pair) for pair in sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))]

    def apply(self, change: Change) -> None:
        self._exemplars.clear()
        if isinstance(change, Seen):
            self._put(change.visit)
        elif isinstance(change, Dropped):
            for visit in change.visits:
                self._take(visit)
            self.merged = {old: kept for old, kept in self.merged.items() if kept in self._of or kept in self.named}
        elif isinstance(change, Moved):
            for visit in change.visits:
                if visit in self.visits:
                    self._put(replace(self.visits[visit], stranger=change.stranger, name=change.name))
        elif isinstance(change, Merged):
            self._merge(change.source, change.target)
        elif isinstance(change, Ignored):
            number = self.current(change.stranger)
            if number not in self.named:
                (self.ignored.add if change.ignored else self.ignored.discard)(number)
        elif isinstance(change, Named):
            number = self.current(change.stranger)
            self.named[number] = change.name
            for one in list(self._of.get(number, {}).values()):
                self._put(replace(one, stranger=None, name=change.name, crop=None, crop_quality=0.0))
            self.ignored.discard(number)
        elif isinstance(change, Renamed):
            before, name = change.before, change.name
            self.named.update({number: name for number, given in self.named.items() if given == before})
            self.denied = [replace(one, name=name) if one.name == before else one for one in self.denied]
            for one in [visit for visit in self.visits.values() if visit.name == before]:
                self._put(replace(one, name=name))
        elif isinstance(change, Denied):
            self.denied.append(change)
        else:
            self.next_number = max(self.next_number, change.next_number)

    def changes(self) -> List[Change]:
        """The shortest list of changes that gives this state."""
        return [
            Numbered(self.next_number),
            *(Seen(visit) for visit in self.visits.values()),
            *(Ignored(stranger) for stranger in sorted(self.ignored)),
            *(Merged(source, target) for source, target in sorted(self.merged.items())),
            *(Named(stranger, name) for stranger, name in sorted(self.named.items())),
            *self.denied,
        ]

    def _put(self, visit: Visit) -> None:
        self._take(visit.id)
        if visit.stranger is not None:
            self.next_number = max(self.next_number, visit.stranger + 1)
            number = self.current(visit.stranger)
            # A visit that goes on while the stranger is named.
            name = self.named.get(number)
            stranger = number if name is None else None
            crop = visit.crop if name is None else None
            visit = replace(visit, stranger=stranger, name=name, crop=crop)
        self.visits[visit.id] = visit
        if visit.stranger is not None:
            self._of.setdefault(visit.stranger, {})[visit.id] = visit
            for surplus in self.crops_of(visit.stranger)[MAX_CROPS:]:
                self._without_crop(visit.stranger, surplus)

    def _take(self, visit_id: str) -> None:
        visit = self.visits.pop(visit_id, None)
        if visit is not None and visit.stranger is not None:
            del self._of[visit.stranger][visit_id]
            if not self._of[visit.stranger]:
                del self._of[visit.stranger]

    def _without_crop(self, stranger: int, crop: str) -> None:
        for visit in self._of[stranger].values():
            if visit.crop == crop:
                changed = replace(visit, crop=None, crop_quality=0.0)
                self._of[stranger][visit.id] = self.visits[visit.id] = changed
                return

    def _merge(self, source: int, target: int) -> None:
        source, target = self.current(source), self.current(target)
        if source == target or source in self.named:
            return
        self.next_number = max(self.next_number, source + 1, target + 1)
        moved = list(self._of.get(source, {}).values())
        self.merged[source] = target
        for earlier in [number for number, later in self.merged.items() if later == source]:
            self.merged[earlier] = target
        if source in self.ignored:
            self.ignored.discard(source)
            if target not in self.named:
                self.ignored.add(target)
        for visit in moved:
            self._put(visit)


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
        else:
            kept = not isinstance(change, Denied) or change.name not in people
        if kept:
            left.apply(change)
    return left
