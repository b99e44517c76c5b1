"""What people decide about people: another name, the same person as another, a photo or visit of another person."""

from __future__ import annotations

import time
from typing import Optional

from app.errors import GalleryError
from app.gallery.files import move_to_person, rename_person
from app.gallery.gallery import Gallery
from app.gallery.names import normalize
from app.gallery.people import PhotoRecord
from app.gallery.stranger_actions import relabel_log
from app.gallery.stranger_journal import StrangerJournal, required
from app.gallery.strangers import strangers_folder
from app.gallery.undo import MovedPhoto, UndoableChange, UndoStore, difference
from app.identity.strangers import Renamed
from app.settings import Settings

MERGE_PEOPLE = "merge people"


def rename(
    settings: Settings,
    journal: StrangerJournal,
    gallery: Gallery,
    old: str,
    new: str,
    merge: bool = False,
    undoable: bool = True,
) -> Optional[UndoableChange]:
    """Gives a person another name, or with `merge` makes them one with the person who has it. Raises GalleryError.

    The change, as far as it is known. It is kept if it is `undoable`.
    """
    folder, before, name = settings.gallery.folder, normalize(old), normalize(new)
    store = UndoStore(strangers_folder(settings), settings.strangers.keep_days)
    gallery.refresh()
    is_merge = name in gallery.people.names and name != before
    at = time.time()
    renamed = Renamed(before, name, at)
    mine = [photo for photo in gallery.people.photos if photo.person == before]
    others = tuple(photo.path for photo in gallery.people.photos if photo.person == name and is_merge)
    change = UndoableChange(
        MERGE_PEOPLE if is_merge else "rename person",
        at,
        *difference(journal.book, [renamed]),
        tuple(MovedPhoto(photo.content_hash, name, photo.path, before) for photo in mine),
        others,
        None if is_merge else (before, name),
    )
    if undoable:
        store.keep(change, journal.crops)
    try:
        rename_person(folder, old, new, merge)
    except GalleryError:
        if all((folder / photo.path).exists() for photo in mine):
            store.remove(change.id)
        raise
    required(journal.update(lambda book: [renamed]), journal.folder)
    gallery.refresh()
    relabel_log(settings, journal.book.all_names())
    return change


def move_photo(settings: Settings, gallery: Gallery, photo: PhotoRecord, name: str) -> UndoableChange:
    """A photo shows another person. Raises GalleryError."""
    person, folder = normalize(name), settings.gallery.folder
    if person == photo.person:
        raise GalleryError(f"{photo.path} is {person}'s already")
    others = tuple(one.path for one in gallery.people.photos if one.person == person)
    change = UndoableChange(
        "move photo",
        time.time(),
        photos=(MovedPhoto(photo.content_hash, person, photo.path, photo.person),),
        others=others,
    )
    store = UndoStore(strangers_folder(settings), settings.strangers.keep_days)
    store.keep(change, None)
    try:
        move_to_person(folder, photo.path, name)
    except GalleryError:
        store.remove(change.id)
        raise
    gallery.refresh()
    return change
