"""When people are in the videos of an archive: moments that follow one another as ranges."""

from __future__ import annotations

import csv
import io
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from app.text import source_time

HEADER = ("person", "video", "from", "to", "from_s", "to_s", "moments")


class Appearance(NamedTuple):
    """One person in one video, without being away for long."""

    person: str
    video: str
    from_s: float
    to_s: float
    """The last moment."""
    moments: int


def appearances(seen: Iterable[Tuple[str, str, Optional[float]]], gap_s: float) -> Iterator[Appearance]:
    """Ranges of person, video and position, which come in the order of the archive: videos one after the other, their
    moments in order. Pictures, without a position, are left out."""
    open_ones: Dict[str, Appearance] = {}
    for person, video, position_s in seen:
        if position_s is None:
            continue
        before = open_ones.get(person)
        if before is not None and before.video == video and position_s - before.to_s <= gap_s:
            # Two faces at one moment count once.
            moments = before.moments + (position_s > before.to_s)
            open_ones[person] = before._replace(to_s=position_s, moments=moments)
            continue
        if before is not None:
            yield before
        open_ones[person] = Appearance(person, video, position_s, position_s, 1)
    yield from open_ones.values()


def largest_gap_s(every_s: float, visit_gap_s: float) -> float:
    """Within one range; a single moment may be missed, however far apart they are."""
    return max(visit_gap_s, 2.5 * every_s)


def as_csv(found: Iterable[Appearance]) -> str:
    """By person, those who are there longest first, then by video and time."""
    total: Dict[str, int] = {}
    rows: List[Appearance] = list(found)
    for one in rows:
        total[one.person] = total.get(one.person, 0) + one.moments
    rows.sort(key=lambda one: (-total[one.person], one.person, one.video, one.from_s))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for one in rows:
        between = (source_time(position_s, live=False) for position_s in (one.from_s, one.to_s))
        writer.writerow([one.person, one.video, *between, round(one.from_s, 3), round(one.to_s, 3), one.moments])
    return text.getvalue()
