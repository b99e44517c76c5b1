"""Checks of a gallery: photos that make people unrecognizable or easy to confuse."""

from __future__ import annotations

import enum
from collections import defaultdict
from dataclasses import dataclass
from typing import Dict, List, Optional, Set, Tuple

import numpy as np

from app.gallery.people import EnrolledPeople, PhotoRecord

_ROWS_PER_BLOCK = 1024
_CELLS_PER_BLOCK = 8_000_000
"""Of a table of similarities: 32 MB."""
_MIN_PHOTOS_FOR_OUTLIERS = 3
"""Of two photos that differ, neither is known to be the wrong one."""
MAX_SIMILAR_PAIRS = 100
"""Of two people: a thousand names of one face are half a million pairs."""
_LISTED = 3
"""Photos of a group that are named."""

Pair = Tuple[str, str]


class WarningKind(str, enum.Enum):
    """What is suspicious about a gallery."""

    SAME_PHOTO = "same_photo"
    SIMILAR_PEOPLE = "similar_people"
    NO_USABLE_PHOTO = "no_usable_photo"
    OUTLIER = "outlier"
    MIXED = "mixed"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class GalleryWarning:
    """Something about the gallery that its owner should check."""

    kind: WarningKind
    people: Tuple[str, ...]
    photos: Tuple[str, ...]
    message: str
    similarity: Optional[float] = None
    """SIMILAR_PEOPLE: of the two photos; OUTLIER: with the most similar other photo of the person."""


def check_people(people: EnrolledPeople, threshold: float, rows: Optional[np.ndarray] = None) -> List[GalleryWarning]:
    """Everything that prevents people from being recognized, or confuses them with one another.

    Comparing all photos with all takes minutes for 100,000; with `rows`, only these photos are compared with all.
    """
    shared = _shared_photos(people)
    known = {(warning.people[0], warning.people[1]) for warning in shared}
    return [*shared, *_similar_people(people, threshold, known, rows), *_without_usable_photo(people)]


def _shared_photos(people: EnrolledPeople) -> List[GalleryWarning]:
    """One warning per two people who have the same file."""
    by_hash: Dict[str, List[PhotoRecord]] = defaultdict(list)
    for photo in people.photos:
        if photo.content_hash:
            by_hash[photo.content_hash].append(photo)
    found: Dict[Pair, GalleryWarning] = {}
    for first, *others in by_hash.values():
        for other in others:
            if other.person == first.person:
                continue
            pair = (min(first.person, other.person), max(first.person, other.person))
            message = (
                f"{first.path} ({first.person}) and {other.path} ({other.person}) are the same photo, which identifies "
                "neither of them: remove the wrong one"
            )
            found.setdefault(pair, GalleryWarning(WarningKind.SAME_PHOTO, pair, (first.path, other.path), message))
    return [found[pair] for pair in sorted(found)]


def _similar_people(
    people: EnrolledPeople, threshold: float, skip: Set[Pair], compared: Optional[np.ndarray]
) -> List[GalleryWarning]:
    """One warning per two people, with their most similar photos. Of more than MAX_SIMILAR_PAIRS, the most similar."""
    closest, concerned = _closest_rows(people, threshold, skip, compared)
    found = []
    for score, row, column in closest[:MAX_SIMILAR_PAIRS]:
        one, other = sorted((people.row_photos[row], people.row_photos[column]), key=lambda photo: photo.person)
        message = (
            f"{one.person} and {other.person} may be confused: {one.path} and {other.path} have a similarity of "
            f"{score:.2f}, above the threshold. Is one under the wrong name? If not, raise the threshold or the margin"
        )
        pair = (one.person, other.person)
        found.append(GalleryWarning(WarningKind.SIMILAR_PEOPLE, pair, (one.path, other.path), message, score))
    found.sort(key=lambda warning: warning.people)
    if len(closest) > MAX_SIMILAR_PAIRS:
        message = (
            f"{concerned} people may be confused with others, and only the {MAX_SIMILAR_PAIRS} most similar pairs are "
            "listed. Has one face many names? If not, raise the threshold"
        )
        found.append(GalleryWarning(WarningKind.SIMILAR_PEOPLE, (), (), message))
    return found


