"""Replies of the own API about a run: its channels, its events and its visits."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Union

import msgspec

from app.service.api.messages import Changed, Name


class Counters(msgspec.Struct):
    """Since the start."""

    read: int
    dropped: int
    beyond_max_fps: int
    skipped: int
    reconnects: int
    stalls: int
    unreadable: int
    damaged: int


class Channel(msgspec.Struct):
    name: str
    address: str
    """Without its password."""
    state: str
    live: bool
    """Whether it is a camera, or else a recording."""
    processed: int
    """Frames that were looked at."""
    fps: float
    """Frames that were looked at in each of the last seconds."""
    source_fps: Optional[float]
    """What the source says of itself."""
    last_frame: Optional[str]
    """When the newest picture arrived."""
    latency_ms: Optional[float]
    """From the arrival of that picture to its result."""
    last_error: Optional[str]
    """Also if the channel has recovered since."""
    counters: Counters


class Channels(msgspec.Struct):
    channels: List[Channel]
    degrade_level: int
    """What is left out because the machine is too slow: 0 (nothing) to 4."""
    events_kept: bool
    """Whether there is an event log (`output.events`). Without one, `events` and `visits` answer 404."""


class Events(msgspec.Struct):
    events: List[Dict[str, Any]]
    """The last one first; docs/events.md describes the fields. Strangers who got a name later have it."""
    before: Optional[int]
    """For the parameter of this name: there may be earlier ones. Null: there are none."""


class Visit(msgspec.Struct):
    visit: int
    version: str
    """Changes with whose it is. A request that sends it is refused (409) if it is another one meanwhile."""
    channel: str
    track: int
    name: Optional[str]
    stranger: Optional[str]
    nearest: Optional[str]
    similarity: Optional[float]
    time: str
    """When it began."""
    first_seen: Union[str, float]
    """A time, or seconds into a recording."""
    last_seen: Union[str, float]
    file: Optional[str]
    ended: Optional[str]
    """Why it ended; null: it has not."""
    duration_s: float
    picture: bool
    """Whether there is a picture of it."""


class Visits(msgspec.Struct):
    visits: List[Visit]
    """The last one first."""
    more: bool
    """Whether there are earlier ones."""


class VisitDetails(msgspec.Struct):
    visit: Visit
    events: List[Dict[str, Any]]
    """The oldest first."""


class VisitChange(msgspec.Struct):
    """Whose a visit is. Without both, it is no one's who is known."""

    name: Optional[Name] = None
    """A person who is enrolled."""
    stranger: Optional[str] = None
    """Such as `stranger-7`."""
    version: Optional[str] = None
    """That of the visit when it was shown."""


class ChangedVisit(msgspec.Struct):
    visit: Visit
    face_kept: bool
    """Whether the face is kept, so that one that resembles it does not get the wrong name again."""
    log: str
    """`relabelled`, `run_writes` (the run says so in the log itself, within seconds), or `no_log`."""
    changed: List[Changed]
    undo: Optional[str]
    """For `/api/v1/undo/`. Null: nothing has changed."""


class EffectiveSettings(msgspec.Struct):
    settings: Dict[str, Dict[str, Any]]
    """By section and name; docs/configuration.md describes them. Secrets are hidden."""
    channels: Dict[str, Dict[str, Any]]
    """What single channels have of their own, by channel and key."""
