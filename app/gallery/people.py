"""The people we know: their photos, what was found in each, and the embeddings to compare with."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from app.identity.index import PersonIndex

_ROWS_AT_ONCE = 1024
_LEAST_PHOTOS_TO_COMPARE = 3
"""Of two that differ, nobody knows which is the wrong one."""


class PhotoStatus(str, enum.Enum):
    """What became of a photo."""

    KEPT = "kept"
    KEPT_MAIN_OF_SEVERAL = "kept_main_of_several"
    NO_FACE = "no_face"
    TOO_SMALL = "too_small"
    TOO_BLURRED = "too_blurred"
    UNREADABLE = "unreadable"

    def __str__(self) -> str:
        return self.value

    @property
    def kept(self) -> bool:
        return self in (PhotoStatus.KEPT, PhotoStatus.KEPT_MAIN_OF_SEVERAL)


@dataclass(frozen=True, eq=False)
class PhotoFinding:
    """What looking at one photo told. Depends on the photo's bytes alone, so that it can be cached by their hash."""

    status: PhotoStatus
    embedding: Optional[np.ndarray] = None
    """D float32; there exactly when the photo was kept."""
    faces_found: int = 0
    face_px: float = 0.0
    """The lesser of width and height of the face that counts."""
    sharpness: float = 0.0
    rotation_fixed: bool = False
    """The photo was turned, because it said so (EXIF) or because its face stands upright only then."""
    message: str = ""
    """For people: why it was refused, or what to know about it."""

    def __post_init__(self) -> None:
        if (self.embedding is not None) != self.status.kept:
            raise ValueError(f"PhotoFinding: a photo has an embedding exactly when it is kept; status is {self.status}")
        if self.embedding is not None:
            length = float(np.linalg.norm(self.embedding)) if self.embedding.ndim == 1 else float("nan")
            if not (np.isfinite(length) and length > 0):
                raise ValueError("PhotoFinding.embedding must be one row of finite numbers, not all of them 0")


@dataclass(frozen=True)
class FileStamp:
    """What tells cheaply that a file is no longer what it was."""

    size: int
    modified_ns: int
    changed_ns: int
    """Also moves when the file was only renamed, made readable, or copied together with its old time."""


@dataclass(frozen=True, eq=False)
class PhotoRecord:
    """One photo of the gallery."""

    path: str
    """Inside the gallery's folder, with `/`."""
    person: str
    content_hash: str
    """SHA-256 of the file; empty when it could not be read at all."""
    finding: PhotoFinding
    stamp: FileStamp
    stamp_seen_at: float = 0.0
    """When the file was first seen with this stamp: a photo that is still being copied keeps changing."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Everybody at one moment. Never changed: a new one takes its place."""

    photos: Tuple[PhotoRecord, ...] = ()
    generation: int = 0
    """Grows with every change of the gallery; what was compared with an older one is worth comparing again."""
    people: Tuple[str, ...] = field(init=False)
    """Everyone who has a photo, usable or not, in the order of the alphabet."""
    embeddings: np.ndarray = field(init=False)
    """R x D float32 of unit length, one row for each photo that can be compared with."""
    row_photos: Tuple[PhotoRecord, ...] = field(init=False)
    """The photo of each row. The same photo twice under one name is one row."""

    def __post_init__(self) -> None:
        photos = tuple(sorted(self.photos, key=lambda photo: photo.path))
        rows: Dict[Tuple[str, str], PhotoRecord] = {}
        for photo in photos:
            if photo.finding.status.kept:
                rows.setdefault((photo.person, photo.content_hash), photo)
        set_once = object.__setattr__
        set_once(self, "photos", photos)
        set_once(self, "people", tuple(sorted({photo.person for photo in photos})))
        set_once(self, "row_photos", tuple(rows.values()))
        set_once(self, "embeddings", _matrix(self.row_photos))

    def photos_of(self, person: str) -> Tuple[PhotoRecord, ...]:
        return tuple(photo for photo in self.photos if photo.person == person)


def person_index(gallery: Gallery) -> PersonIndex:
    """What faces are compared with."""
    photos = gallery.row_photos
    return PersonIndex(
        gallery.embeddings, [photo.person for photo in photos], [photo.path for photo in photos], gallery.generation
    )


def _matrix(photos: Sequence[PhotoRecord]) -> np.ndarray:
    found = [photo.finding.embedding for photo in photos]
    rows = [row for row in found if row is not None]
    if not rows:
        return np.empty((0, 0), np.float32)
    if len({len(row) for row in rows}) > 1:
        sizes = sorted({len(row) for row in rows})
        raise ValueError(f"Gallery: the embeddings of one gallery must be of one length, not of {sizes}")
    matrix = np.stack(rows).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix


class WarningKind(str, enum.Enum):
    """What is doubtful about a gallery."""

    SAME_PHOTO = "same_photo"
    PEOPLE_ALIKE = "people_alike"
    NO_USABLE_PHOTO = "no_usable_photo"
    UNLIKE_ITS_OWN = "unlike_its_own"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class GalleryWarning:
    """Something about the gallery that its owner should look at."""

    kind: WarningKind
    people: Tuple[str, ...]
    photos: Tuple[str, ...]
    message: str


def warnings(gallery: Gallery, threshold: float) -> Tuple[GalleryWarning, ...]:
    """What will make people unrecognised or mistaken for one another, each with the photos to look at."""
    shared = _shared_photos(gallery)
    told = {(warning.people[0], warning.people[1]) for warning in shared}
    return (*shared, *_people_alike(gallery, threshold, told), *_without_photo(gallery))


