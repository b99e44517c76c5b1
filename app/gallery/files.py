"""The files of a person: listed, added and removed, as one would do with a file manager."""

from __future__ import annotations

import threading
from pathlib import Path, PurePosixPath
from typing import Dict, List

from app.errors import GalleryError
from app.files import write_whole
from app.gallery.folder import scan
from app.gallery.names import DISPLAY_NAMES_FILE, normalize, person_of, read_display_names

_writing = threading.Lock()
"""Held from choosing a name that is free until the file is there."""

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
    home = folder / person_folder(folder, person)
    filename = plain_filename(filename)
    target = home / filename
    number = 1
    with _writing:
        while target.exists():
            number += 1
            target = home / f"{Path(filename).stem} ({number}){Path(filename).suffix}"
        try:
            home.mkdir(parents=True, exist_ok=True)
            write_whole(target, data)
        except OSError as error:
            raise GalleryError(f"{target} cannot be written: {error.strerror}") from error
    return target


def plain_filename(filename: str) -> str:
    """The last part of a name, which may come from another machine, without leading dots."""
    return PurePosixPath(filename.replace("\\", "/").replace("\0", "_")).name.lstrip(".")


def remove_photos(folder: Path, person: str) -> List[Path]:
    """Deletes all photos of a person and the folders that become empty; returns the deleted files."""
    photos = photos_by_person(folder).get(normalize(person), [])
    for photo in photos:
        try:
            photo.unlink()
        except OSError as error:
            raise GalleryError(f"{photo} cannot be deleted: {error.strerror}") from error
        for parent in photo.relative_to(folder).parents:
            home = folder / parent
            if home != folder and not any(home.iterdir()):
                home.rmdir()
    return photos


def display_name(folder: Path, person: str) -> str:
    """The person that photos in `person_folder` belong to: `people.yaml` may show it under another name."""
    names = read_display_names(folder / DISPLAY_NAMES_FILE)
    return person_of(PurePosixPath(person_folder(folder, person), "photo"), names)


def person_folder(folder: Path, person: str) -> str:
    """The person's folder: the one with this display name in `people.yaml`, or else the name itself."""
    name = normalize(person)
    for entry, shown in read_display_names(folder / DISPLAY_NAMES_FILE).items():
        if shown == name and (folder / entry).is_dir():
            return entry
    if not name or name.startswith(".") or any(letter in _FORBIDDEN_IN_FOLDER_NAMES for letter in name):
        raise GalleryError(
            f"{person!r} cannot be a folder name: choose a name without {_FORBIDDEN_IN_FOLDER_NAMES[:-1]} and without "
            f"a leading dot, and set the name to show in {folder / DISPLAY_NAMES_FILE}"
        )
    return name
