"""Adding and removing people by their files, as a person with a file manager would."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path, PurePosixPath
from typing import Dict, List

from app.errors import GalleryError
from app.gallery.folder import PHOTO_SUFFIXES, scan
from app.gallery.names import DISPLAY_NAMES_FILE, normalised, person_of, read_display_names

_NOT_IN_FOLDER_NAMES = '/\\:*?"<>|\0'


def photos_by_person(folder: Path) -> Dict[str, List[Path]]:
    """Everybody in the order of the alphabet, with the files of their photos."""
    photos = scan(folder).photos
    names = read_display_names(folder / DISPLAY_NAMES_FILE)
    people: Dict[str, List[Path]] = {}
    for path in photos:
        people.setdefault(person_of(PurePosixPath(path), names), []).append(folder / path)
    return dict(sorted(people.items()))


def add_photo(folder: Path, person: str, photo: Path) -> Path:
    """Copies the photo to where it counts as this person's; its new place. No file is ever replaced."""
    if photo.suffix.lower() not in PHOTO_SUFFIXES:
        raise GalleryError(f"{photo}: not a photo that can be enrolled; use {', '.join(PHOTO_SUFFIXES)}")
    home = folder / folder_of(folder, person)
    number = 1
    target = home / photo.name
    while target.exists():
        number += 1
        target = home / f"{photo.stem} ({number}){photo.suffix}"
    # Under a hidden name until it is whole: a running program must not judge half a photo.
    partial = home / f".{target.name}.part"
    try:
        home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, partial)
        partial.replace(target)
    except OSError as error:
        raise GalleryError(f"{photo} cannot be copied to {home}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return target


def remove_person(folder: Path, person: str) -> List[Path]:
    """Deletes all photos of this person, and folders that this leaves empty; the files that are gone."""
    photos = photos_by_person(folder).get(normalised(person), [])
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


def shown_name(folder: Path, person: str) -> str:
    """The person that photos in `folder_of` this name count as: `people.yaml` may show it as another."""
    names = read_display_names(folder / DISPLAY_NAMES_FILE)
    return person_of(PurePosixPath(folder_of(folder, person), "photo"), names)


def folder_of(folder: Path, person: str) -> str:
    """The folder that is this person: the one that `people.yaml` gives this name, or else the name itself."""
    name = normalised(person)
    for entry, shown in read_display_names(folder / DISPLAY_NAMES_FILE).items():
        if shown == name and (folder / entry).is_dir():
            return entry
    if not name or name.startswith(".") or any(letter in _NOT_IN_FOLDER_NAMES for letter in name):
        raise GalleryError(
            f"{person!r} cannot be the name of a folder; choose a name without {_NOT_IN_FOLDER_NAMES[:-1]} and without "
            f"a dot in front, and give the name to show in {folder / DISPLAY_NAMES_FILE}"
        )
    return name
