"""What people decide about conflicts, and about photos that were deleted."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Iterable, List, Mapping, NamedTuple, Optional

from app.database.connection import Connection
from app.database.gallery import SharedGallery
from app.errors import GalleryError
from app.fleet.state import DELETED, Conflict, FleetFolder, FleetState, SharedPerson, SharedPhoto
from app.gallery.files import move_to_person, photos_by_person, rename_person
from app.gallery.stranger_actions import rename_visits
from app.settings import Settings


class NoSuchConflictError(GalleryError):
    """It was decided meanwhile, or has changed."""


class ListedConflict(NamedTuple):
    """A conflict of this device, as it is listed."""

    id: str
    """Another one when a name in it has changed, so that a decision is about what was shown."""
    subject: str
    description: str
    mine: str
    theirs: str
    path: str
    """Of the photo in the folder; empty if it is not there any more, or if it is about a person's name."""


def conflicts_here(gallery: Path, paths: Optional[Mapping[str, str]] = None) -> List[ListedConflict]:
    """In a fixed order, so that their numbers stay the same until one is decided. `paths` are those of the photos in
    the folder by SHA-256, where they are known; otherwise files are read."""
    state = FleetFolder(gallery).read()
    return [_listed(gallery, state, subject, paths) for subject in sorted(state.conflicts)]


def decide(settings: Settings, number: int, keep_mine: bool) -> ListedConflict:
    """Keeps one of both names of a conflict, by its place in the list. Raises GalleryError."""
    found = conflicts_here(settings.gallery.folder)
    if not 1 <= number <= len(found):
        raise NoSuchConflictError(f"there is no conflict {number} on this device; there are {len(found)}")
    return settle(settings, found[number - 1].id, keep_mine)


def settle(settings: Settings, conflict_id: str, keep_mine: bool) -> ListedConflict:
    """Keeps one of both names; the next exchange sends it. Raises GalleryError."""
    gallery = settings.gallery.folder
    folder = FleetFolder(gallery)
    with folder.locked() as state:
        found = [subject for subject, one in state.conflicts.items() if _id(subject, one) == conflict_id]
        if not found:
            raise NoSuchConflictError("this conflict does not exist any more, or its names have changed")
        (subject,) = found
        conflict, listed = state.conflicts[subject], _listed(gallery, state, subject)
        kind, _, key = subject.partition(" ")
        if kind == "person":
            if not keep_mine and conflict.mine in photos_by_person(gallery):
                rename_person(gallery, conflict.mine, conflict.theirs, merge=True)
                rename_visits(settings, conflict.mine, conflict.theirs)
            state.people[key] = SharedPerson(conflict.theirs, conflict.revision)
        else:
            if not keep_mine and listed.path:
                move_to_person(gallery, listed.path, conflict.theirs)
            state.people.setdefault(conflict.person, SharedPerson(conflict.theirs, conflict.person_revision))
            path = listed.path or (state.photos[key].path if key in state.photos else "")
            state.photos[key] = SharedPhoto(conflict.person, conflict.revision, path)
        del state.conflicts[subject]
        folder.write(state)
    return listed


def allow_again(gallery: Path, connection: Connection, photos: Iterable[str]) -> None:
    """Forgets that photos, by SHA-256, were deleted on another device: they can be added. Raises GalleryError."""
    folder = FleetFolder(gallery)
    with folder.locked() as state:
        shared = SharedGallery(connection, state.device)
        for sha256 in photos:
            shared.allow_again(sha256)
            if sha256 in state.photos and state.photos[sha256].person == DELETED:
                del state.photos[sha256]
                state.waiting.pop(sha256, None)
        folder.write(state)


def _id(subject: str, conflict: Conflict) -> str:
    return hashlib.sha256("\n".join((subject, conflict.mine, conflict.theirs)).encode()).hexdigest()[:16]


def _listed(
    gallery: Path, state: FleetState, subject: str, paths: Optional[Mapping[str, str]] = None
) -> ListedConflict:
    conflict = state.conflicts[subject]
    kind, _, key = subject.partition(" ")
    if kind == "person":
        path, description = "", f"name of {state.people[key].name}" if key in state.people else "name of a person"
    else:
        path = _path(gallery, state, key, conflict.mine) if paths is None else paths.get(key, "")
        description = f"person of {path or f'photo {key[:12]}'}"
    return ListedConflict(_id(subject, conflict), subject, description, conflict.mine, conflict.theirs, path)


def _path(gallery: Path, state: FleetState, sha256: str, person: str) -> str:
    """Where a photo of this person is in the folder; empty if it is not there any more."""
    if sha256 in state.photos and (gallery / state.photos[sha256].path).is_file():
        return state.photos[sha256].path
    for path in photos_by_person(gallery).get(person, []):
        with contextlib.suppress(OSError):
            if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                return path.relative_to(gallery).as_posix()
    return ""