def _closest_rows(
    people: EnrolledPeople, threshold: float, skip: Set[Pair], compared: Optional[np.ndarray]
) -> Tuple[List[Tuple[float, int, int]], int]:
    """Similarity and rows of the most similar photos of two people, the most similar people first, but one more than
    MAX_SIMILAR_PAIRS at most; and how many people there are that resemble another."""
    numbers = {person: number for number, person in enumerate(people.names)}
    person_of_row = np.array([numbers[photo.person] for photo in people.row_photos], dtype=np.int64)
    skipped = [min(pair) * len(numbers) + max(pair) for pair in ((numbers[one], numbers[other]) for one, other in skip)]
    scores, rows, columns = np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64)
    concerned = np.zeros(len(numbers), bool)
    chosen = np.arange(len(person_of_row)) if compared is None else compared
    size = max(1, min(_ROWS_PER_BLOCK, _CELLS_PER_BLOCK // max(len(person_of_row), 1)))
    for start in range(0, len(chosen), size):
        block = chosen[start : start + size]
        # If all rows are compared, each two photos are found once.
        first = start if compared is None else 0
        similarity = people.embeddings[block] @ people.embeddings[first:].T
        here, there = np.nonzero(similarity >= threshold)
        found = similarity[here, there]
        here, there = block[here], there + first
        other_person = person_of_row[here] != person_of_row[there]
        scores = np.concatenate((scores, found[other_person]))
        rows, columns = np.concatenate((rows, here[other_person])), np.concatenate((columns, there[other_person]))
        # The first of each two people is kept, if the most similar photos come first.
        order = np.argsort(-scores, kind="stable")
        one, other = person_of_row[rows[order]], person_of_row[columns[order]]
        pairs = np.minimum(one, other) * len(numbers) + np.maximum(one, other)
        order, pairs = order[~np.isin(pairs, skipped)], pairs[~np.isin(pairs, skipped)]
        order = order[np.sort(np.unique(pairs, return_index=True)[1])]
        concerned[person_of_row[rows[order]]] = concerned[person_of_row[columns[order]]] = True
        order = order[: MAX_SIMILAR_PAIRS + 1]
        scores, rows, columns = scores[order], rows[order], columns[order]
    return list(zip(scores.tolist(), rows.tolist(), columns.tolist())), int(concerned.sum())


def _without_usable_photo(people: EnrolledPeople) -> List[GalleryWarning]:
    found = []
    rejected_of: Dict[str, List[PhotoRecord]] = {
        person: [] for person in sorted(set(people.names) - {photo.person for photo in people.row_photos})
    }
    for photo in people.photos:
        if photo.person in rejected_of:
            rejected_of[photo.person].append(photo)
    for person, rejected in rejected_of.items():
        reasons = ", ".join(f"{photo.path}: {photo.finding.why}" for photo in rejected)
        message = f"{person} cannot be recognised: no usable photo ({reasons})"
        paths = tuple(photo.path for photo in rejected)
        found.append(GalleryWarning(WarningKind.NO_USABLE_PHOTO, (person,), paths, message))
    return found


def resembles_another(people: EnrolledPeople, threshold: float, photo: PhotoRecord) -> Optional[GalleryWarning]:
    """A warning when the photo that is most similar to this new one belongs to another person."""
    embedding = photo.finding.embedding
    if embedding is None or not people.row_photos:
        return None
    similarity = people.embeddings @ (embedding / np.linalg.norm(embedding))
    nearest = int(similarity.argmax())
    other, score = people.row_photos[nearest], float(similarity[nearest])
    if other.person == photo.person or score < threshold:
        return None
    message = (
        f"{photo.path} resembles {other.person}: it has a similarity of {score:.2f} with {other.path}, above the "
        f"threshold; delete it unless it shows {photo.person}"
    )
    return GalleryWarning(
        WarningKind.SIMILAR_PEOPLE, (photo.person, other.person), (photo.path, other.path), message, score
    )


def _rows_by_person(people: EnrolledPeople, only: Optional[str]) -> List[Tuple[str, List[int]]]:
    """The rows of everybody, or of this person alone, in alphabetical order."""
    rows_of: Dict[str, List[int]] = defaultdict(list)
    for row, photo in enumerate(people.row_photos):
        if only is None or photo.person == only:
            rows_of[photo.person].append(row)
    return sorted(rows_of.items())


def find_outliers(people: EnrolledPeople, threshold: float, only: Optional[str] = None) -> List[GalleryWarning]:
    """One warning per photo that resembles no other photo of its person, and may show a person without photos here.

    Old and difficult photos do so too, so this is for `people check` and `people add`, not for every start.
    """
    found = []
    for person, rows in _rows_by_person(people, only):
        if len(rows) < _MIN_PHOTOS_FOR_OUTLIERS:
            continue
        own = people.embeddings[rows]
        for start in range(0, len(rows), _ROWS_PER_BLOCK):
            similarity = own[start : start + _ROWS_PER_BLOCK] @ own.T
            itself = np.arange(len(similarity))
            similarity[itself, start + itself] = -np.inf
            best = similarity.max(axis=1)
            for number in np.flatnonzero(best < threshold).tolist():
                path, score = people.row_photos[rows[start + number]].path, float(best[number])
                message = (
                    f"{path} resembles no other photo of {person} (similarity {score:.2f} at best): delete it unless "
                    f"it shows {person}"
                )
                found.append(GalleryWarning(WarningKind.OUTLIER, (person,), (path,), message, score))
    return found


def find_mixed(people: EnrolledPeople, threshold: float, only: Optional[str] = None) -> List[GalleryWarning]:
    """One warning per person whose photos form groups that do not resemble each other, as two photos of two people do.

    A single photo that is unlike all others is no group, but an outlier.
    """
    found = []
    for person, rows in _rows_by_person(people, only):
        groups = _groups(people.embeddings[rows], threshold)
        if len(rows) >= _MIN_PHOTOS_FOR_OUTLIERS:
            groups = [group for group in groups if len(group) > 1]
        if len(groups) < 2:
            continue
        paths = [[people.row_photos[rows[at]].path for at in group] for group in groups]
        listed = "; ".join(", ".join(group[:_LISTED]) + (" …" if len(group) > _LISTED else "") for group in paths)
        message = (
            f"the photos of {person} form {len(groups)} groups that do not resemble each other ({listed}): delete "
            f"those that do not show {person}"
        )
        found.append(
            GalleryWarning(WarningKind.MIXED, (person,), tuple(path for group in paths for path in group), message)
        )
    return found


def _groups(embeddings: np.ndarray, threshold: float) -> List[List[int]]:
    """The rows that are connected by similarities from the threshold on."""
    similar = embeddings @ embeddings.T >= threshold
    groups: List[List[int]] = []
    left = set(range(len(embeddings)))
    while left:
        group, new = set(), {min(left)}
        while new:
            group |= new
            new = {int(row) for member in new for row in np.flatnonzero(similar[member])} - group
        groups.append(sorted(group))
        left -= group
    return groups