def _shared_photos(gallery: Gallery) -> List[GalleryWarning]:
    """One warning for each two people who have the same file."""
    first_by_hash: Dict[str, List[PhotoRecord]] = {}
    for photo in gallery.photos:
        if photo.content_hash:
            first_by_hash.setdefault(photo.content_hash, []).append(photo)
    found: Dict[Tuple[str, str], GalleryWarning] = {}
    for photos in first_by_hash.values():
        one = photos[0]
        for other in photos[1:]:
            if one.person == other.person:
                continue
            message = (
                f"{one.path} ({one.person}) and {other.path} ({other.person}) are the same photo: "
                "neither will be recognised by it; remove the wrong one"
            )
            pair = (min(one.person, other.person), max(one.person, other.person))
            found.setdefault(pair, GalleryWarning(WarningKind.SAME_PHOTO, pair, (one.path, other.path), message))
    return [found[pair] for pair in sorted(found)]


def _people_alike(gallery: Gallery, threshold: float, told: Set[Tuple[str, str]]) -> List[GalleryWarning]:
    """One warning for each two people, naming their nearest photos."""
    closest: Dict[Tuple[str, str], Tuple[float, int, int]] = {}
    photos = gallery.row_photos
    numbers = {person: number for number, person in enumerate(gallery.people)}
    person_of_row = np.array([numbers[photo.person] for photo in photos], dtype=np.int64)
    for start in range(0, len(photos), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        similarity = gallery.embeddings[rows] @ gallery.embeddings[start:].T
        close = (similarity >= threshold) & (person_of_row[rows, None] != person_of_row[None, start:])
        for row, column in np.argwhere(close):
            one, other = sorted((start + int(row), start + int(column)))
            pair = (photos[one].person, photos[other].person)
            pair = (min(pair), max(pair))
            score = float(similarity[row, column])
            if score > closest.get(pair, (-np.inf, 0, 0))[0]:
                closest[pair] = (score, one, other)
    return [_alike(photos, *closest[pair]) for pair in sorted(closest) if pair not in told]


def _alike(photos: Sequence[PhotoRecord], score: float, one: int, other: int) -> GalleryWarning:
    first, second = sorted((photos[one], photos[other]), key=lambda photo: photo.person)
    message = (
        f"{first.person} and {second.person} look alike: {first.path} and {second.path} have a similarity of "
        f"{score:.2f}, enough for a name. Is one under the wrong name? If not, raise the threshold or the margin"
    )
    return GalleryWarning(WarningKind.PEOPLE_ALIKE, (first.person, second.person), (first.path, second.path), message)


def resembles_another(gallery: Gallery, threshold: float, person: str, embedding: np.ndarray) -> str:
    """What is doubtful about a new photo of this person that is nearer to somebody else's; empty when nothing is."""
    if not gallery.row_photos:
        return ""
    similarity = gallery.embeddings @ (embedding / np.linalg.norm(embedding))
    nearest = int(similarity.argmax())
    photo, score = gallery.row_photos[nearest], float(similarity[nearest])
    if photo.person == person or score < threshold:
        return ""
    return (
        f"looks like {photo.person}: a similarity of {score:.2f} with {photo.path}, enough for that name; "
        f"if it does not show {person}, delete it"
    )


def unlike_their_own(gallery: Gallery, threshold: float) -> List[GalleryWarning]:
    """One warning for each photo that resembles no other photo of its person: it may show somebody who has no photos
    here. Old and hard photos do so too, so this is for who looks after the gallery, not for every start."""
    rows_of: Dict[str, List[int]] = {}
    for row, photo in enumerate(gallery.row_photos):
        rows_of.setdefault(photo.person, []).append(row)
    found = []
    for person in sorted(rows_of):
        rows = rows_of[person]
        if len(rows) < _LEAST_PHOTOS_TO_COMPARE:
            continue
        for row, score in zip(rows, _nearest_of_the_others(gallery.embeddings[rows])):
            if score < threshold:
                path = gallery.row_photos[row].path
                message = (
                    f"{path} resembles no other photo of {person}: a similarity of {score:.2f} at best; "
                    f"look whether it shows {person}; if not, delete it"
                )
                found.append(GalleryWarning(WarningKind.UNLIKE_ITS_OWN, (person,), (path,), message))
    return found


def _nearest_of_the_others(embeddings: np.ndarray) -> List[float]:
    """For each row, its similarity to the most similar one of the other rows."""
    nearest: List[float] = []
    for start in range(0, len(embeddings), _ROWS_AT_ONCE):
        similarity = embeddings[start : start + _ROWS_AT_ONCE] @ embeddings.T
        own = np.arange(len(similarity))
        similarity[own, start + own] = -np.inf
        nearest.extend(map(float, similarity.max(axis=1)))
    return nearest


def _without_photo(gallery: Gallery) -> List[GalleryWarning]:
    recognisable = {photo.person for photo in gallery.row_photos}
    found = []
    for person in gallery.people:
        if person not in recognisable:
            refused = gallery.photos_of(person)
            why = ", ".join(f"{photo.path}: {photo.finding.status}" for photo in refused)
            message = f"{person} cannot be recognised: no usable photo ({why})"
            paths = tuple(photo.path for photo in refused)
            found.append(GalleryWarning(WarningKind.NO_USABLE_PHOTO, (person,), paths, message))
    return found
