"""What happened: a person came, got a name or left; a source was lost or came back."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple, Union

from app.text import iso_time
from app.types import NO_ATTRIBUTES, FaceAttributes, Match

SCHEMA = 4
"""Grows when a field of the JSON form changes its meaning or disappears. New fields may come at any time."""


class EventKind(str, enum.Enum):
    """The values are part of the event format."""

    ENTER = "enter"
    IDENTIFIED = "identified"
    CHANGED = "changed"
    STRANGER = "stranger"
    LEFT = "left"
    SOURCE_LOST = "source_lost"
    SOURCE_BACK = "source_back"
    RELABEL = "relabel"
    DEGRADE_LEVEL = "degrade_level"

    def __str__(self) -> str:
        return self.value


class LeftReason(str, enum.Enum):
    """Why a visit ended. The values are part of the event format."""

    GONE = "gone"
    NAME_CHANGED = "name_changed"
    """The track got another name, or lost it: the face is there, but it was or became another person's."""
    RUN_ENDED = "run_ended"
    SOURCE_LOST = "source_lost"
    """The camera was lost, so it is not known when the person left."""
    RESTART = "restart"
    """The program was killed; the next run closed the visit."""

    def __str__(self) -> str:
        return self.value


_VISIT_KEY = "visit-"


def visit_key(visit: int) -> str:
    """A visit among the relabels of its log."""
    return f"{_VISIT_KEY}{visit}"


def visit_of_key(key: str) -> Optional[int]:
    return int(key[len(_VISIT_KEY) :]) if key.startswith(_VISIT_KEY) else None


def is_stranger(who: str) -> bool:
    return re.fullmatch(r"stranger-[1-9]\d*", who, re.ASCII) is not None


@dataclass(frozen=True)
class Event:
    """What all events have. `docs/events.md` describes their JSON form."""

    sequence: int
    """1, 2, 3 … over all channels and runs of a log."""
    kind: EventKind
    channel: str
    time: float
    """In seconds since the epoch. For faces: when the frame arrived."""

    def as_json(self) -> Dict[str, Any]:
        """The JSON form, in the documented order of fields."""
        return {
            "schema": SCHEMA,
            "sequence": self.sequence,
            "event": str(self.kind),
            "channel": self.channel,
            "time": iso_time(self.time),
        }


@dataclass(frozen=True)
class SourceEvent(Event):
    """A live source was lost (SOURCE_LOST) or is back (SOURCE_BACK)."""

    error: Optional[str] = None
    """SOURCE_LOST: why, without passwords."""
    lost_s: Optional[float] = None
    """SOURCE_BACK: how long it was lost."""

    def as_json(self) -> Dict[str, Any]:
        record = super().as_json()
        if self.kind is EventKind.SOURCE_LOST:
            return {**record, "error": self.error}
        return {**record, "lost_s": _rounded(self.lost_s, 3)}


@dataclass(frozen=True)
class RelabelEvent(Event):
    """A stranger got a name (RELABEL): all visits of this stranger were that person's. Or one visit was another's than
    was recognised. `channel` is empty."""

    stranger: Optional[str]
    """None: it is about one visit."""
    name: Optional[str]
    """None: the name was taken back, or the visit was no one's who has a name."""
    of_visit: Optional[int] = None
    to_stranger: Optional[str] = None
    """The visit was this stranger's."""
    taken_back: bool = False
    """The visit was whose it was recognised as."""

    @classmethod
    def of(cls, sequence: int, time: float, key: str, who: Optional[str]) -> RelabelEvent:
        """Of what is in the relabels of a log: `stranger-7` -> `Eva`, `visit-12` -> `Bob`, `stranger-9` or unknown."""
        visit = visit_of_key(key)
        if visit is None:
            return cls(sequence, EventKind.RELABEL, "", time, key, who)
        to_stranger = who if who is not None and is_stranger(who) else None
        name = None if to_stranger else who or None
        return cls(sequence, EventKind.RELABEL, "", time, None, name, visit, to_stranger, who is None)

    def as_json(self) -> Dict[str, Any]:
        record = {**super().as_json(), "channel": None, "stranger": self.stranger, "name": self.name}
        if self.of_visit is None:
            return record
        return {**record, "of_visit": self.of_visit, "to_stranger": self.to_stranger, "taken_back": self.taken_back}


@dataclass(frozen=True)
class LevelEvent(Event):
    """The machine became too slow for its live sources, or has recovered (DEGRADE_LEVEL). `channel` is empty."""

    level: int
    """How much is left out now: 0 (nothing) to 4."""
    level_name: str
    previous_level: int

    def as_json(self) -> Dict[str, Any]:
        levels = {"level": self.level, "level_name": self.level_name, "previous_level": self.previous_level}
        return {**super().as_json(), "channel": None, **levels}


