"""The enrolled people: their photos, what was found in each, and the embeddings that faces are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from app.identity.calibration import Calibration
from app.identity.index import PersonIndex
from app.reasons import Reason, explained, numbers_of


@dataclass(frozen=True, eq=False)
class PhotoFinding:
    """What was found in a photo. Depends on the bytes of the photo only, so that it can be cached by their hash."""

    reason: Reason
    """USED, MAIN_FACE_USED, or why the photo is rejected."""
    embedding: Optional[np.ndarray] = None
    """D float32, of a photo that is used."""
    faces_found: int = 0
    face_px: float = 0.0
    """The shorter side of the main face's box, in the photo's own pixels."""
    sharpness: float = 0.0
    rotation_fixed: bool = False
    """The photo was rotated, because of its EXIF orientation or because its face is upright only then."""
    message: str = ""
    """For people: what to do about a photo that was rejected, or what to know about one that is used."""
    measured: Optional[float] = None
    """What the reason is about, such as the size of the face; None: there is no number."""
    limit: Optional[float] = None
    """What `measured` was compared with."""

    def __post_init__(self) -> None:
        if self.used != (self.reason in (Reason.USED, Reason.MAIN_FACE_USED)):
            raise ValueError(f"PhotoFinding: only photos that are used have an embedding; the reason is {self.reason}")
        if self.embedding is not None:
            length = float(np.linalg.norm(self.embedding)) if self.embedding.ndim == 1 else float("nan")
            if not (np.isfinite(length) and length > 0):
                raise ValueError("PhotoFinding.embedding must be one row of finite numbers, not all of them 0")

    @property
    def used(self) -> bool:
        """Whether faces are compared with this photo."""
        return self.embedding is not None

    @property
    def why(self) -> str:
        """The reason with its numbers, such as `too_small 31<40 px`."""
        return explained(self.reason, numbers_of(self.reason, self.measured, self.limit))

    @property
    def text(self) -> str:
        """Everything that is to say about the photo: `too_small 31<40 px: use a larger picture`."""
        return f"{self.why}: {self.message}" if self.message else self.why


@dataclass(frozen=True, eq=False)
class PhotoRecord:
    """One photo of the gallery."""

    path: str
    """Inside the gallery's folder, with `/`."""
    person: str
    content_hash: str
    """SHA-256 of the file; empty when it could not be read at all."""
    finding: PhotoFinding


@dataclass(frozen=True, eq=False)
class EnrolledPeople:
    """All people of a gallery at one moment. Immutable: a changed gallery gets a new one."""

    photos: Tuple[PhotoRecord, ...] = ()
    generation: int = 0
    """Increases with every change of the gallery; comparisons with an older one may be outdated."""
    names: Tuple[str, ...] = field(init=False)
    """Everyone who has a photo, used or not, in alphabetical order."""
    photos_of: Mapping[str, Sequence[PhotoRecord]] = field(init=False)
    """The photos of each of them."""
    embeddings: np.ndarray = field(init=False)
    """R x D float32 of unit length, one row per photo that is used."""
    row_photos: Tuple[PhotoRecord, ...] = field(init=False)
    """The photo of each row. Copies of a photo under one name share a row."""

    def __post_init__(self) -> None:
        photos = tuple(sorted(self.photos, key=lambda photo: photo.path))
        rows: Dict[Tuple[str, str], PhotoRecord] = {}
        for photo in photos:
            if photo.finding.used:
                rows.setdefault((photo.person, photo.content_hash), photo)
        photos_of: Dict[str, List[PhotoRecord]] = {name: [] for name in sorted({photo.person for photo in photos})}
        for photo in photos:
            photos_of[photo.person].append(photo)
        vectors = [photo.finding.embedding for photo in rows.values() if photo.finding.embedding is not None]
        lengths = sorted({len(vector) for vector in vectors})
        if len(lengths) > 1:
            raise ValueError(f"EnrolledPeople: all embeddings must have the same length, not {lengths}")
        embeddings = np.stack(vectors).astype(np.float32) if vectors else np.empty((0, 0), np.float32)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        for name, value in (
            ("photos", photos),
            ("names", tuple(photos_of)),
            ("photos_of", photos_of),
            ("row_photos", tuple(rows.values())),
            ("embeddings", embeddings),
        ):
            object.__setattr__(self, name, value)

    @property
    def row_people(self) -> List[str]:
        """The person of each row."""
        return [photo.person for photo in self.row_photos]

    def index(
        self,
        calibration: Optional[Calibration] = None,
        false_accept_rate: Optional[float] = None,
        kind: str = "flat",
        before: Optional[PersonIndex] = None,
    ) -> PersonIndex:
        """What faces are compared with. With a false-accept rate, it has the threshold that follows from it.

        `kind` is `recognition.index`; `before` is the index of these people before they changed.
        """
        threshold = None
        if calibration is not None and false_accept_rate is not None:
            threshold = calibration.threshold(false_accept_rate)
        return PersonIndex(
            self.embeddings,
            self.row_people,
            [photo.path for photo in self.row_photos],
            self.generation,
            calibration,
            threshold,
            kind,
            before,
        )
