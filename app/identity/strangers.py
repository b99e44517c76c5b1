"""Unknown people who come again: visits with their embeddings, grouped into strangers with numbers.

`StrangerBook` is the state. Every change of it is one of the dataclasses of `Change`, so that the changes are all that
has to be stored: applied to an empty book in their order, they give the same state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Dict, Iterable, List, NamedTuple, Optional, Set, Tuple, Union

import numpy as np

from app.identity.reassignments import Reassigned, ReassignedState, Reassignments

EXEMPLARS = 5
"""Visits of a stranger that new faces are compared with: those with the most and the clearest looks."""
MAX_CROPS = 3
"""Pictures that are kept of one stranger."""
MAX_VISITS = 10_000
"""Visits that are kept in all, named and unknown; the oldest go first."""
SIMILARITY_ABOVE_THRESHOLD = 0.12
"""A name rests on a few chosen photos; a stranger is compared with hundreds of others."""
MAX_RENAMED = 1000
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
    stranger: Optional[int] = None
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
class Unnamed:
    """A name was taken back: events of the time before have none, either."""

    stranger: int


@dataclass(frozen=True)
class Renamed:
    """A person has another name; the visits, and what is not this person, keep belonging to the person."""

    before: str
    name: str
    time: float = 0.0
    """Events before it have the old name."""


@dataclass(frozen=True, eq=False)
class Denied:
    """A face that is not this person."""

    name: str
    model: str
    embedding: np.ndarray
    time: float
    visit: Optional[str] = None


class VisitState(NamedTuple):
    """Whose a visit is, and its picture."""

    visit: str
    stranger: Optional[int]
    name: Optional[str]
    crop: Optional[str]
    crop_quality: float


class NumberState(NamedTuple):
    """What a stranger's number stands for."""

    number: int
    merged: Optional[int]
    name: Optional[str]
    ignored: bool


class DeniedState(NamedTuple):
    """The person whom a face is not. An empty name: nobody has said so."""

    time: float
    visit: Optional[str]
    name: str


@dataclass(frozen=True)
class Restored:
    """A change was undone: these are what they were before it."""

    visits: Tuple[VisitState, ...] = ()
    numbers: Tuple[NumberState, ...] = ()
    denied: Tuple[DeniedState, ...] = ()
    renamed: Optional[float] = None
    """The time of the `Renamed` that never was."""
    reassigned: Tuple[ReassignedState, ...] = ()


@dataclass(frozen=True)
class Numbered:
    """Numbers below this one have been used."""

    next_number: int


Change = Union[Seen, Dropped, Moved, Merged, Ignored, Named, Unnamed, Renamed, Denied, Reassigned, Restored, Numbered]


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
    unnamed: Set[int] = field(default_factory=set)
    """Strangers whose name was taken back."""
    renamed: List[Renamed] = field(default_factory=list)
    """For events of the time before."""
    denied: List[Denied] = field(default_factory=list)
    reassigned: Reassignments = field(default_factory=Reassignments)
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
        return {stranger: name for stranger, name in self.all_names().items() if name is not None}

    def all_names(self) -> Dict[str, Optional[str]]:
        """The same with those whose name was taken back, as None, and with the visits that are another's."""
        numbers = sorted({*self.named, *self.merged, *self.unnamed})
        named = ((number, self.named.get(self.current(number))) for number in numbers)
        given = {stranger_name(number): name for number, name in named if name is not None or number in self.unnamed}
        return {**given, **self.reassigned.names()}

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
            self.unnamed.discard(number)
        elif isinstance(change, Unnamed):
            self.named.pop(change.stranger, None)
            self.unnamed.add(change.stranger)
        elif isinstance(change, Restored):
            self._restore(change)
        elif isinstance(change, Renamed):
            before, name = change.before, change.name
            self.renamed = [*self.renamed[-MAX_RENAMED + 1 :], change]
            self.named.update({number: name for number, given in self.named.items() if given == before})
            self.denied = [replace(one, name=name) if one.name == before else one for one in self.denied]
            self.reassigned.rename(before, name)
            for one in [visit for visit in self.visits.values() if visit.name == before]:
                self._put(replace(one, name=name))
        elif isinstance(change, Denied):
            self.denied.append(change)
        elif isinstance(change, Reassigned):
            self.reassigned.set(change.log, change.visit, change.who)
        else:
            self.next_number = max(self.next_number, change.next_number)

    def changes(self) -> List[Change]:
        """The shortest list of changes that gives this state."""
        return [
            Numbered(self.next_number),
            *self.renamed,
            *(Seen(visit) for visit in self.visits.values()),
            *(Ignored(stranger) for stranger in sorted(self.ignored)),
            *(Merged(source, target) for source, target in sorted(self.merged.items())),
            *(Named(stranger, name) for stranger, name in sorted(self.named.items())),
            *(Unnamed(stranger) for stranger in sorted(self.unnamed)),
            *self.denied,
            *self.reassigned.changes(),
        ]

    def _restore(self, change: Restored) -> None:
        for number, merged, name, ignored in change.numbers:
            self.merged.pop(number, None)
            if merged is not None:
                self.merged[number] = merged
            if name is not None:
                self.named[number] = name
                self.unnamed.discard(number)
            elif number in self.named:
                del self.named[number]
                self.unnamed |= {number, *(old for old, kept in self.merged.items() if kept == number)}
            (self.ignored.add if ignored else self.ignored.discard)(number)
        for visit, stranger, name, crop, quality in change.visits:
            if visit in self.visits:
                kept = self.visits[visit]
                self._put(replace(kept, stranger=stranger, name=name, crop=crop, crop_quality=quality))
        names = {(time, visit): name for time, visit, name in change.denied}
        denied = [replace(one, name=names.get((one.time, one.visit), one.name)) for one in self.denied]
        self.denied = [one for one in denied if one.name]
        self.reassigned.restore(change.reassigned)
        self.renamed = [one for one in self.renamed if one.time != change.renamed]

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
