"""From results to events: who came, who got which name, who left, which source was lost. No file, clock or thread."""

from __future__ import annotations

from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from app.credentials import masked
from app.events.event import Event, EventKind, FaceEvent, LeftReason, SourceEvent
from app.types import ChannelState, ChannelStatus, FrameResult, Track


class EventStream:
    """Compares each result with the channel's previous one. One stream, and one sequence, for all channels.

    It must see every result, so it runs on the loop's thread, before any queue that may skip frames.
    """

    def __init__(self, after: int = 0) -> None:
        """`after` is the number of the last event of the runs before."""
        self._sequence = after
        self._present: Dict[str, Dict[int, _Present]] = {}
        """By channel and track."""

        self._lost: Dict[str, float] = {}
        """By channel: when it was lost."""
        self._interrupted: Dict[str, Tuple[Set[int], float]] = {}
        """By channel: the tracks that left when it was last lost, and when it was back. One may be continued."""

    def handle(self, result: FrameResult) -> List[Event]:
        frame = result.frame
        events: List[Event] = []
        if frame.source in self._lost:
            if frame.captured_at <= self._lost[frame.source]:
                return []  # It waited while the source was lost; the people in it have left.
            events = self._back(frame.source, frame.captured_at)
        now = _Moment(frame.index, frame.captured_at, frame.position, frame.file)
        before = self._present.get(frame.source, {})
        visible = set(result.track_ids)
        present = {
            track.id: _Present(track, now if track.id in visible or track.id not in before else before[track.id].seen)
            for track in result.tracks
        }
        self._present[frame.source] = present
        happened = changes([known.track for known in before.values()], result.tracks)
        return events + [
            self._event(frame.source, change, before[change.track.id].seen if change.kind is EventKind.LEFT else now)
            for change in happened
        ]

    def handle_status(self, status: ChannelStatus, now: float) -> List[Event]:
        """A lost live source is one event, and all faces of its channel leave. `now`: seconds since the epoch."""
        is_lost = status.live and status.state in (ChannelState.RECONNECTING, ChannelState.FAILED)
        if is_lost and status.name not in self._lost:
            self._lost[status.name] = now
            self._interrupted[status.name] = (set(self._present.get(status.name, ())), now)
            error = masked(status.last_error) if status.last_error else None
            lost = SourceEvent(self._next(), EventKind.SOURCE_LOST, status.name, now, error=error)
            return [lost, *self._leave(status.name, LeftReason.SOURCE_LOST)]
        if status.state is ChannelState.RUNNING and status.name in self._lost:
            return self._back(status.name, now)
        return []

    def close(self) -> List[Event]:
        """The run has ended: all faces leave."""
        return [event for channel in list(self._present) for event in self._leave(channel, LeftReason.RUN_ENDED)]

    def _back(self, channel: str, now: float) -> List[Event]:
        lost_s = max(0.0, now - self._lost.pop(channel))
        self._interrupted[channel] = (self._interrupted[channel][0], now)
        return [SourceEvent(self._next(), EventKind.SOURCE_BACK, channel, now, lost_s=lost_s)]

    def _leave(self, channel: str, reason: LeftReason) -> List[Event]:
        return [
            self._event(channel, Change(EventKind.LEFT, track, left_reason=reason), seen)
            for track, seen in self._present.pop(channel, {}).values()
        ]

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _event(self, channel: str, change: Change, moment: _Moment) -> FaceEvent:
        track = change.track
        interrupted, back_at = self._interrupted.get(channel, (set(), 0.0))
        continued = track.id in interrupted and track.first_seen < back_at <= track.last_seen
        x1, y1, x2, y2 = (round(float(side)) for side in track.box)
        return FaceEvent(
            sequence=self._next(),
            kind=change.kind,
            channel=channel,
            frame=moment.frame,
            time=moment.captured_at,
            position=moment.position,
            file=moment.file,
            track=track.id,
            match=track.match,
            box=(x1, y1, x2, y2),
            first_seen=back_at if continued else track.first_seen,
            attributes=track.attributes,
            previous_name=change.previous_name,
            left_reason=change.left_reason,
            last_seen=track.last_seen if change.kind is EventKind.LEFT else None,
        )


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


class _Moment(NamedTuple):
    """What is kept of a frame: everything but its picture."""

    frame: int
    captured_at: float
    position: Optional[float]
    file: Optional[str]


class _Present(NamedTuple):
    """A person who is there, and the frame in which the face was last seen."""

    track: Track
    seen: _Moment
