"""From results to events: who came, who got which name, who left. Pure: no file, no clock, no thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from app.events.event import Event, EventKind, LeftReason
from app.types import FrameResult, Track


class EventStream:
    """Compares each result with the channel's previous one. One stream, and one sequence, for all channels.

    It must see every result, so it runs on the loop's thread, before any queue that may skip frames.
    """

    def __init__(self) -> None:
        self._sequence = 0
        self._last: Dict[str, _Moment] = {}

    def handle(self, result: FrameResult) -> List[Event]:
        frame = result.frame
        previous = self._last.get(frame.source)
        moment = _Moment(frame.source, frame.index, frame.captured_at, frame.position, frame.file, result.tracks)
        self._last[frame.source] = moment
        return self._events(moment, changes(previous.tracks if previous else (), result.tracks))

    def close(self) -> List[Event]:
        """The run has ended: everybody who was still there leaves."""
        moments, self._last = self._last, {}
        return [
            event
            for moment in moments.values()
            for event in self._events(
                moment, (Change(EventKind.LEFT, track, left_reason=LeftReason.RUN_ENDED) for track in moment.tracks)
            )
        ]

    def _events(self, moment: _Moment, happened: Iterator[Change]) -> List[Event]:
        events = []
        for kind, track, previous_name, left_reason in happened:
            self._sequence += 1
            x1, y1, x2, y2 = (round(float(side)) for side in track.box)
            left = kind is EventKind.LEFT
            events.append(
                Event(
                    sequence=self._sequence,
                    kind=kind,
                    channel=moment.channel,
                    frame=moment.frame,
                    time=moment.captured_at,
                    position=moment.position,
                    file=moment.file,
                    track=track.id,
                    match=track.match,
                    box=(x1, y1, x2, y2),
                    attributes=track.attributes,
                    previous_name=previous_name,
                    left_reason=left_reason,
                    duration_s=max(0.0, track.last_seen - track.first_seen) if left else None,
                )
            )
        return events


class Change(NamedTuple):
    """Something that happened to a track between two results."""

    kind: EventKind
    track: Track
    previous_name: Optional[str] = None
    left_reason: Optional[LeftReason] = None


def changes(previous: Sequence[Track], current: Sequence[Track]) -> Iterator[Change]:
    """What happened between two results of a channel: first who left, then who came and who got another name."""
    before = {track.id: track for track in previous}
    present = {track.id for track in current}
    for track in previous:
        if track.id not in present:
            yield Change(EventKind.LEFT, track, left_reason=LeftReason.GONE)
    for track in current:
        known = before.get(track.id)
        if known is None:
            yield Change(EventKind.ENTER, track)
        previous_name = known.match.name if known else None
        if track.match.name != previous_name:
            yield Change(EventKind.IDENTIFIED, track, previous_name)


@dataclass(frozen=True)
class _Moment:
    """What is kept of a channel's last result: everything but its picture."""

    channel: str
    frame: int
    captured_at: float
    position: Optional[float]
    file: Optional[str]
    tracks: Tuple[Track, ...]
