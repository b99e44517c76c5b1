"""How often the faces of a video have the right name: counts a run against the frames in which people are visible."""

from __future__ import annotations

import csv
import itertools
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from app.errors import SourceError
from app.text import counted, percentage, table
from app.tools.evaluation.appearances import percentile_of_waits
from app.types import NO_TRACK, FrameResult

HEADER = ["first", "last", "names"]
SEPARATOR = "|"
MAX_MISTAKES = 10
"""Lines of the text; the JSON has all."""


class Visible(NamedTuple):
    """A range of frames, both inclusive, in which these people are visible."""

    first: int
    last: int
    names: FrozenSet[str]


class Mistake(NamedTuple):
    """A wrong name in consecutive frames of one track."""

    name: str
    track: int
    first: int
    last: int
    twice: bool
    """Another face in the same frames has the name, and the person is visible."""


def read_truth(path: Path) -> List[Visible]:
    """Reads a CSV file with the header `first,last,names`. Raises SourceError with the line of a mistake."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            if [cell.strip() for cell in next(rows, [])] != HEADER:
                raise SourceError(f"{path}: expected the first line {','.join(HEADER)}")
            return [_visible(f"{path}, line {rows.line_num}", row) for row in rows if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _visible(where: str, row: Sequence[str]) -> Visible:
    try:
        first, last, names = row
        visible = Visible(int(first), int(last), frozenset(filter(None, map(str.strip, names.split(SEPARATOR)))))
    except ValueError:
        expected = f"a frame, a frame and names separated by {SEPARATOR}"
        raise SourceError(f"{where}: expected {expected}, not {','.join(row)!r}") from None
    if not 0 <= visible.first <= visible.last:
        raise SourceError(f"{where}: expected 0 <= first <= last, not {visible.first} and {visible.last}")
    return visible


class NameCount:
    """An output of a run that counts right and wrong names.

    A name is wrong where the person is not visible, and on all but one of several faces with the same name.
    """

    name = "the evaluation"

    def __init__(self, truth: Sequence[Visible]) -> None:
        self.frames = 0
        self.faces = 0
        self.right = 0
        self.wrong = 0
        self.unknown = 0
        self.embeddings = 0
        """Faces that were embedded."""
        self.switches = 0
        """How often a track that showed a name showed another one later."""
        self.mistakes: List[Mistake] = []
        self._truth = truth
        self._times: Dict[int, float] = {}
        self._visible: Dict[int, FrozenSet[str]] = {}
        self._named: Dict[str, List[int]] = defaultdict(list)
        """By person: the frames in which a face had the name, and rightly so."""
        self._name_of: Dict[int, str] = {}
        """By track: the last name that it showed."""

    def handle(self, result: FrameResult) -> None:
        frame = result.frame.index
        visible = frozenset().union(*(known.names for known in self._truth if known.first <= frame <= known.last))
        self._visible[frame] = visible
        self.frames += 1
        self.faces += len(result.faces)
        self._times[frame] = result.frame.source_time
        if result.faces.embeddings is not None:
            self.embeddings += int(np.isfinite(result.faces.embeddings).all(axis=1).sum())
        seen: Counter[str] = Counter()
        for match, track in zip(result.matches, result.track_ids):
            if match.name is None:
                self.unknown += 1
                continue
            seen[match.name] += 1
            if match.name in visible and seen[match.name] == 1:
                self.right += 1
                self._named[match.name].append(frame)
            else:
                self.wrong += 1
                self._add_mistake(match.name, track, frame, match.name in visible)
            if track != NO_TRACK:
                self.switches += self._name_of.get(track, match.name) != match.name
                self._name_of[track] = match.name

    def close(self) -> None:
        """Does nothing: an output has to have it."""

    def people(self) -> Dict[str, PersonCount]:
        """By name, for everybody in the truth."""
        counts = {}
        for name in sorted({name for visible in self._truth for name in visible.names}):
            named = self._named.get(name, [])
            frames = sorted(frame for frame, names in self._visible.items() if name in names)
            appearances = list(_runs(frames))
            firsts = [next((at for at in named if first <= at <= last), None) for first, last in appearances]
            waits = [
                self._times[at] - self._times[first] for at, (first, _) in zip(firsts, appearances) if at is not None
            ]
            counts[name] = PersonCount(len(frames), len(named), len(appearances), tuple(waits))
        return counts

    def as_json(self) -> Dict[str, Any]:
        people = self.people()
        return {
            "frames": self.frames,
            "faces": self.faces,
            "right": self.right,
            "wrong": self.wrong,
            "unknown": self.unknown,
            "people": {name: count.as_json() for name, count in people.items()},
            "switches": self.switches,
            "first_name_s": _median([wait for count in people.values() for wait in count.waits_s]),
            "first_name_p95_s": percentile_of_waits(
                [wait for count in people.values() for wait in (*count.waits_s, *[None] * count.unnamed)], 0.95
            ),
            "embeddings": self.embeddings,
            "mistakes": [mistake._asdict() for mistake in self.mistakes],
        }

    def text(self) -> str:
        """The figures for a terminal."""
        facts = self.as_json()
        total = max(1, self.faces)
        median, p95 = (
            "-" if facts[key] is None else f"{facts[key]:.2f} s" for key in ("first_name_s", "first_name_p95_s")
        )
        rows = [
            (
                name,
                str(count.visible),
                str(count.right),
                percentage(count.right / count.visible, 1) if count.visible else "-",
                f"{len(count.waits_s)} of {count.appearances}",
            )
            for name, count in self.people().items()
        ]
        shown = [
            f"  frames {mistake.first} to {mistake.last}: {mistake.name}, track {mistake.track or 'not confirmed'}"
            + (", a second face with this name" if mistake.twice else "")
            for mistake in self.mistakes[:MAX_MISTAKES]
        ]
        more = len(self.mistakes) - len(shown)
        return "\n".join(
            [
                f"{counted(self.frames, 'frame')}, {counted(self.faces, 'face')}: {self.right} with the right name, "
                f"{self.wrong} with a wrong one ({percentage(self.wrong / total)}), {self.unknown} without a name",
                f"names switched {self.switches} times; {self.embeddings / total:.3f} embeddings per face; "
                f"time from appearing to the name: median {median}, p95 {p95}",
                "",
                table(("name", "visible in frames", "named in", "share", "appearances named"), rows),
                *(["", "wrong names:", *shown] if shown else []),
                *([f"  and {more} more"] if more > 0 else []),
            ]
        )

    def _add_mistake(self, name: str, track: int, frame: int, twice: bool) -> None:
        for at, mistake in enumerate(self.mistakes):
            if mistake == (name, track, mistake.first, frame - 1, twice):
                self.mistakes[at] = mistake._replace(last=frame)
                return
        self.mistakes.append(Mistake(name, track, frame, frame, twice))


@dataclass(frozen=True)
class PersonCount:
    """How often a person was named."""

    visible: int
    """Frames in which the person is visible."""
    right: int
    """Frames among them in which a face had the name."""
    appearances: int
    """Ranges of consecutive frames in which the person is visible."""
    waits_s: Tuple[float, ...]
    """For each of these ranges with the name: seconds from its beginning to the name."""

    @property
    def unnamed(self) -> int:
        return self.appearances - len(self.waits_s)

    def as_json(self) -> Dict[str, Any]:
        return {
            "visible": self.visible,
            "right": self.right,
            "appearances": self.appearances,
            "appearances_named": len(self.waits_s),
            "first_name_s": _median(self.waits_s),
        }


def _median(seconds: Sequence[float]) -> Optional[float]:
    return round(statistics.median(seconds), 3) if seconds else None


def _runs(frames: Sequence[int]) -> Iterator[Tuple[int, int]]:
    """The first and last of each run of consecutive numbers."""
    # In such a run, the numbers grow as fast as their places.
    for _, run in itertools.groupby(enumerate(frames), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        yield numbers[0], numbers[-1]
