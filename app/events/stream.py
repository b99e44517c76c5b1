"""From results to events: who came, who got which name, who left, which source was lost. No file, clock or thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Mapping, NamedTuple, Optional, Set

from app.credentials import masked
from app.events.event import Event, EventKind, FaceEvent, LeftReason, LevelEvent, RelabelEvent, SourceEvent
from app.events.history import own_relabels
from app.settings import Settings
from app.types import ChannelState, ChannelStatus, FrameResult, Reason, Track

_NAME_WAIT_S = 1.0
"""A face that appears while a person is away may be that person; so long its name is waited for."""


class VisitTimes(NamedTuple):
    """How long a person may be away within one visit, and is not identified again."""

    gap_s: float
    cooldown_s: float

    @classmethod
    def of(cls, settings: Settings) -> VisitTimes:
        return cls(settings.tracking.visit_gap_s, settings.output.events_cooldown_s)


class EventStream:
    """Compares each result with the visits of its channel. One stream, and one sequence, for all channels.

    A visit is one person in front of one camera. It has one ENTER, whose number is the number of the visit, IDENTIFIED
    or CHANGED when it gets a name, STRANGER when an unknown person gets a number, and one LEFT. It goes on when the
    person is away for less than `visit_gap_s`, also with another track. A track whose name changes or is withdrawn
    begins another visit.

    It must see every result, so it runs on the loop's thread, before any queue that may skip frames.
    """

    def __init__(
        self,
        after: int = 0,
        visit_gap_s: float = 10.0,
        cooldown_s: float = 0.0,
        relabels: Optional[Mapping[str, str]] = None,
        own: Optional[Mapping[str, VisitTimes]] = None,
        log: str = "",
    ) -> None:
        """`after` is the number of the last event of the runs before, and `relabels` the names of strangers that they
        have written; None: it is not known, and only new ones are events.

        In `cooldown_s`, a person is identified once per channel, even if there are several visits. `own` are the times
        of channels that have their own. `log` is the id of the event log.
        """
        self._sequence = after
        self._times = VisitTimes(visit_gap_s, cooldown_s)
        self._own_times = dict(own or {})
        self._channels: Dict[str, _Channel] = {}
        self._lost: Dict[str, float] = {}
        """By channel: when it was lost, like `Frame.clock_s`."""
        self._log = log
        self._relabels: Optional[Dict[str, Optional[str]]] = None if relabels is None else dict(relabels)

    @classmethod
    def from_settings(
        cls, settings: Settings, after: int = 0, relabels: Optional[Mapping[str, str]] = None, log: str = ""
    ) -> EventStream:
        """With the times of the settings, and those that single channels have of their own."""
        gap_s, cooldown_s = VisitTimes.of(settings)
        own = {name: VisitTimes.of(settings.for_channel(name)) for name, _ in settings.channels}
        return cls(after, gap_s, cooldown_s, relabels, own, log)

    def handle(self, result: FrameResult) -> List[Event]:
        frame = result.frame
        events: List[Event] = []
        if frame.source in self._lost:
            if frame.clock_s <= self._lost[frame.source]:
                return []  # It waited while the source was lost; the people in it have left.
            events = self._back(frame.source, frame.captured_at, frame.clock_s)
        channel = self._channel(frame.source)
        now = _Moment(frame.index, frame.captured_at, frame.position, frame.file, frame.source_time)
        tracks, visible = {track.id: track for track in result.tracks}, set(result.track_ids)
        channel.follow(tracks, visible, now)
        for gone in [number for number in channel.newcomers if number not in tracks]:
            events += self._enter(channel, channel.newcomers.pop(gone), None, now)
        # A picture of a folder has nothing to do with the one before it.
        gap_s = channel.times.gap_s if frame.continues else 0.0
        for visit in channel.away():
            # Back by as much: the recording began again.
            if abs(now.seconds - visit.track.last_seen) >= gap_s:
                events.append(self._left(channel, visit, visit.reason))
        for track in result.tracks:
            events += self._arrival(channel, track, track.id in visible, now)
            events += self._recognised(channel, track, now)
        return events

    def handle_status(self, status: ChannelStatus, now: float, clock_s: float) -> List[Event]:
        """A live source that is lost, or any that was stopped, is one event, and all faces of its channel leave.

        `now` and `clock_s` are like `Frame.captured_at` and `Frame.clock_s`.
        """
        is_stopped = status.state is ChannelState.STOPPED
        is_lost = is_stopped or (status.live and status.state in (ChannelState.RECONNECTING, ChannelState.FAILED))
        if is_lost and status.name not in self._lost:
            self._lost[status.name] = clock_s
            error = "stopped by a person" if is_stopped else masked(status.last_error) if status.last_error else None
            lost = SourceEvent(self._next(), EventKind.SOURCE_LOST, status.name, now, error=error)
            return [lost, *self._leave(self._channel(status.name), LeftReason.SOURCE_LOST)]
        if status.state is ChannelState.RUNNING and status.name in self._lost:
            return self._back(status.name, now, clock_s)
        return []

    def relabel(self, names: Mapping[str, Optional[str]], now: float) -> List[Event]:
        """One event for each stranger who got a name since the last call: `stranger-7` -> `Eva`, or whose name was
        taken back: `stranger-7` -> None. Visits of this log that are another's are `LOG/12`."""
        own = own_relabels(names, self._log)
        known, self._relabels = self._relabels, own
        return [
            RelabelEvent.of(self._next(), now, key, who)
            for key, who in own.items()
            if known is not None and known.get(key) != who
        ]

    def level(self, level: int, name: str, before: int, now: float) -> Event:
        """The machine is too slow for its live sources, or has recovered."""
        return LevelEvent(self._next(), EventKind.DEGRADE_LEVEL, "", now, level, name, before)

    def close(self) -> List[Event]:
        """The run has ended: all faces leave."""
        return [event for channel in self._channels.values() for event in self._leave(channel, LeftReason.RUN_ENDED)]

    def visit_of(self, channel: str, track: int) -> Optional[int]:
        """The number of the visit that a track belongs to at the moment."""
        visit = self._channel(channel).visit_of(track)
        return None if visit is None else visit.number

    def _channel(self, name: str) -> _Channel:
        return self._channels.setdefault(name, _Channel(name, self._own_times.get(name, self._times)))

    def _arrival(self, channel: _Channel, track: Track, visible: bool, now: _Moment) -> List[Event]:
        """What follows from a track that has no visit yet, or got its first name."""
        name, visit = track.match.name, channel.visit_of(track.id)
        before = channel.away_with(name, track.stranger)
        if visit is not None:
            if name is None or visit.name is not None:
                return []
            if before is not None and visit.first_seen <= before.track.last_seen:
                # While the person was seen with another track, this one was somebody else's, or it was a mistake.
                visit.carrier, visit.reason = None, LeftReason.NAME_CHANGED
                before.carry(track, now)
                return []
            # Two visits turn out to be one person's; both are in the log already.
            ended = [] if before is None else [self._left(channel, before, before.reason)]
            return [*ended, *self._named(channel, visit, track, now)]
        newcomer = channel.newcomers.setdefault(track.id, _Newcomer(track, channel.first_seen(track), now, now))
        newcomer.track = track
        if visible:
            newcomer.seen = now
        if before is not None:
            before.carry(track, newcomer.seen)
        elif (
            name is None
            and track.stranger is None
            and channel.somebody_is_away
            and abs(now.seconds - newcomer.since.seconds) < _NAME_WAIT_S
        ):
            return []
        del channel.newcomers[track.id]
        return [] if before is not None else self._enter(channel, newcomer, track.id, now)

    def _recognised(self, channel: _Channel, track: Track, now: _Moment) -> List[Event]:
        """What follows from an unknown track that is a stranger's."""
        visit = channel.visit_of(track.id)
        if visit is None or visit.name is not None or track.stranger in (None, visit.stranger):
            return []
        # Two visits turn out to be one stranger's; both are in the log already.
        before = channel.away_with(None, track.stranger)
        ended = [] if before is None else [self._left(channel, before, before.reason)]
        visit.stranger, visit.track, visit.seen = track.stranger, track, now
        return [*ended, self._event(channel, visit, EventKind.STRANGER, self._next())]

    def _enter(self, channel: _Channel, newcomer: _Newcomer, carrier: Optional[int], now: _Moment) -> List[Event]:
        track = newcomer.track
        began = newcomer.since.shown_time(newcomer.first_seen)
        visit = _Visit(self._next(), track, newcomer.seen, newcomer.first_seen, began, carrier)
        channel.visits[visit.number] = visit
        events: List[Event] = [self._event(channel, visit, EventKind.ENTER, visit.number)]
        if track.match.name is not None:
            events += self._named(channel, visit, track, now, newcomer.before)
        return events

    def _named(
        self, channel: _Channel, visit: _Visit, track: Track, now: _Moment, before: Optional[_Visit] = None
    ) -> List[Event]:
        """The visit gets its name; `before` is the visit that the track belonged to until it got another name."""
        name = str(track.match.name)
        visit.name, visit.track, visit.seen = name, track, now
        visit.time_to_first_name_s = max(0.0, now.seconds - visit.first_seen)
        identified = channel.identified.get(name)
        if before is not None:
            channel.identified[name] = now.seconds
            return [self._event(channel, visit, EventKind.CHANGED, self._next(), before)]
        if identified is not None and 0 <= now.seconds - identified < channel.times.cooldown_s:
            return []
        channel.identified[name] = now.seconds
        return [self._event(channel, visit, EventKind.IDENTIFIED, self._next())]

    def _leave(self, channel: _Channel, reason: LeftReason) -> List[Event]:
        events: List[Event] = []
        for newcomer in channel.newcomers.values():
            events += self._enter(channel, newcomer, newcomer.track.id, newcomer.seen)
        channel.newcomers.clear()
        for visit in list(channel.visits.values()):
            events.append(self._left(channel, visit, visit.reason if visit.carrier is None else reason))
        return events

    def _left(self, channel: _Channel, visit: _Visit, reason: LeftReason) -> Event:
        del channel.visits[visit.number]
        return self._event(channel, visit, EventKind.LEFT, self._next(), reason=reason)

    def _back(self, channel: str, now: float, clock_s: float) -> List[Event]:
        lost_at = self._lost.pop(channel)
        self._channel(channel).interruption = _Interruption(lost_at, clock_s)
        return [SourceEvent(self._next(), EventKind.SOURCE_BACK, channel, now, lost_s=max(0.0, clock_s - lost_at))]

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _event(
        self,
        channel: _Channel,
        visit: _Visit,
        kind: EventKind,
        sequence: int,
        before: Optional[_Visit] = None,
        reason: Optional[LeftReason] = None,
    ) -> FaceEvent:
        track, seen = visit.track, visit.seen
        x1, y1, x2, y2 = (round(float(side)) for side in track.box)
        return FaceEvent(
            sequence=sequence,
            kind=kind,
            channel=channel.name,
            frame=seen.frame,
            time=seen.captured_at,
            position=seen.position,
            file=seen.file,
            visit=visit.number,
            track=track.id,
            match=track.match,
            box=(x1, y1, x2, y2),
            first_seen=visit.began,
            attributes=track.attributes,
            stranger=visit.stranger if track.match.name is None else None,
            votes=track.votes,
            time_to_first_name_s=visit.time_to_first_name_s,
            previous_name=None if before is None else before.name,
            previous_visit=None if before is None else before.number,
            left_reason=reason,
            last_seen=seen.shown_time(track.last_seen) if kind is EventKind.LEFT else None,
            duration_s=max(0.0, track.last_seen - visit.first_seen) if kind is EventKind.LEFT else None,
        )


