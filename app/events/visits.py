"""From the lines of an event log to visits: who was there, from when to when, for how long."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

from app.events.event import EventKind
from app.events.history import HEADER, Record, add_relabel, now_of
from app.text import parse_time

# fmt: off
VISIT_COLUMNS = (
    "visit", "channel", "track", "name", "stranger", "nearest", "similarity", "time", "first_seen", "last_seen", "file",
    "duration_s", "ended",
)
# fmt: on


@dataclass(frozen=True)
class Visit:
    """One person in front of one camera."""

    visit: int
    """Its number, unique in the log."""
    channel: str
    track: int
    """The last one of the person."""
    name: Optional[str]
    stranger: Optional[str]
    """Such as `stranger-7`: an unknown person with a number."""
    nearest: Optional[str]
    """Also of an unknown person, by the last comparison."""
    similarity: Optional[float]
    time: str
    """When it began on the clock of the program, also for a recording."""
    first_seen: Union[str, float]
    """When it began: like `time`, or for a recording like `position`."""
    last_seen: Union[str, float]
    """As far as the log says, when it has not ended."""
    file: Optional[str] = None
    ended: Optional[str] = None
    """The reason of `left`; None: it has not ended."""
    duration_s: float = 0.0
    """The time that passed; differs from the two times if the clock was set meanwhile."""

    @property
    def day(self) -> str:
        """The local date of its beginning."""
        return time.strftime("%Y-%m-%d", time.localtime(parse_time(self.time)))

    def as_json(self) -> Dict[str, Any]:
        return dict(vars(self))


def visits(records: Iterable[Record], relabels: Optional[Mapping[str, str]] = None) -> Iterator[Visit]:
    """Each visit when it ends; those that have not ended come last.

    `relabels` are names that strangers got later: `stranger-7` -> `Eva`.
    """
    names = dict(relabels or {})
    for visit in _visits(records, names):
        name, stranger = now_of(names, visit.visit, visit.name, visit.stranger)
        yield (
            visit if (name, stranger) == (visit.name, visit.stranger) else replace(visit, name=name, stranger=stranger)
        )


def _visits(records: Iterable[Record], names: Dict[str, str]) -> Iterator[Visit]:
    """Adds to `names` those of relabel events."""
    present: Dict[int, Visit] = {}
    log = None
    for record in records:
        if record["event"] == HEADER:
            if record["log"] != log and log is not None:
                yield from present.values()
                present.clear()
            log = record["log"]
            for known in record["open"]:
                if "visit" in known:
                    present.setdefault(known["visit"], _begun(known))
        elif record["event"] == EventKind.RELABEL:
            add_relabel(names, record)
        elif "visit" in record:
            visit = present.pop(record["visit"], None) or _begun(record)
            if record["event"] == EventKind.LEFT:
                yield _continued(visit, record, ended=record["reason"])
            else:
                present[visit.visit] = _continued(visit, record)
    yield from present.values()


@dataclass
class Day:
    """One person on one day, in all channels."""

    day: str
    name: Optional[str]
    stranger: Optional[str]
    visits: List[Visit]

    @property
    def total_s(self) -> float:
        return sum(visit.duration_s for visit in self.visits)

    @property
    def first(self) -> Visit:
        return min(self.visits, key=lambda visit: visit.time)

    @property
    def last(self) -> Visit:
        return max(self.visits, key=lambda visit: visit.time)


def days(found: Iterable[Visit]) -> List[Day]:
    """A daily summary: by day, then by name; strangers, and then other unknown people, come last."""
    grouped: Dict[Tuple[str, Optional[str], Optional[str]], Day] = {}
    for visit in found:
        stranger = visit.stranger if visit.name is None else None
        day = Day(visit.day, visit.name, stranger, [])
        grouped.setdefault((day.day, day.name, day.stranger), day).visits.append(visit)
    return sorted(grouped.values(), key=lambda day: (day.day, day.name or "\uffff", day.stranger or "\uffff"))


def _now(record: Record) -> Union[str, float]:
    position = record["position"]
    return str(record["time"]) if position is None else float(position)


def _begun(record: Record) -> Visit:
    return Visit(
        visit=record["visit"],
        channel=record["channel"],
        track=record["track"],
        name=record["name"],
        stranger=record.get("stranger"),
        nearest=record.get("nearest"),
        similarity=record.get("similarity"),
        time=record["time"],
        first_seen=record.get("first_seen", _now(record)),
        last_seen=_now(record),
        file=record.get("file"),
    )


def _continued(visit: Visit, record: Record, ended: Optional[str] = None) -> Visit:
    compared = record.get("similarity") is not None
    last_seen = record.get("last_seen", _now(record))
    first, last = (parse_time(at) if isinstance(at, str) else at for at in (visit.first_seen, last_seen))
    return replace(
        visit,
        track=record["track"],
        name=record["name"],
        stranger=record.get("stranger") or (visit.stranger if record["name"] is None else None),
        nearest=record.get("nearest") if compared else visit.nearest,
        similarity=record["similarity"] if compared else visit.similarity,
        last_seen=last_seen,
        ended=ended,
        duration_s=record.get("duration_s", round(max(0.0, last - first), 3)),
    )
