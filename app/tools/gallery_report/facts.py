"""What the embeddings of a gallery say about each photo and each person."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple

import numpy as np

from app.gallery.people import EnrolledPeople, PhotoRecord
from app.identity.calibration import SAME_PICTURE

ENOUGH_PHOTOS = 3
MIN_LOOKS = 2
"""Photos that differ, below which a person's photos are said to be too alike."""


@dataclass(frozen=True)
class PhotoFacts:
    """One photo, compared with the person's other photos and with everybody else's."""

    photo: PhotoRecord
    own: Optional[float] = None
    """The best similarity to another photo of the person that is not a copy; None: there is none."""
    other: Optional[float] = None
    """The best similarity to a photo of another person; None: there is no other person."""
    other_photo: Optional[PhotoRecord] = None
    copy_of: Optional[PhotoRecord] = None
    """An earlier photo of the person that is the same file, or nearly the same picture."""
    wrong_person: bool = False
    """It resembles another person more than its own, or none of the person's photos."""


@dataclass
class PersonFacts:
    """One person and what to do about the photos."""

    name: str
    photos: List[PhotoFacts] = field(default_factory=list)

    @property
    def used(self) -> int:
        return sum(facts.photo.finding.used for facts in self.photos)

    @property
    def nearest(self) -> Optional[PhotoFacts]:
        """The photo that resembles another person most."""
        compared = [facts for facts in self.photos if facts.other is not None]
        return max(compared, key=lambda facts: facts.other or 0, default=None)

    @property
    def missing(self) -> List[str]:
        """What would help."""
        looks = sum(facts.photo.finding.used and facts.copy_of is None for facts in self.photos)
        if not self.used:
            return ["no photo can be used: this person is never recognised"]
        advice = []
        if looks < MIN_LOOKS <= self.used:
            advice.append("the photos are nearly the same picture: add some in other light and from other angles")
        elif looks < ENOUGH_PHOTOS:
            more = ENOUGH_PHOTOS - looks
            advice.append(f"add {more} more: {ENOUGH_PHOTOS} to 5 photos in different light and from different angles")
        if self.used and all(facts.photo.finding.face_px < 100 for facts in self.photos if facts.photo.finding.used):
            advice.append("all faces are small (below 100 px): add a photo from nearer by")
        return advice


def gallery_facts(people: EnrolledPeople, threshold: float) -> List[PersonFacts]:
    """Everybody with a photo, in alphabetical order."""
    rows: Dict[str, List[int]] = defaultdict(list)
    for row, photo in enumerate(people.row_photos):
        rows[photo.person].append(row)
    facts: Dict[str, PhotoFacts] = {}
    for own_rows in rows.values():
        for row in own_rows:
            facts[people.row_photos[row].path] = _compared(people, row, own_rows, threshold)
    by_hash: Dict[Tuple[str, str], PhotoRecord] = {}
    found: Dict[str, PersonFacts] = {name: PersonFacts(name) for name in people.names}
    for photo in people.photos:
        first = by_hash.setdefault((photo.person, photo.content_hash), photo)
        same_file = first is not photo and bool(photo.content_hash)
        found[photo.person].photos.append(
            PhotoFacts(photo, copy_of=first) if same_file else facts.get(photo.path, PhotoFacts(photo))
        )
    return list(found.values())


def _compared(people: EnrolledPeople, row: int, own_rows: List[int], threshold: float) -> PhotoFacts:
    similarity = people.embeddings @ people.embeddings[row]
    mine = np.zeros(len(similarity), bool)
    mine[own_rows] = True
    own, copy_of = None, None
    for at in own_rows:
        value = float(similarity[at])
        if at != row and value > SAME_PICTURE:
            copy_of = people.row_photos[at] if at < row and copy_of is None else copy_of
        elif at != row:
            own = value if own is None else max(own, value)
    if mine.all():
        return PhotoFacts(people.row_photos[row], own, copy_of=copy_of)
    nearest = int(np.where(mine, -2, similarity).argmax())
    other = float(similarity[nearest])
    wrong = other >= threshold and (own is None or other > own)
    wrong = wrong or (own is not None and own < threshold and len(own_rows) >= ENOUGH_PHOTOS)
    return PhotoFacts(people.row_photos[row], own, other, people.row_photos[nearest], copy_of, wrong)