class _Moment(NamedTuple):
    """What is kept of a frame: everything but its picture."""

    frame: int
    captured_at: float
    position: Optional[float]
    file: Optional[str]
    seconds: float
    """On the clock of the source, like `Track.last_seen`."""

    def shown_time(self, source_time: float) -> float:
        """Like `Frame.shown_time`."""
        return source_time if self.position is not None else self.captured_at - (self.seconds - source_time)


@dataclass
class _Visit:
    """A person who is there, or was a short time ago."""

    number: int
    track: Track
    """As it was when the person was last seen. A track in doubt may be another person's."""
    seen: _Moment
    """The frame in which the person was last seen."""
    first_seen: float
    """On the clock of the source."""
    began: float
    """The same as users know it, by the clock as it was set then."""
    carrier: Optional[int]
    """The track of the person; None: the person is away."""
    name: Optional[str] = None
    stranger: Optional[str] = None
    """The number of an unknown person."""
    time_to_first_name_s: Optional[float] = None
    reason: LeftReason = LeftReason.GONE
    """Why the person is away."""

    def carry(self, track: Track, seen: _Moment) -> None:
        """The person is back, perhaps with another track."""
        self.carrier, self.track, self.seen, self.reason = track.id, track, seen, LeftReason.GONE


@dataclass
class _Newcomer:
    """A track that has no visit yet."""

    track: Track
    first_seen: float
    seen: _Moment
    since: _Moment
    """When it was there first."""
    before: Optional[_Visit] = None
    """The visit that it belonged to until its name changed."""


