"""Requests and replies of the own API. The OpenAPI document is made from these types."""

from __future__ import annotations

import sys
from typing import List, Optional

import msgspec

if sys.version_info >= (3, 9):
    from typing import Annotated
else:  # Starlette needs it there
    from typing_extensions import Annotated

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=50)]
Some = Annotated[List[str], msgspec.Meta(min_length=1)]


class Box(msgspec.Struct):
    """In pixels of the picture."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int


class DetectedFace(msgspec.Struct):
    box: Box
    score: float
    landmarks: List[List[float]]
    """Left and right eye, nose, left and right corner of the mouth, as the viewer sees them."""


class EmbeddedFace(msgspec.Struct):
    box: Box
    score: float
    embedding: List[float]
    """Of unit length: the product of two embeddings is their similarity."""


class NearestPerson(msgspec.Struct):
    name: str
    similarity: float
    photo: str
    """The id of the person's most similar photo."""


class IdentifiedFace(msgspec.Struct):
    box: Box
    score: float
    name: Optional[str]
    """Null: unknown. `reason` says why."""
    reason: str
    why: str
    """The reason with its numbers."""
    similarity: Optional[float]
    """Of the nearest person. Null: the face was not compared."""
    confidence: Optional[float]
    """The probability that the face is the nearest person's."""
    nearest: List[NearestPerson]


class Detection(msgspec.Struct):
    faces: List[DetectedFace]


class Embedding(msgspec.Struct):
    faces: List[EmbeddedFace]


class Identification(msgspec.Struct):
    faces: List[IdentifiedFace]


class Verification(msgspec.Struct):
    same_person: bool
    similarity: float
    threshold: float
    confidence: Optional[float]


class Photo(msgspec.Struct):
    id: str
    path: str
    """Inside the gallery."""
    used: bool
    """Whether faces are compared with it."""
    reason: str
    why: str
    message: str
    """What to do about a photo that is not used, or what to know about one that is."""
    face_px: float


class Person(msgspec.Struct):
    name: str
    version: str
    """Changes with the photos. A request that sends it is refused (409) if it is another one meanwhile."""
    photos: int
    used_photos: int
    best_photo: Optional[str]
    """The id of the largest face among the photos that are used."""


class PersonDetails(msgspec.Struct):
    name: str
    version: str
    photos: List[Photo]


class ChangedPerson(msgspec.Struct):
    name: str
    version: str
    photos: List[Photo]
    changed: List[Changed]
    undo: Optional[str]
    """For `/api/v1/undo/`. Null: nothing has changed."""


class People(msgspec.Struct):
    people: List[Person]


class PhotoOutcome(msgspec.Struct):
    """What became of one uploaded file."""

    filename: str
    added: bool
    reason: str
    message: str
    photo: Optional[Photo]
    """The photo in the gallery: the new one, or the same one that was there before."""
    warnings: List[str]


class Changed(msgspec.Struct, rename={"before": "from", "after": "to"}):
    """Past visits and photos that are another's now: `3 past visits are now Ann`."""

    before: Optional[str]
    """A person or a stranger. Null: no one."""
    after: Optional[str]
    visits: int
    """Of those whose faces are kept (`strangers.keep_days`)."""
    photos: int


class PhotoOutcomes(msgspec.Struct):
    person: str
    photos: List[PhotoOutcome]
    changed: List[Changed]
    undo: Optional[str]
    """Null: delete the photos that were not meant."""


class PersonChange(msgspec.Struct):
    name: Name
    merge: bool = False
    """Whether the name may be that of another person, who then gets the photos."""
    version: Optional[str] = None
    """That of the person when it was shown."""


class PhotoChange(msgspec.Struct):
    name: Name
    """The person whom the photo shows, new or enrolled already."""
    version: Optional[str] = None
    """That of the person in the path when it was shown."""


class RemovedPhoto(msgspec.Struct):
    person: str
    photos: int
    changed: List[Changed]
    undo: Optional[str]
    """Null: what is deleted stays deleted."""


class Removed(msgspec.Struct):
    """Everything that was stored of a person or stranger."""

    person: str
    photos: int
    visits: int
    pictures: int
    log: str
    """What becomes of the event log: `redacted`, `run_writes` (when the run that is writing it has ended; the API does
    not show it any more), or `no_log` (nothing is in it)."""
    changed: List[Changed]
    undo: Optional[str]
    """Null: what is deleted stays deleted."""


class Version(msgspec.Struct):
    version: str
    detector: str
    embedder: str
    threshold: float
    """The similarity from which a face has a name, at the moment."""
    index: str
    """How faces are compared with the photos at the moment, and why."""


class Health(msgspec.Struct):
    status: str


class Undoing(msgspec.Struct):
    action: str
    """What was undone, such as `merge strangers`."""
    changed: List[Changed]
    log: str
    """What becomes of names in the event log: `relabelled`, `run_writes` (the run itself, within seconds), `no_log`."""
    undo: Optional[str]
    """Null: undoing cannot be undone."""


class PastChange(msgspec.Struct):
    id: str
    time: str
    action: str
    changed: List[Changed]
    undone: bool


class PastChanges(msgspec.Struct):
    changes: List[PastChange]
    """The latest first; at most 100, of the last 7 days."""


class Failure(msgspec.Struct):
    error: str
