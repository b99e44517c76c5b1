"""The photos in the folder of a gallery, as an exchange finds and changes them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Collection, Dict, List, Optional, Set

from app.capture.uri import PICTURE_SUFFIXES
from app.database.gallery import PhotoRow, SharedGallery
from app.errors import GalleryError
from app.fleet.changes import LocalPhoto, are_too_many
from app.fleet.exchange import FailedPhotos
from app.fleet.state import DELETED, FleetFolder, FleetState
from app.gallery.files import add_photo, person_folder, plain_filename, remove_photo
from app.gallery.folder import scan
from app.gallery.gallery import Gallery
from app.gallery.people import PhotoRecord


class PhotoFolder:
    def __init__(self, root: Path, gallery: Gallery) -> None:
        self._root = root
        self._gallery = gallery
        self._failed = FailedPhotos()

    def photos(self, state: FleetState) -> Dict[str, LocalPhoto]:
        """By SHA-256. Where a photo is there for several people, it is the file of the agreed person, or of one whose
        name waits for a decision."""
        self._gallery.refresh()
        copies: Dict[str, List[PhotoRecord]] = defaultdict(list)
        for record in self._gallery.people.photos:
            if record.content_hash:
                copies[record.content_hash].append(record)
        chosen = {}
        for sha256, records in copies.items():
            agreed, undecided = state.name_of(sha256), state.undecided_names(sha256)
            best = min(records, key=lambda one: (one.person != agreed, one.person not in undecided, one.path))
            chosen[sha256] = LocalPhoto(best.path, best.person, best.finding.used)
        return chosen

    def missing(self, state: FleetState, present: Collection[str]) -> Set[str]:
        """Agreed photos whose files are certainly gone, or have another content."""
        readable = {record.path for record in self._gallery.people.photos if record.content_hash}
        return {
            sha256
            for sha256, photo in state.photos.items()
            if sha256 not in present and (photo.path in readable or _is_gone(self._root / photo.path))
        }

    def write(self, shared: SharedGallery, row: PhotoRow, name: str) -> Optional[str]:
        """Writes a photo of another device into the folder; its path there."""
        filename = plain_filename(row.file_name)
        if PurePosixPath(filename).suffix.lower() not in PICTURE_SUFFIXES:
            raise GalleryError(f"the shared photo {row.file_name!r} of {name} is not a picture, by its name")
        person_folder(self._root, name)  # a name that no folder can have costs no fetching
        self._failed.require_due(row.sha256, row.revision)
        try:
            data = shared.data(row.sha256)
            if data is None:
                return None
            if hashlib.sha256(data).hexdigest() != row.sha256:
                raise GalleryError(f"the shared photo {row.file_name!r} of {name} is damaged in the database")
            path = add_photo(self._root, name, filename, data).relative_to(self._root).as_posix()
        except GalleryError as error:
            self._failed.note(row.sha256, row.revision, str(error))
            raise
        self._failed.forget(row.sha256)
        return path

    def delete(self, sha256: str, agreed_path: str = "") -> int:
        """Deletes all files with this content; how many. Raises GalleryError for one that cannot be read or deleted."""
        contents = {record.path: record.content_hash for record in self._gallery.people.photos}
        paths = [path for path, content in contents.items() if content == sha256]
        if agreed_path and not contents.get(agreed_path):  # not there, or not readable lately
            paths.append(agreed_path)
        deleted = 0
        for path in paths:
            try:
                data = (self._root / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise GalleryError(
                    f"{self._root / path} was deleted on another device, but cannot be read here: {error.strerror}"
                ) from error
            if hashlib.sha256(data).hexdigest() == sha256:
                deleted += remove_photo(self._root, PurePosixPath(path))
        return deleted


def missing_photos(root: Path, present: Collection[str] = ()) -> int:
    """How many agreed photos are gone from the folder, if an exchange takes them for deleted by mistake; otherwise 0.

    `present` are the SHA-256 of photos that are certainly there. Files of other names are read only where many are
    gone.
    """
    state = FleetFolder(root).read()
    agreed = {sha256: photo.path for sha256, photo in state.photos.items() if photo.person != DELETED}
    gone = {sha256 for sha256, path in agreed.items() if sha256 not in present and _is_gone(root / path)}
    if are_too_many(len(gone), state):
        for path in set(scan(root).photos) - set(agreed.values()):
            with contextlib.suppress(OSError):
                gone.discard(hashlib.sha256((root / path).read_bytes()).hexdigest())
    return len(gone) if are_too_many(len(gone), state) else 0


def as_text(filename: str) -> str:
    """A name of a file may hold bytes that are not text, which a database does not take."""
    return os.fsencode(filename).decode("utf-8", "replace")


def _is_gone(path: Path) -> bool:
    """False where it cannot be said, as for a folder that may not be read."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
