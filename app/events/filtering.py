"""Which events and visits of a log are asked for: by time, person, channel and kind."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Collection, Iterable, Mapping, Optional, Sequence, Set

from app.events.event import EventKind
from app.events.history import HEADER, Record, now_of
from app.events.visits import Visit
from app.text import parse_time, suggestion

_AGO = {"m": 60, "h": 3600, "d": 86400}


class EventFilter:
    """Which events or visits to show."""

    def __init__(
        self,
        relabels: Mapping[str, str],
        *,
        people: Sequence[str] = (),
        unknown: bool = False,
        channels: Iterable[str] = (),
        kinds: Iterable[str] = (),
        since: Optional[float] = None,
        until: Optional[float] = None,
    ) -> None:
        """`relabels` are the names that strangers got later. `unknown`: people without a name, besides `people`."""
        self._relabels = relabels
        self._asked = people
        self._people = {name.casefold() for name in people}
        self._seen: Set[str] = set()
        """Everyone in the log, whether chosen or not."""
        self._unknown = unknown
        self._channels = set(channels)
        self._kinds = set(kinds)
        self._since = since
        self._until = until

    def event(self, record: Record) -> bool:
        if record["event"] == HEADER or (self._kinds and record["event"] not in self._kinds):
            return False
        at = parse_time(record["time"])
        name, _ = now_of(self._relabels, record.get("visit"), record.get("name"), record.get("stranger"))
        has_person = "visit" in record or record["event"] == EventKind.RELABEL
        names = {name, record.get("previous_name") or name} if has_person else ()
        self._seen.update(filter(None, names))
        return self._is_within(at, at) and self._is_in(record["channel"]) and self._is_of(names)

    def visit(self, visit: Visit) -> bool:
        begin = parse_time(visit.time)
        self._seen.update(filter(None, [visit.name]))
        return (
            self._is_within(begin, begin + visit.duration_s)
            and self._is_in(visit.channel)
            and self._is_of([visit.name])
        )

    def hint(self) -> str:
        """The name that was meant, for those who were asked for but are not in the log."""
        seen = {name.casefold() for name in self._seen}
        missing = [name for name in self._asked if name.casefold() not in seen]
        return "".join(suggestion(name, sorted(self._seen), "") for name in missing)

    def _is_within(self, begin: float, end: float) -> bool:
        return (self._since is None or end >= self._since) and (self._until is None or begin < self._until)

    def _is_in(self, channel: str) -> bool:
        return not self._channels or channel in self._channels

    def _is_of(self, names: Collection[Optional[str]]) -> bool:
        if not self._people and not self._unknown:
            return True
        return any(self._unknown if name is None else name.casefold() in self._people for name in names)


def local_time(text: str) -> float:
    """Seconds since the epoch of `2026-11-29`, `2026-11-29T18:00`, `18:00`, `today`, `yesterday` or `2h` (ago) in local
    time, or of a time with its zone, as in events. Raises ValueError."""
    now = time.time()
    ago = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if ago:
        return now - int(ago[1]) * _AGO[ago[2]]
    today = time.strftime("%Y-%m-%d", time.localtime(now))
    if text in ("today", "yesterday"):
        midnight = time.mktime(time.strptime(today, "%Y-%m-%d"))
        # Half a day back from noon or midnight is yesterday, also when the clocks change.
        yesterday = time.strftime("%Y-%m-%d", time.localtime(midnight - 43200))
        text = today if text == "today" else yesterday
    if re.fullmatch(r"\d{1,2}:\d\d", text):
        text = f"{today}T{text}"
    for layout in ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"):
        try:
            return time.mktime(time.strptime(text.replace(" ", "T"), layout))
        except (ValueError, OverflowError):
            continue
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} is not a local time")
    return moment.timestamp()