class _Interruption(NamedTuple):
    """Like `Frame.clock_s`."""

    lost_at: float
    back_at: float


@dataclass
class _Channel:
    """The visits of a channel."""

    name: str
    times: VisitTimes
    visits: Dict[int, _Visit] = field(default_factory=dict)
    """By number."""
    newcomers: Dict[int, _Newcomer] = field(default_factory=dict)
    """By track."""
    identified: Dict[str, float] = field(default_factory=dict)
    """When each person was last identified."""
    interruption: Optional[_Interruption] = None
    """When the source was last lost, and when it was back."""

    def follow(self, tracks: Dict[int, Track], visible: Set[int], now: _Moment) -> None:
        """Brings the visits of the tracks up to date. A track with another name, or without one, belongs to none."""
        for visit in self.visits.values():
            if visit.carrier is None:
                continue
            track = tracks.get(visit.carrier)
            if track is None:
                visit.carrier = None
            elif track.id not in visible:
                continue
            elif track.match.name == visit.name:
                visit.track, visit.seen = track, now
            elif visit.name is not None and track.match.reason is not Reason.TRACK_IN_DOUBT:
                visit.carrier, visit.reason = None, LeftReason.NAME_CHANGED
                self.newcomers[track.id] = _Newcomer(track, now.seconds, now, now, visit)

    def visit_of(self, track: int) -> Optional[_Visit]:
        return next((visit for visit in self.visits.values() if visit.carrier == track), None)

    def away(self) -> List[_Visit]:
        return [visit for visit in self.visits.values() if visit.carrier is None]

    def away_with(self, name: Optional[str], stranger: Optional[str]) -> Optional[_Visit]:
        """The visit of this person, or of this stranger where there is no name."""
        if name is None and stranger is None:
            return None
        person = (name, stranger if name is None else None)
        return next(
            (visit for visit in self.away() if (visit.name, None if visit.name else visit.stranger) == person), None
        )

    @property
    def somebody_is_away(self) -> bool:
        """Whether a face that appears may be somebody who was here."""
        return any(visit.name is not None or visit.stranger is not None for visit in self.away())

    def first_seen(self, track: Track) -> float:
        """When the track's person came. If the source was lost meanwhile, the time before was another visit's."""
        if self.interruption is None or track.first_seen >= self.interruption.lost_at:
            return track.first_seen
        return min(self.interruption.back_at, track.last_seen)
