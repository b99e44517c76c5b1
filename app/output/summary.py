"""The summary of a run: frames, faces, who was seen from when to when, and the time of each stage."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from app.credentials import masked
from app.degrade import DegradeLevel
from app.text import counted, iso_time, source_time, table
from app.types import NO_TRACK, ChannelStatus, FrameResult, Reason

TIMINGS_KEPT = 10_000
"""A run may last for months; percentiles are computed from its latest frames."""
STRANGERS_KEPT = 1000
"""The strangers who were seen last; in months there are hundreds of thousands."""


class Sighting(NamedTuple):
    """When a person was seen, by the clock of the source."""

    seconds: float
    live: bool
    file: Optional[str]

    def __str__(self) -> str:
        return source_time(*self)

    def as_json(self) -> Union[str, float]:
        """Seconds into a recording, or else ISO 8601 in UTC."""
        return iso_time(self.seconds) if self.live or self.file is not None else round(self.seconds, 3)


@dataclass
class Presence:
    """When and how often one person was seen."""

    first: Sighting
    last: Sighting
    frames: int = 0
    visits: int = 0
    """As the events count them (docs/events.md)."""


class RunSummary:
    """An output that collects the numbers for the summary."""

    name = "summary"

    def __init__(self, visit_of: Callable[[str, int], Optional[int]]) -> None:
        """`visit_of`: channel and track -> the number of the visit that it belongs to at the moment."""
        self._visit_of = visit_of
        self.faces = 0
        self.people: Dict[str, Presence] = {}
        self.strangers: Dict[str, Presence] = {}
        """Unknown people who were seen well enough to get a number, such as `stranger-7`; the latest ones."""
        self.unknown_visits = 0
        """Visits that ended without a name."""
        self._frames_of_visits: Counter[int] = Counter()
        self._frames_before: Dict[str, Counter[int]] = defaultdict(Counter)
        """By channel and track: of tracks that have no visit yet."""
        self.reasons: Counter[str] = Counter()
        """In how many frames a face had each reason for its name, or for having none."""
        self.levels: Counter[int] = Counter()
        """Frames by the level at which they were looked at (`DegradeLevel`)."""
        self.processed: Dict[str, int] = defaultdict(int)
        self._timings: Dict[str, Deque[float]] = defaultdict(lambda: deque(maxlen=TIMINGS_KEPT))
        self._latencies_ms: Deque[float] = deque(maxlen=TIMINGS_KEPT)
        self._started = self._time()
        self._ended: Optional[Tuple[float, float]] = None

    @staticmethod
    def _time() -> Tuple[float, float]:
        """Seconds on the clock, and seconds of processor time of all threads."""
        return time.monotonic(), time.process_time()

    def close(self) -> None:
        """Ends the time that is counted. Called at the end of the loop and again with the other outputs, which may have
        waited for others in between."""
        self._ended = self._ended or self._time()

    def handle(self, result: FrameResult) -> None:
        frame = result.frame
        self.processed[frame.source] += 1
        self.faces += len(result.faces)
        self.levels[result.degrade_level] += 1
        for stage, spent in result.timings_ms.items():
            self._timings[stage].append(spent)
        if frame.live:
            self._latencies_ms.append(result.latency_s * 1000)
        self.reasons.update(str(match.reason) for match in result.matches)
        before = self._frames_before[frame.source]
        for track in before.keys() - {track.id for track in result.tracks}:
            del before[track]
        for track in set(result.track_ids) - {NO_TRACK}:
            before[track] += 1
            visit = self._visit_of(frame.source, track)
            if visit is not None:
                self._frames_of_visits[visit] += before.pop(track)

    def add_visit(self, visit: int, label: Optional[str], is_unknown: bool, first: Sighting, last: Sighting) -> None:
        """A visit has ended. `label` is a name, or the number of an unknown person who has one."""
        frames = self._frames_of_visits.pop(visit, 0)
        self.unknown_visits += is_unknown
        if label is None:
            return
        presences = self.strangers if is_unknown else self.people
        presence = presences.setdefault(label, Presence(first, last))
        presence.first = min(presence.first, first, key=_seconds)
        presence.last = max(presence.last, last, key=_seconds)
        presence.frames += frames
        presence.visits += 1
        if len(self.strangers) > STRANGERS_KEPT:
            del self.strangers[min(self.strangers, key=lambda one: self.strangers[one].last.seconds)]

    @property
    def frames(self) -> int:
        return sum(self.processed.values())

    @property
    def elapsed_s(self) -> float:
        return (self._ended or self._time())[0] - self._started[0]

    @property
    def cpu_s(self) -> float:
        """Processor time of all threads."""
        return (self._ended or self._time())[1] - self._started[1]

    def text(self, channels: Sequence[ChannelStatus]) -> str:
        """The tables printed at the end of a run."""
        seconds = max(self.elapsed_s, 1e-9)
        unknown = counted(self.unknown_visits, "visit by an unknown person", "visits by unknown people")
        blocks = [
            f"{counted(self.frames, 'frame')} in {seconds:.1f} s ({self.frames / seconds:.1f} frames/s), "
            f"{counted(self.faces, 'face')}, {unknown}",
            self._channel_table(channels),
        ]
        blocks += [
            f"{status.name}: last error: {masked(status.last_error)}" for status in channels if status.last_error
        ]
        if self.people or self.strangers:
            rows = [
                (name, str(seen.first), str(seen.last), str(seen.visits), str(seen.frames))
                for name, seen in [*_by_time(self.people), *_by_time(self.strangers)]
            ]
            blocks.append(table(("seen", "from", "to", "visits", "frames"), rows))
        unnamed = [(reason, str(faces)) for reason, faces in self.reasons.most_common() if reason != Reason.MATCHED]
        if unnamed:
            blocks.append(table(("not named because", "faces"), unnamed))
        if any(self.levels):
            levels = [
                (f"{level} {DegradeLevel(level).words}", str(self.levels[level])) for level in sorted(self.levels)
            ]
            blocks.append(table(("level", "frames"), levels))
        stages = self._stages()
        if stages:
            spent_rows = [(stage, f"{p50:.2f}", f"{p95:.2f}") for stage, (p50, p95) in stages.items()]
            blocks.append(table(("stage", "p50 ms", "p95 ms"), spent_rows))
        return "\n\n".join(blocks)

    def as_json(self, channels: Sequence[ChannelStatus]) -> Dict[str, Any]:
        """The same as `text`, for programs."""
        return {
            "seconds": round(self.elapsed_s, 3),
            "cpu_seconds": round(self.cpu_s, 3),
            "frames": self.frames,
            "faces": self.faces,
            "unknown_visits": self.unknown_visits,
            "reasons": dict(self.reasons.most_common()),
            "levels": {str(level): frames for level, frames in sorted(self.levels.items())},
            "people": _presences(self.people),
            "strangers": _presences(self.strangers),
            "channels": [
                {
                    "name": status.name,
                    "address": status.address,
                    "state": str(status.state),
                    "live": status.live,
                    "processed": self.processed[status.name],
                    **dataclasses.asdict(status.counters),
                    "last_error": masked(status.last_error) if status.last_error else None,
                }
                for status in channels
            ],
            "stages": {
                stage: {"p50_ms": round(p50, 3), "p95_ms": round(p95, 3)}
                for stage, (p50, p95) in self._stages().items()
            },
        }

    def _stages(self) -> Dict[str, Tuple[float, float]]:
        """Median and 95th percentile of each stage, in milliseconds."""
        spent = {**self._timings, "arrival to result": self._latencies_ms} if self._timings else {}
        return {
            stage: (float(np.percentile(times, 50)), float(np.percentile(times, 95)))
            for stage, times in spent.items()
            if times
        }

    def _channel_table(self, channels: Sequence[ChannelStatus]) -> str:
        """One row per channel. What rarely happens has a column only if it happened."""
        columns: Dict[str, List[str]] = {
            "channel": [status.name for status in channels],
            "read": [str(status.counters.read) for status in channels],
            "processed": [str(self.processed[status.name]) for status in channels],
            "dropped": [str(status.counters.dropped) for status in channels],
        }
        for name in ("skipped", "beyond_max_fps", "unreadable", "damaged", "stalls", "reconnects"):
            counts = [getattr(status.counters, name) for status in channels]
            if any(counts):
                columns[name] = list(map(str, counts))
        columns["ended"] = [str(status.state) if status.state.over else "stopped" for status in channels]
        return table(list(columns), list(zip(*columns.values())))


def _by_time(presences: Dict[str, Presence]) -> List[Tuple[str, Presence]]:
    return sorted(presences.items(), key=lambda item: item[1].first.seconds)


def _presences(presences: Dict[str, Presence]) -> List[Dict[str, Any]]:
    return [
        {
            "name": name,
            "first_seen": seen.first.as_json(),
            "last_seen": seen.last.as_json(),
            "first_file": seen.first.file,
            "last_file": seen.last.file,
            "visits": seen.visits,
            "frames": seen.frames,
        }
        for name, seen in _by_time(presences)
    ]


def _seconds(sighting: Sighting) -> float:
    return sighting.seconds