@dataclass(frozen=True)
class FaceEvent(Event):
    """A person came (ENTER), got a name (IDENTIFIED, or CHANGED when the track had another one) or the number of a
    stranger (STRANGER), or left (LEFT)."""

    frame: int
    """Index of the frame that shows it; LEFT: of the last frame in which the face was seen."""
    position: Optional[float]
    """Seconds into a recording; None for a live source."""
    file: Optional[str]
    """The picture's file, for a folder of photos."""
    visit: int
    """The `sequence` of its ENTER."""
    track: int
    match: Match
    box: Tuple[int, int, int, int]
    """Where the face was last seen: x1 y1 x2 y2 in the frame's pixels."""
    first_seen: float
    """When the visit began: seconds into a recording, or else since the epoch, by the clock as it was set then."""
    attributes: FaceAttributes = NO_ATTRIBUTES
    votes: int = 0
    """How often the track was compared."""
    time_to_first_name_s: Optional[float] = None
    """From `first_seen` until the visit got its name."""
    stranger: Optional[str] = None
    """`stranger-7`, like `Track.stranger`."""
    previous_name: Optional[str] = None
    """CHANGED: the name that the track had before."""
    previous_visit: Optional[int] = None
    """CHANGED: the visit of that person."""
    left_reason: Optional[LeftReason] = None
    """LEFT: why."""
    last_seen: Optional[float] = None
    """LEFT: when the person was seen last, like `first_seen`."""
    duration_s: Optional[float] = None
    """LEFT: the time that passed, which differs from `last_seen - first_seen` if the clock was set meanwhile."""
    snapshot: Optional[str] = None
    """LEFT: the file with the best picture of the face."""

    def as_json(self) -> Dict[str, Any]:
        match = self.match
        compared = match.reason.compared and match.nearest is not None
        has_runner_up = compared and match.runner_up is not None
        record = {
            **super().as_json(),
            "frame": self.frame,
            "position": _rounded(self.position, 3),
            **({} if self.file is None else {"file": self.file}),
            "visit": self.visit,
            "track": self.track,
            "name": match.name,
            "stranger": self.stranger,
            "similarity": _rounded(match.similarity, 4) if compared else None,
            "confidence": _rounded(match.confidence, 4) if compared else None,
            "nearest": match.nearest if compared else None,
            "photo": match.photo if compared else None,
            "runner_up": match.runner_up if compared else None,
            "runner_up_similarity": _rounded(match.runner_up_similarity, 4) if has_runner_up else None,
            "box": list(self.box),
            **attribute_fields(self.attributes),
            "reason": str(match.reason if self.left_reason is None else self.left_reason),
            "why": match.why,
            "measured": _rounded(match.measured, 4),
            "limit": _rounded(match.limit, 4),
            "votes": self.votes,
            "time_to_first_name_s": _rounded(self.time_to_first_name_s, 3),
            **evidence_fields(match),
        }
        if self.kind is EventKind.CHANGED:
            record.update(previous_name=self.previous_name, previous_visit=self.previous_visit)
        record["first_seen"] = self._source_time(self.first_seen)
        if self.last_seen is not None:
            record["last_seen"] = self._source_time(self.last_seen)
            record["duration_s"] = _rounded(self.duration_s, 3)
        if self.snapshot is not None:
            record["snapshot"] = self.snapshot
        return record

    def _source_time(self, seconds: float) -> Union[str, float, None]:
        """Like `time` for a live source, like `position` for a recording."""
        return iso_time(seconds) if self.position is None else _rounded(seconds, 3)


_QUALITY_DIGITS = {
    "score": 3,
    "size_px": 0,
    "yaw": 0,
    "pitch": 0,
    "roll": 0,
    "landmark_error": 2,
    "cut_off": 2,
    "exposure": 2,
    "sharpness": 0,
    "non_face": 2,
}


def evidence_fields(match: Match) -> Dict[str, Any]:
    """What `explain` shows: the nearest people and the quality of the face; left out where there are none."""
    candidates = [
        {"name": one.name, "similarity": _rounded(one.similarity, 4), "photo": one.photo} for one in match.candidates
    ]
    columns = {} if match.quality is None else {name: getattr(match.quality, name)[0] for name in _QUALITY_DIGITS}
    quality = {
        name: round(float(value), _QUALITY_DIGITS[name] or None)
        for name, value in columns.items()
        if math.isfinite(value)
    }
    return {**({"candidates": candidates} if candidates else {}), **({"quality": quality} if quality else {})}


def attribute_fields(attributes: FaceAttributes) -> Dict[str, Any]:
    """The JSON form of a face's attributes; those that were not measured are left out."""
    pose, points = attributes.pose, attributes.landmarks106
    angles = pose and {"yaw": pose.yaw_deg, "pitch": pose.pitch_deg, "roll": pose.roll_deg}
    fields = {
        "gender": None if attributes.gender is None else str(attributes.gender),
        "age": _rounded(attributes.age, 1),
        "mask": attributes.mask,
        "mask_probability": _rounded(attributes.mask_probability, 4),
        "no_mask_probability": _rounded(attributes.no_mask_probability, 4),
        "live": _rounded(attributes.live_probability, 4),
        "pose": angles and {name: round(degrees, 1) for name, degrees in angles.items()},
        "landmarks106": None if points is None else [[round(x, 1), round(y, 1)] for x, y in points.tolist()],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _rounded(value: Optional[float], digits: int) -> Optional[float]:
    """JSON has no NaN and no infinity: they become null."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)
