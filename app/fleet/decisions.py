"""What people decide about conflicts, and about photos that were deleted."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import List, NamedTuple, Tuple

from app.errors import GalleryError
from app.fleet.state import Conflict, FleetFolder, FleetState, SharedPerson, SharedPhoto
from app.gallery.files import move_to_person, photos_by_person, rename_person


class Shown(NamedTuple):
    """A conflict of this device, as it is listed."""

    subject: str
    what: str
    mine: str
    theirs: str


def conflicts_here(gallery: Path) -> List[Shown]:
    """In a fixed order, so that their numbers stay the same until one is decided."""
    state = FleetFolder(gallery).read()
    return [
        Shown(subject, _described(gallery, state, subject), one.mine, one.theirs) for subject, one in _in_order(state)
    ]


def decide(gallery: Path, number: int, keep_mine: bool) -> Shown:
    """Keeps one of both names; the next exchange sends it. Raises GalleryError."""
    folder = FleetFolder(gallery)
    with folder.locked() as state:
        found = _in_order(state)
        if not 1 <= number <= len(found):
            raise GalleryError(f"there is no conflict {number} on this device; there are {len(found)}")
        subject, conflict = found[number - 1]
        shown = Shown(subject, _described(gallery, state, subject), conflict.mine, conflict.theirs)
        kind, _, key = subject.partition(" ")
        if kind == "person":
            if not keep_mine and conflict.mine in photos_by_person(gallery):
                rename_person(gallery, conflict.mine, conflict.theirs, merge=True)
            state.people[key] = SharedPerson(conflict.theirs, conflict.revision)
        else:
            path = _path(gallery, state, key, conflict.mine)
            if not keep_mine and path:
                move_to_person(gallery, path, conflict.theirs)
            state.people.setdefault(conflict.person, SharedPerson(conflict.theirs, conflict.person_revision))
            state.photos[key] = SharedPhoto(conflict.person, conflict.revision, path)
        del state.conflicts[subject]
        folder.write(state)
    return shown


def _in_order(state: FleetState) -> List[Tuple[str, Conflict]]:
    return sorted(state.conflicts.items())


def _described(gallery: Path, state: FleetState, subject: str) -> str:
    kind, _, key = subject.partition(" ")
    if kind == "person":
        return f"name of {state.people[key].name}" if key in state.people else "name of a person"
    path = _path(gallery, state, key, state.conflicts[subject].mine)
    return f"person of {path or f'photo {key[:12]}'}"


def _path(gallery: Path, state: FleetState, sha256: str, person: str) -> str:
    """Where a photo of this person is in the folder; empty if it is not there any more."""
    if sha256 in state.photos and (gallery / state.photos[sha256].path).is_file():
        return state.photos[sha256].path
    for path in photos_by_person(gallery).get(person, []):
        with contextlib.suppress(OSError):
            if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                return path.relative_to(gallery).as_posix()
    return ""
