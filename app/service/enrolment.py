"""Changing the gallery over HTTP: with the rules of the gallery, and a line in the audit log for each change."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from pathlib import PurePosixPath
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

import cv2
import numpy as np
from starlette.requests import Request

from app.errors import GalleryError, OutputError
from app.gallery.changing import changing
from app.gallery.files import person_folder, remove_photo
from app.gallery.forgetting import Forgotten, forget
from app.gallery.gallery import Added, AddResult, NewPhoto
from app.gallery.names import DISPLAY_NAMES_FILE, normalize
from app.gallery.people import PhotoRecord
from app.gallery.person_actions import move_photo, rename
from app.gallery.undo import UndoableChange
from app.identity.strangers import stranger_number
from app.service.audit import AuditLog
from app.service.core import FaceService
from app.service.feed import EventFeed
from app.service.http import HttpError
from app.service.kept_strangers import KeptStrangers
from app.service.versions import person_version, require_version

PHOTO_IDS = uuid.UUID("4d4b0b4c-9f4e-5a8e-8a43-3f2f6f9d0c55")
MAX_NAME_LENGTH = 50
JPEG_QUALITY = 95
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))]
)
"""Names that Windows keeps for devices, in galleries that are shared with it."""


def photo_id(photo: PhotoRecord) -> str:
    """The id of a photo for clients: it stays when files are moved."""
    return str(uuid.uuid5(PHOTO_IDS, f"{photo.person}/{photo.content_hash}"))


class Enrolment:
    """The people of the gallery as clients see and change them."""

    def __init__(self, service: FaceService, audit: AuditLog) -> None:
        self._service = service
        self._gallery = service.gallery
        self._folder = service.settings.gallery.folder
        self._audit = audit
        self.kept = KeptStrangers(service.settings)
        self.feed = EventFeed()

    @property
    def names(self) -> Tuple[str, ...]:
        return self._gallery.people.names

    @property
    def subjects(self) -> Tuple[str, ...]:
        """Everyone with a photo, and the folders that still wait for one."""
        empty = set()
        for path in self._folder.iterdir():
            if not path.name.startswith("."):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it may just have been removed
                    if not any(path.iterdir()):
                        empty.add(normalize(path.name))
        return tuple(sorted({*self.names, *empty}))

    # What a change says in the audit log is written by the thread that makes the change: the request that has asked for
    # it may be given up meanwhile.

    async def add_person(self, request: Request, person: str) -> bool:
        """Makes the folder of a person who has no photo yet; whether there was none."""
        self.checked_name(person)

        def added() -> bool:
            with changing(self._folder):
                if person in self.subjects:
                    return False
                (self._folder / person_folder(self._folder, person)).mkdir(exist_ok=True)
            self.note(request, "add person", person=person)
            return True

        try:
            return await self._service.run(added)
        except (GalleryError, OSError) as error:
            raise HttpError(400, str(error)) from error

    async def remove_person(self, request: Request, person: str) -> None:
        """Deletes all photos of a person."""
        await self.remove(request, self.photos(person).values())

        def empty_folder_removed() -> None:
            with changing(self._folder), contextlib.suppress(OSError):  # it is gone, or there is something in it
                (self._folder / person_folder(self._folder, person)).rmdir()

        try:
            await self._service.run(empty_folder_removed)
        except GalleryError as error:
            raise HttpError(400, str(error)) from error

    async def forget(self, request: Request, who: str, current: Callable[[], str], version: Optional[str]) -> Forgotten:
        """Deletes everything that is stored of a person or stranger. Raises HttpError."""
        settings, gallery = self._service.settings, self._gallery

        def forgotten() -> Forgotten:
            gallery.refresh()
            require_version(who, current(), version)
            gone = forget(settings, self.kept.journal, gallery, who)
            self.feed.forget(gone.lines)
            facts = {"photos": len(gone.photos), "visits": gone.visits, "log": gone.log.value}
            self.note(request, "delete", who=who, **facts)
            return gone

        try:
            return await self._service.run(lambda: self.kept.changing(forgotten))
        except (GalleryError, OutputError) as error:
            raise HttpError(409, str(error)) from error

    def version(self, person: str) -> str:
        return person_version(self.photos(person).values())

    def require_version(self, person: str, version: Optional[str]) -> None:
        """Raises HttpError (409) if the person has another version, also by files that came into the folder by hand."""
        if version is not None:
            self._gallery.refresh()
            require_version(normalize(person), self.version(person), version)

    async def move(self, request: Request, photo: PhotoRecord, name: str, version: Optional[str]) -> UndoableChange:
        """A photo shows another person. Raises HttpError."""
        self.checked_name(name)
        settings, gallery = self._service.settings, self._gallery

        def moved() -> UndoableChange:
            self.require_version(photo.person, version)
            change = move_photo(settings, gallery, photo, name)
            facts = {"photo": photo.path, "person": photo.person, "into": normalize(name), "undo": change.id}
            self.note(request, "move photo", **facts)
            return change

        try:
            return await self._service.run(lambda: self.kept.changing(moved))
        except GalleryError as error:
            raise HttpError(400, str(error)) from error

    def checked_name(self, name: str, but: str = "") -> str:
        """The name as it is stored. Raises HttpError (400) for one that no one can have, or that only differs from
        another person's (not `but`) by capital letters."""
        shown = checked_name(name)
        for known in self.subjects:
            if known not in (shown, but) and known.casefold() == shown.casefold():
                raise HttpError(400, f"{known!r} is enrolled already: {shown!r} differs by capital letters only")
        return shown

    def note(self, request: Request, action: str, **facts: Any) -> None:
        """Notes a change in the audit log."""
        self._audit.note(request, action, **facts)

    def nearest(self, vector: np.ndarray, count: int) -> List[Tuple[str, float]]:
        """The people whose photos are most similar to a face (D, unit length), with the cosine of the best photo."""
        people = self._gallery.people
        best: Dict[str, float] = {}
        if not len(people.embeddings):
            return []
        cosines = people.embeddings @ vector
        for row in np.argsort(-cosines, kind="stable"):
            best.setdefault(people.row_photos[row].person, float(cosines[row]))
            if len(best) == count:
                break
        return list(best.items())

    def photos(self, person: Optional[str] = None) -> Dict[str, PhotoRecord]:
        """By their id, in the order of their paths: of one person or of all."""
        people = self._gallery.people
        photos = people.photos if person is None else people.photos_of.get(normalize(person), ())
        return {photo_id(photo): photo for photo in photos}

    def picture(self, photo: PhotoRecord) -> bytes:
        """The file of a photo. Raises HttpError (404) if it is gone."""
        try:
            return (self._folder / photo.path).read_bytes()
        except OSError as error:
            raise HttpError(404, "the photo is not there any more") from error

    async def add(self, request: Request, person: str, data: bytes, prefix: str = "") -> AddResult:
        """Adds a photo, encoded again: nothing of the client's file but its pixels is stored.

        Raises HttpError (400) for a name that cannot be used, and BadPictureError.
        """
        self.checked_name(person)
        async with self._service.opened(data) as image:
            encode = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            jpeg = await self._service.run(lambda: bytes(cv2.imencode(".jpg", image, encode)[1].tobytes()))
            photo = NewPhoto(f"{prefix}{hashlib.sha256(jpeg).hexdigest()[:12]}.jpg", jpeg)

            def added() -> AddResult:
                result = self._gallery.add(person, photo)
                if isinstance(result, Added):
                    self.note(request, "add photo", person=result.person, photo=result.photo.path)
                return result

            try:
                return await self._service.run(added)
            except GalleryError as error:
                raise HttpError(400, str(error)) from error

    async def remove(self, request: Request, photos: Iterable[PhotoRecord]) -> List[PhotoRecord]:
        """Deletes photos; those that are gone already are left out."""

        def removed() -> List[PhotoRecord]:
            gone = []
            for photo in photos:
                if remove_photo(self._folder, PurePosixPath(photo.path)):
                    gone.append(photo)
                    self.note(request, "remove photo", person=photo.person, photo=photo.path)
            if gone:
                self._gallery.refresh()
            return gone

        return await self._service.run(removed)

    async def rename(
        self, request: Request, old: str, new: str, merge: bool = False, version: Optional[str] = None
    ) -> Optional[UndoableChange]:
        """What has changed. Raises HttpError: 400 if the gallery refuses it, 409 if the person has another version."""
        self.checked_name(new, but=normalize(old))
        settings, gallery = self._service.settings, self._gallery

        def renamed() -> Optional[UndoableChange]:
            self.require_version(old, version)
            change = rename(settings, self.kept.journal, gallery, old, new, merge)
            action, undo = "merge" if merge else "rename", None if change is None else change.id
            self.note(request, action, person=normalize(old), into=normalize(new), undo=undo)
            return change

        try:
            return await self._service.run(lambda: self.kept.changing(renamed))
        except GalleryError as error:
            raise HttpError(400, str(error)) from error


def checked_name(name: str) -> str:
    """The name as it is stored. Raises HttpError (400) for one that no one can have."""
    shown = normalize(name)
    if not shown or len(shown) > MAX_NAME_LENGTH or not shown.isprintable():
        raise HttpError(400, f"a name has 1 to {MAX_NAME_LENGTH} printable characters")
    if (
        shown.casefold() == DISPLAY_NAMES_FILE
        or shown.partition(".")[0].rstrip().casefold() in _RESERVED
        or stranger_number(shown) is not None
    ):
        raise HttpError(400, f"{shown!r} cannot be a name: systems and strangers are called like that")
    return shown
