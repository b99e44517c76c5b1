"""The files of a person: listed, added and removed, as one would do with a file manager."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath
from typing import Dict, List, Optional, Tuple

from app.errors import GalleryError
from app.files import write_whole, written_as
from app.gallery.changing import changing
from app.gallery.folder import scan
from app.gallery.names import DISPLAY_NAMES_FILE, normalize, person_of, read_display_names
from app.text import counted, program, shortened, suggestion

MAX_NAME_BYTES = 240
"""File systems allow 255; the rest is for temporary files."""
_FORBIDDEN_IN_FOLDER_NAMES = '/\\:*?"<>|\0'


def photos_by_person(folder: Path) -> Dict[str, List[Path]]:
    """The photos of each person, in alphabetical order."""
    names = read_display_names(folder / DISPLAY_NAMES_FILE)
    people: Dict[str, List[Path]] = {}
    for path in scan(folder).photos:
        people.setdefault(person_of(PurePosixPath(path), names), []).append(folder / path)
    return dict(sorted(people.items()))


def add_photo(folder: Path, person: str, filename: str, data: bytes) -> Path:
    """Writes a photo into the person's folder and returns its path. Existing files are never replaced."""
    with changing(folder):
        home = folder / person_folder(folder, person)
        target = home / plain_filename(filename)
        try:
            target = _free(target)
            home.mkdir(parents=True, exist_ok=True)
            write_whole(target, data)
        except OSError as error:
            with contextlib.suppress(OSError):
                home.rmdir()  # only if it is empty
            raise GalleryError(f"{target} cannot be written: {error.strerror}") from error
    return target


def plain_filename(filename: str) -> str:
    """The last part of a name, which may come from another machine, without leading dots."""
    return PurePosixPath(filename.replace("\\", "/").replace("\0", "_")).name.lstrip(".")


def rename_person(folder: Path, old: str, new: str, merge: bool = False) -> Tuple[List[Path], List[Path]]:
    """Moves all photos of a person into the folder of another name; returns where they were and where they are.

    With `merge` the other name may be a person already. Raises GalleryError; then nothing has been moved, unless a file
    could not be moved in the middle.
    """
    with changing(folder):
        return _renamed(folder, old, new, merge)


def _renamed(folder: Path, old: str, new: str, merge: bool) -> Tuple[List[Path], List[Path]]:
    people = photos_by_person(folder)
    photos = people.get(normalize(old), [])
    home = folder / person_folder(folder, new)
    shown = display_name(folder, new)
    if not photos:
        hint = f"; see {program()} people list"
        raise GalleryError(f"{folder} has no person called {old!r}{suggestion(old, people, hint)}")
    if shown != normalize(new):
        raise GalleryError(f"photos in {home} are shown as {shown!r}: correct {folder / DISPLAY_NAMES_FILE} first")
    if shown == normalize(old):
        raise GalleryError(f"{old!r} has this name already")
    if shown in people and not merge:
        raise GalleryError(
            f"{new!r} is enrolled already, with {counted(len(people[shown]), 'photo')}; add --merge if both are "
            "the same person"
        )
    tops = {folder / photo.relative_to(folder).parts[0] for photo in photos}
    (top, *others) = tops
    try:
        if not others and top.is_dir() and (not home.exists() or top.samefile(home)):
            top.rename(home)
            return photos, [home / photo.relative_to(top) for photo in photos]
        moved = []
        for photo in photos:
            parts = photo.relative_to(folder).parts
            target = _free(home.joinpath(*parts[1:]) if len(parts) > 1 else home / photo.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            photo.rename(target)
            moved.append(target)
            _remove_empty_folders(folder, photo)
        return photos, moved
    except OSError as error:
        raise GalleryError(f"photos of {old} cannot be moved to {home}: {error.strerror}") from error


def remove_photos(folder: Path, person: str) -> List[Path]:
    """Deletes all photos of a person and the folders that become empty; returns the deleted files."""
    with changing(folder):
        photos = photos_by_person(folder).get(normalize(person), [])
        for photo in photos:
            remove_photo(folder, PurePosixPath(photo.relative_to(folder)))
        return photos


def remove_photo(folder: Path, path: PurePosixPath) -> bool:
    """Deletes one photo, by its path inside the folder; whether it was still there."""
    photo = folder / path
    with changing(folder):
        try:
            photo.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise GalleryError(f"{photo} cannot be deleted: {error.strerror}") from error
        _remove_empty_folders(folder, photo)
    return True


def move_to_person(folder: Path, path: str, person: str) -> None:
    """Moves a photo, by its path inside the folder, into the folder of another person."""
    home, photo = folder / person_folder(folder, person), folder / path
    if display_name(folder, person) != normalize(person):
        raise GalleryError(f"photos in {home} are shown as {display_name(folder, person)!r}: correct people.yaml first")
    with changing(folder):
        try:
            home.mkdir(parents=True, exist_ok=True)
            photo.rename(_free(home / photo.name))
            _remove_empty_folders(folder, photo)
        except OSError as error:
            raise GalleryError(f"{photo} cannot be moved to {home}: {error.strerror}") from error


def return_photo(folder: Path, path: str, to: Optional[str]) -> None:
    """Moves a photo back to where it was, by paths inside the folder; None: it was not there, and is deleted."""
    if to is None:
        remove_photo(folder, PurePosixPath(path))
        return
    photo, target = folder / path, folder / to
    with changing(folder):
        if target.exists():
            raise GalleryError(f"{target} is another photo now: move that first")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            photo.rename(target)
            _remove_empty_folders(folder, photo)
        except OSError as error:
            raise GalleryError(f"{photo} cannot be moved back to {target}: {error.strerror}") from error


def _remove_empty_folders(folder: Path, photo: Path) -> None:
    """Those in which a photo was, also where a program that was killed has left half a photo."""
    for parent in photo.relative_to(folder).parents:
        home = folder / parent
        left = list(home.iterdir()) if home != folder else [folder]
        if all(written_as(path.name) != path.name for path in left):
            for path in left:
                path.unlink()
            home.rmdir()


def _free(path: Path) -> Path:
    """The path, with a number if there is a file already."""
    number, target = 1, path
    while target.exists():
        number += 1
        target = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return target


def display_name(folder: Path, person: str) -> str:
    """The person that photos in `person_folder` belong to: `people.yaml` may show it under another name."""
    names = read_display_names(folder / DISPLAY_NAMES_FILE)
    return person_of(PurePosixPath(person_folder(folder, person), "photo"), names)


def person_folder(folder: Path, person: str) -> str:
    """The person's folder: the one with this display name in `people.yaml`, or else the name itself."""
    name = normalize(person)
    for entry, shown in read_display_names(folder / DISPLAY_NAMES_FILE).items():
        # A key of people.yaml is no path: `..` would lead out of the gallery.
        is_plain = not entry.startswith(".") and PurePosixPath(entry).name == entry
        if shown == name and is_plain and (folder / entry).is_dir():
            return entry
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        raise GalleryError(
            f"{shortened(person, 40)!r} cannot be a folder name: it has {size} bytes, and {MAX_NAME_BYTES} are possible"
        )
    if not name or name.startswith(".") or any(letter in _FORBIDDEN_IN_FOLDER_NAMES for letter in name):
        raise GalleryError(
            f"{person!r} cannot be a folder name: choose a name without {_FORBIDDEN_IN_FOLDER_NAMES[:-1]} and without "
            f"a leading dot, and set the name to show in {folder / DISPLAY_NAMES_FILE}"
        )
    return name
