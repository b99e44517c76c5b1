"""Undoing a change of people and strangers: only where everything is still as the change has left it.

Each step can be done again, so that a crash in the middle only means to ask again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from typing import Dict, Hashable, List, Mapping, NamedTuple, Optional, Tuple, TypeVar

from app.errors import GalleryError
from app.gallery.files import return_photo
from app.gallery.gallery import Gallery
from app.gallery.people import PhotoRecord
from app.gallery.person_actions import MERGE_PEOPLE, rename
from app.gallery.stranger_actions import LogState, relabel_log
from app.gallery.stranger_journal import StrangerJournal, required
from app.gallery.undo import (
    Moved,
    MovedPhoto,
    UndoableChange,
    UndoStore,
    moved,
    number_state,
    visit_state,
)
from app.identity.strangers import Change, DeniedState, Restored, StrangerBook, VisitState
from app.settings import Settings

K = TypeVar("K", bound=Hashable)
S = TypeVar("S", bound=Hashable)


class NoSuchChangeError(GalleryError):
    """There is no such change, or it is too long ago."""


class ConflictError(GalleryError):
    """Something has changed since."""


class Undone(NamedTuple):
    change: UndoableChange
    moved: List[Moved]
    log: LogState


def undo_change(
    settings: Settings, journal: StrangerJournal, gallery: Gallery, store: UndoStore, change_id: str
) -> Undone:
    """Raises NoSuchChangeError, ConflictError or GalleryError."""
    change = store.get(change_id)
    if change is None:
        raise NoSuchChangeError("there is no such change, or it is too long ago to be undone")
    if change.undone is not None:
        raise ConflictError("this was undone already")
    gallery.refresh()
    folder = settings.gallery.folder
    if change.renamed is not None:
        before, name = change.renamed
        if name not in gallery.people.names:
            raise ConflictError(f"no one is called {name} any more{_later(store, change)}")
        if before in gallery.people.names:
            raise ConflictError(f"another person is called {before} now")
        back = rename(settings, journal, gallery, name, before, undoable=False)
        store.mark_undone(change, time.time())
        return Undone(change, [] if back is None else back.moved, LogState.NO_LOG)
    photos = _photos(gallery, change, _later(store, change))
    _restored(journal.book, change, _later(store, change))
    for path, photo in photos:
        return_photo(folder, path, photo.path)
    store.restore_pictures(change, journal.crops)
    done: List[Restored] = []

    def decide(book: StrangerBook) -> List[Change]:
        restored = _restored(book, change, _later(store, change))
        done.append(restored)
        return [] if restored == Restored() else [restored]

    required(journal.update(decide), journal.folder)
    # A run that deletes pictures of no one may have begun before that.
    store.restore_pictures(change, journal.crops)
    store.mark_undone(change, time.time())
    gallery.refresh()
    log = relabel_log(settings, journal.book.all_names())
    returned = [replace(photo, owner=photo.person, person=photo.owner) for _, photo in photos]
    visits = {one.visit for one in done[0].visits}
    left = Restored(tuple(one for one in change.after.visits if one.visit in visits))
    shown = moved(left, done[0], returned) if change.visit is None else [Moved(*change.visit[::-1], 1, 0)]
    return Undone(change, shown, log)


def _restored(book: StrangerBook, change: UndoableChange, later: str) -> Restored:
    """What has to be restored. Raises ConflictError for what is not as the change has left it."""
    visits = _to_restore(
        {one.visit: one for one in change.before.visits},
        {one.visit: one for one in change.after.visits},
        {visit: visit_state(book.visits[visit]) for visit in book.visits},
    )
    numbers = _to_restore(
        {one.number: one for one in change.before.numbers},
        {one.number: one for one in change.after.numbers},
        {one.number: number_state(book, one.number) for one in change.after.numbers},
    )
    denied = _to_restore(
        {(one.time, one.visit): one for one in change.before.denied},
        {(one.time, one.visit): one for one in change.after.denied},
        {(one.time, one.visit): DeniedState(one.time, one.visit, one.name) for one in book.denied},
    )
    reassigned = _to_restore(
        {(one.log, one.visit): one for one in change.before.reassigned},
        {(one.log, one.visit): one for one in change.after.reassigned},
        {
            (one.log, one.visit): one._replace(who=book.reassigned.get(one.log, one.visit))
            for one in change.after.reassigned
        },
    )
    if visits is None or numbers is None or denied is None or reassigned is None:
        raise ConflictError(f"the visits of {_whose(change)} have changed since{later}")
    renamed = change.before.renamed
    is_renamed = any(one.time == renamed for one in book.renamed)
    return Restored(visits, numbers, denied, renamed if is_renamed else None, reassigned)


def _to_restore(before: Mapping[K, S], after: Mapping[K, S], now: Mapping[K, S]) -> Optional[Tuple[S, ...]]:
    """The states to go back to, of what is still there. None: something is neither as it was nor as it became."""
    found = []
    for key, state in before.items():
        if key not in now or _essence(now[key]) == _essence(state):
            continue
        if _essence(now[key]) != _essence(after[key]):
            return None
        found.append(state)
    return tuple(found)


def _essence(state: object) -> object:
    """Without the picture of a visit, which may have become a better one."""
    return state[:3] if isinstance(state, VisitState) else state


def _whose(change: UndoableChange) -> str:
    return next((one.after for one in change.moved if one.after is not None), "this stranger")


def _photos(gallery: Gallery, change: UndoableChange, later: str) -> List[Tuple[str, MovedPhoto]]:
    """The photos that are not back yet, with their paths. Raises ConflictError."""
    found: List[Tuple[str, MovedPhoto]] = []
    others = set(change.others)
    back = {(one.path, one.content_hash) for one in change.photos}
    named: Dict[str, List[PhotoRecord]] = defaultdict(list)
    for record in gallery.people.photos:
        named[record.person].append(record)
    for photo in change.photos:
        copies = [one for one in gallery.people.photos if one.content_hash == photo.content_hash]
        if not copies or any(one.path == photo.path for one in copies):
            continue  # it was deleted, or is back already
        mine = [one.path for one in copies if one.person == photo.person and one.path not in others]
        if not mine:
            raise ConflictError(f"a photo of {photo.person} belongs to {copies[0].person} now{later}")
        is_taken = not all((one.path, one.content_hash) in back for one in named[photo.owner])
        if change.action == MERGE_PEOPLE and is_taken:
            raise ConflictError(f"another person is called {photo.owner} now{later}")
        others.add(mine[0])
        found.append((mine[0], photo))
    return found


def _later(store: UndoStore, change: UndoableChange) -> str:
    """The later change that has to be undone first, in words."""
    names = {one.name for one in change.after.visits if one.name} | {photo.person for photo in change.photos}
    names |= {*(change.renamed or ()), *filter(None, change.visit or ())}
    numbers = {one.stranger for one in (*change.before.visits, *change.after.visits) if one.stranger}
    for other in store.all()[::-1]:
        if other.time > change.time and other.undone is None and other.is_about(names, numbers):
            return f": undo the later change {other.id} ({other.action}) first"
    return ""
