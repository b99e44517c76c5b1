"""What a run amounted to: frames, faces, who was seen from when to when, and what each stage cost."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Deque, Dict, Iterable, List, Optional, Set, Tuple

import numpy as np

from app.text import counted, table
from app.types import NO_TRACK, FrameResult

TIMINGS_KEPT = 10_000
"""A run may last for months; its percentiles are those of its latest frames."""


@dataclass
class Presence:
    """When and how often one person was seen."""

    first_s: float
    last_s: float
    frames: int = 0
    visits: int = 0
    """Tracks that had this name."""


@dataclass(frozen=True)
class ChannelCount:
    """What became of one channel's frames."""

    name: str
    read: int
    processed: int
    dropped: int
    end: str
    """How it ended, in a word or with the error."""


class RunSummary:
    """Collects results while the run lasts."""

    def __init__(self) -> None:
        self.faces = 0
        self.people: Dict[str, Presence] = {}
        self._names: Dict[str, Dict[int, Set[str]]] = defaultdict(dict)
        """By channel and track: the names that each face now present has had so far."""
        self._unknown_gone = 0
        self.processed: Dict[str, int] = defaultdict(int)
        self._timings: Dict[str, Deque[float]] = defaultdict(lambda: deque(maxlen=TIMINGS_KEPT))
        self._latencies_ms: Deque[float] = deque(maxlen=TIMINGS_KEPT)
        self._started = time.monotonic()
        self._cpu_at_start = time.process_time()

    def add(self, result: FrameResult) -> None:
        frame = result.frame
        self.processed[frame.source] += 1
        self.faces += len(result.faces)
        for stage, spent in result.timings_ms.items():
            self._timings[stage].append(spent)
        if frame.position is None:
            self._latencies_ms.append(result.latency_s * 1000)
        now = frame.source_time
        present = self._names[frame.source]
        for track in set(present) - {track.id for track in result.tracks}:
            self._unknown_gone += not present.pop(track)
        for match, track in zip(result.matches, result.track_ids):
            if track != NO_TRACK:
                self._see(match.name, present.setdefault(track, set()), now)

    def _see(self, name: Optional[str], names_of_track: Set[str], now: float) -> None:
        if name is None:
            return
        presence = self.people.setdefault(name, Presence(now, now))
        presence.first_s = min(presence.first_s, now)
        presence.last_s = max(presence.last_s, now)
        presence.frames += 1
        presence.visits += name not in names_of_track
        names_of_track.add(name)

    @property
    def unknown_visits(self) -> int:
        """Tracks that never got a name."""
        return self._unknown_gone + sum(not names for present in self._names.values() for names in present.values())

    @property
    def frames(self) -> int:
        return sum(self.processed.values())

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    @property
    def cpu_s(self) -> float:
        """Processor time of all threads."""
        return time.process_time() - self._cpu_at_start

    def text(self, channels: Iterable[ChannelCount]) -> str:
        """The tables printed at the end of a run."""
        seconds = max(self.elapsed_s, 1e-9)
        blocks = [
            f"{counted(self.frames, 'frame')} in {seconds:.1f} s ({self.frames / seconds:.1f} frames/s), "
            f"{counted(self.faces, 'face')}, {counted(self.unknown_visits, 'visit')} of unknown people",
            table(
                ("channel", "read", "processed", "dropped", "ended"),
                [(c.name, str(c.read), str(c.processed), str(c.dropped), c.end) for c in channels],
            ),
        ]
        if self.people:
            blocks.append(table(("seen", "from", "to", "visits", "frames"), self._people_rows()))
        if self._timings:
            rows = [
                (stage, f"{np.percentile(spent, 50):.2f}", f"{np.percentile(spent, 95):.2f}")
                for stage, spent in [*self._timings.items(), ("arrival to result", self._latencies_ms)]
                if spent
            ]
            blocks.append(table(("stage", "p50 ms", "p95 ms"), rows))
        return "\n\n".join(blocks)

    def _people_rows(self) -> List[Tuple[str, ...]]:
        return [
            (name, moment(seen.first_s), moment(seen.last_s), str(seen.visits), str(seen.frames))
            for name, seen in sorted(self.people.items(), key=lambda item: item[1].first_s)
        ]


def moment(seconds: float) -> str:
    """A time of day for a live source's seconds since the epoch; minutes and seconds into a recording."""
    if seconds > 1e8:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    tenths = round(seconds * 10)
    return f"{tenths // 600:d}:{tenths % 600 / 10:04.1f}"
