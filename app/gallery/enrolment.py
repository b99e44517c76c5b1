"""Keeping the people we know in step with the gallery's folder, while the run goes on.

A thread of its own watches the folder, reads new photos and builds the next index. Photos go to the networks one at a
time with the lowest priority, so that no video frame waits for more than one of them.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import List, Optional, Set

from app.capture.picture_headers import UPRIGHT, read_header
from app.capture.pictures import decode_picture
from app.errors import AppError, SourceError
from app.gallery.folder import GalleryFolder, Progress
from app.gallery.people import Gallery, PhotoFinding, PhotoStatus, person_index, warnings
from app.gallery.photo import examine_photo
from app.network_thread import NetworkThread, Priority, ShutDownError
from app.recognizer import Recognizer
from app.settings import GallerySettings
from app.text import counted, program

logger = logging.getLogger(__name__)

FINDINGS_VERSION = 1
"""Part of the cache's key; grows when `app/gallery/photo.py` judges photos differently."""

MOST_PROBLEMS_TOLD = 5
"""At once, so that what else a start has to say is not lost among pairs of people who look alike."""


class Enrolment:
    """The gallery of a run. `index` is replaced as a whole whenever the folder has changed."""

    def __init__(
        self,
        settings: GallerySettings,
        recognizer: Recognizer,
        networks: NetworkThread,
    ) -> None:
        """`networks` is the thread on which `recognizer` may be used."""
        limits = f"{settings.min_face_px} {settings.min_sharpness} {settings.min_score}"
        self._settings = settings
        self._recognizer = recognizer
        self._networks = networks
        self._folder = GalleryFolder(
            settings.folder, f"{FINDINGS_VERSION} {recognizer.fingerprint} {limits}", self._judge
        )
        self._closing = threading.Event()
        self._watcher: Optional[threading.Thread] = None
        self._told: Set[str] = set()
        self.threshold = recognizer.threshold
        self.gallery = Gallery()
        self.index = person_index(self.gallery)

    def enrol_all(self, progress: Optional[Progress] = None) -> None:
        """Reads the folder for the first time; photos seen in an earlier run come out of the cache."""
        self._refresh(progress)
        if not len(self.index):
            logger.warning(
                "nobody is enrolled: put photos into %s; until then everyone is unknown", self._settings.folder
            )

    def examine(self, data: bytes) -> PhotoFinding:
        """What a photo, given by its file's bytes, would be worth."""
        return self._judge(data)

    def problems(self) -> List[str]:
        """What the owner of the gallery should look at: files that are not read, people mistaken for one another."""
        return [*self._folder.problems, *(w.message for w in warnings(self.gallery, self.threshold))]

    def watch(self) -> None:
        """From now on the folder is looked at again and again, until `close`."""
        if self._settings.reload_every_s > 0:
            self._watcher = threading.Thread(target=self._watch, name="gallery", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Ends the watching. Where a photo waits for the networks, they must be closed first."""
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join(timeout=5)

    def _watch(self) -> None:
        while not self._closing.wait(self._settings.reload_every_s):
            try:
                self._refresh()
            except ShutDownError:
                return
            except AppError as error:
                self._tell(logging.ERROR, str(error))
            except Exception:  # the root of a thread; the run goes on with the gallery that it has
                if "fault" not in self._told:
                    self._told.add("fault")
                    logger.exception("the gallery could not be read again")

    def _refresh(self, progress: Optional[Progress] = None) -> None:
        gallery = self._folder.refresh(time.time(), progress)
        if gallery is None:
            return
        before = self.gallery
        # First whom the loop recognises: who sees the new gallery, from another thread, sees them recognised.
        self.index = person_index(gallery)
        self.gallery = gallery
        self._report(before, gallery)

    def _report(self, before: Gallery, gallery: Gallery) -> None:
        people = {photo.person for photo in gallery.row_photos}
        known = f"{counted(len(people), 'person', 'people')}, {counted(len(gallery.row_photos), 'photo')}"
        logger.info("gallery: %s in use, threshold %.2f", known, self.threshold)
        known_before = {(photo.path, photo.content_hash) for photo in before.photos}
        for photo in gallery.photos:
            if photo.finding.message and (photo.path, photo.content_hash) not in known_before:
                level = logging.INFO if photo.finding.status.kept else logging.WARNING
                logger.log(level, "photo %s: %s", photo.path, photo.finding.message)
        new = [problem for problem in self.problems() if problem not in self._told]
        for problem in new[:MOST_PROBLEMS_TOLD]:
            self._tell(logging.WARNING, problem)
        if len(new) > MOST_PROBLEMS_TOLD:
            self._told.update(new)
            more = len(new) - MOST_PROBLEMS_TOLD
            logger.warning("gallery: and %d more like these; all of them: %s people check", more, program())

    def _tell(self, level: int, message: str) -> None:
        """Says everything once."""
        if message not in self._told:
            self._told.add(message)
            logger.log(level, "gallery: %s", message)

    def _judge(self, data: bytes) -> PhotoFinding:
        header = read_header(data)
        try:
            picture = decode_picture(data, "photo")
        except SourceError as error:
            return PhotoFinding(PhotoStatus.UNREADABLE, message=str(error).partition(": ")[2])
        turned = header is not None and header.orientation != UPRIGHT
        return self._networks.call(
            lambda: examine_photo(picture, self._recognizer, self._settings, turned_by_exif=turned),
            Priority.ENROLMENT,
        )
