"""Requests and replies of the own API about strangers."""

from __future__ import annotations

from typing import List, Optional

import msgspec

from app.service.api.messages import Changed, Name, PhotoOutcome, Some


class SimilarPerson(msgspec.Struct):
    name: str
    similarity: float


class Stranger(msgspec.Struct):
    stranger: str
    """Such as `stranger-7`."""
    version: str
    """Changes with the visits. A request that sends it is refused (409) if it is another one meanwhile."""
    ignored: bool
    visits: int
    first_seen: str
    last_seen: str
    channels: List[str]
    """Those of other devices begin with the device: `door-a/camera`."""
    devices: List[str]
    """Other devices that share the database and saw the stranger."""
    pictures: List[str]
    """Names of the pictures, the best first."""
    frames: List[str]
    """Those of which the frame is kept, small and with other faces blurred: `/pictures/NAME/frame.jpg`."""
    nearest: List[SimilarPerson]
    """The three people who resemble the stranger most."""


class Strangers(msgspec.Struct):
    strangers: List[Stranger]
    ignored: int
    """How many are ignored, listed or not."""


class SeenVisit(msgspec.Struct):
    """A visit of which the face is kept."""

    channel: str
    first_seen: str
    last_seen: str
    position: Optional[float]
    """Seconds into a recording."""
    file: Optional[str]
    picture: Optional[str]


class StrangerDetails(msgspec.Struct):
    stranger: Stranger
    visits: List[SeenVisit]
    """The oldest first."""


class ChangedStranger(msgspec.Struct):
    stranger: Stranger
    visits: List[SeenVisit]
    """The oldest first."""
    changed: List[Changed]
    undo: Optional[str]
    """For `/api/v1/undo/`. Null: nothing has changed."""


class SplitStranger(msgspec.Struct):
    strangers: List[Stranger]
    ignored: int
    """How many of the two are ignored."""
    changed: List[Changed]
    undo: Optional[str]
    """For `/api/v1/undo/`."""


class NewName(msgspec.Struct):
    name: Name
    """New, or enrolled already: then this is that person."""
    version: Optional[str] = None
    """That of the stranger when it was shown."""


class NamedStranger(msgspec.Struct):
    stranger: str
    person: str
    visits: int
    """How many past visits have the name now."""
    log: str
    """`relabelled`, `run_writes` (the run adds the names to the log itself, within seconds), or `no_log`."""
    photos: List[PhotoOutcome]
    """What became of the pictures."""
    changed: List[Changed]
    undo: Optional[str]
    """For `/api/v1/undo/`. Null: nothing has changed."""


class OtherStrangers(msgspec.Struct):
    others: Some
    """They are the same person as the one in the path, whose number stays."""
    version: Optional[str] = None
    """That of the stranger in the path when it was shown."""


class Splitting(msgspec.Struct):
    version: Optional[str] = None
    """That of the stranger when it was shown."""


class Ignoring(msgspec.Struct):
    ignored: bool = True
    version: Optional[str] = None
    """That of the stranger when it was shown."""


class SeenPerson(msgspec.Struct):
    """Someone whose visits the face resembles."""

    name: Optional[str]
    stranger: Optional[str]
    similarity: float
    """Of the most similar visit."""
    confidence: Optional[float]
    """The probability that it is the same person. Null: the embedder has no reference."""
    visits: int
    first_seen: str
    last_seen: str


class FoundVisit(msgspec.Struct):
    similarity: float
    confidence: Optional[float]
    """The probability that it is the same person. Null: the embedder has no reference."""
    name: Optional[str]
    stranger: Optional[str]
    visit: SeenVisit


class SearchResult(msgspec.Struct):
    threshold: float
    nearest: Optional[str]
    """The enrolled person who is most similar; it is that person from the threshold on."""
    similarity: Optional[float]
    confidence: Optional[float]
    """The probability that it is that person. Null: no one is enrolled, or the embedder has no reference."""
    compared: int
    """Visits that are kept."""
    visits: List[FoundVisit]
    """Those of the same person, the most similar first."""
    people: List[SeenPerson]
    """The same by person and stranger, the most similar first."""
