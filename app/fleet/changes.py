"""What was changed in the folder since the last state that it had in common with the shared gallery. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import Collection, Dict, List, Mapping, NamedTuple, Set, Union

from app.fleet.state import DELETED, FleetState, person_subject, photo_subject

MANY_REMOVED = 10
"""More photos than this, and more than half of all, are not deleted everywhere without a question."""


class LocalPhoto(NamedTuple):
    """A photo in the folder. Copies of it have the same bytes; the first one counts."""

    path: str
    name: str
    """The person's."""
    used: bool
    """Faces are compared with it."""


class AddPhoto(NamedTuple):
    sha256: str
    photo: LocalPhoto


class RemovePhoto(NamedTuple):
    sha256: str


class MovePhoto(NamedTuple):
    """It is another person's now."""

    sha256: str
    name: str


class RenamePerson(NamedTuple):
    person: str
    name: str


LocalChange = Union[AddPhoto, RemovePhoto, MovePhoto, RenamePerson]


def subject_of(change: LocalChange) -> str:
    """What a conflict about it is kept under."""
    return person_subject(change.person) if isinstance(change, RenamePerson) else photo_subject(change.sha256)


def local_changes(state: FleetState, local: Mapping[str, LocalPhoto], missing: Collection[str]) -> List[LocalChange]:
    """The changes to share, renamed people first. `local` is by SHA-256.

    `missing` are the agreed photos whose files are certainly gone: others may only be unreadable at the moment. A photo
    that is not used here is not shared: it may be half a copy. Where all photos of a person have another name now, and
    no one had that name, the person was renamed.
    """
    changes: List[LocalChange] = []
    here: Dict[str, Set[str]] = defaultdict(set)
    for sha256, agreed in state.photos.items():
        if sha256 in local:
            here[agreed.person].add(local[sha256].name)
    names = {person.name for person in state.people.values()}
    renamed: Set[str] = set()
    for person, found in here.items():
        agreed_person = state.people.get(person)
        if agreed_person is None or len(found) != 1:
            continue
        (name,) = found
        if name != agreed_person.name and name not in names:
            renamed.add(person)
            changes.append(RenamePerson(person, name))
    for sha256, photo in sorted(local.items(), key=lambda item: item[1].path):
        if sha256 not in state.photos:
            if photo.used:
                changes.append(AddPhoto(sha256, photo))
        elif photo.name != state.name_of(sha256) and state.photos[sha256].person not in {DELETED, *renamed}:
            changes.append(MovePhoto(sha256, photo.name))
    changes += [
        RemovePhoto(sha256)
        for sha256, agreed in sorted(state.photos.items())
        if sha256 in missing and sha256 not in local and agreed.person != DELETED
    ]
    return [change for change in changes if not _is_known_conflict(state, change)]


def are_too_many(removed: int, state: FleetState) -> bool:
    """Whether somebody may have emptied the folder by mistake."""
    return removed > MANY_REMOVED and 2 * removed > len(state.photos)


def _is_known_conflict(state: FleetState, change: LocalChange) -> bool:
    """Whether it waits for a decision already."""
    if isinstance(change, RemovePhoto):
        return False
    subjects = [subject_of(change)]
    if isinstance(change, MovePhoto):
        subjects.append(person_subject(state.photos[change.sha256].person))
    mine = change.photo.name if isinstance(change, AddPhoto) else change.name
    return any(subject in state.conflicts and state.conflicts[subject].mine == mine for subject in subjects)
