"""The gallery of a run: kept up to date with its folder, and extended by adding photos.

A thread watches the folder, reads new photos and builds the next index. The networks examine one photo at a time, with
the lowest priority, so that no video frame waits for more than one photo.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from types import TracebackType
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple, Type, Union

import cv2
import numpy as np

from app.capture.picture_headers import UPRIGHT, read_header
from app.capture.pictures import decode_picture, optional_formats
from app.capture.uri import PICTURE_SUFFIXES
from app.errors import AppError, GalleryError, SourceError
from app.files import make_folder
from app.gallery.changing import changing
from app.gallery.checks import GalleryWarning, check_people, find_mixed, find_outliers, resembles_another
from app.gallery.current_index import LARGE, CurrentIndex
from app.gallery.files import add_photo, display_name, plain_filename
from app.gallery.folder import GalleryFolder, copy_of, require_folder
from app.gallery.people import EnrolledPeople, PhotoFinding, PhotoRecord
from app.gallery.photo import aligned_face, cut_out, examine_photo
from app.gallery.upright import Upright, find_upright
from app.identity.calibration import MOST_COMPARISONS, Calibration
from app.identity.index import PersonIndex
from app.network_thread import NetworkThread, Priority, ShutDownError
from app.recognizer import Recognizer
from app.settings import Settings
from app.text import counted, program
from app.types import ProgressCallback, Reason

logger = logging.getLogger(__name__)

FINDINGS_VERSION = 5
"""Part of the cache's fingerprint; increases when faces are found differently or photos are judged differently."""

MAX_PHOTO_PIXELS = 25_000_000
"""Larger photos are shrunk when they are read."""
MAX_WATCH_SHARE = 0.1
"""Of the time may be spent on looking for changes of the folder."""
MAX_REPORTED_PROBLEMS = 5
"""At once, so that similar people do not drown the other messages of a start."""


class NewPhoto(NamedTuple):
    """A photo to be added to the gallery."""

    filename: str
    data: bytes

    @classmethod
    def read(cls, path: Union[str, Path]) -> NewPhoto:
        try:
            return cls(Path(path).name, Path(path).read_bytes())
        except OSError as error:
            raise GalleryError(f"{path} cannot be read: {error.strerror}") from error


@dataclass(frozen=True)
class Added:
    """A photo that is in the gallery now."""

    person: str
    photo: PhotoRecord
    warnings: Tuple[GalleryWarning, ...] = ()
    """The photo may show another person: it resembles one, or none of the person's own photos."""

    @property
    def reason(self) -> Reason:
        """USED, or MAIN_FACE_USED where the photo shows several faces."""
        return self.photo.finding.reason


@dataclass(frozen=True)
class Refused:
    """A photo that was not added."""

    person: str
    reason: Reason
    finding: Optional[PhotoFinding] = None
    """None for a duplicate, which is not examined again."""
    duplicate_of: Optional[PhotoRecord] = None
    """The same photo in the gallery, of this person (ALREADY_ENROLLED) or of another (OTHER_PERSONS_PHOTO)."""


AddResult = Union[Added, Refused]


class Gallery:
    """The enrolled people of a folder of photos. `people` and `index` are replaced whenever the folder has changed."""

    def __init__(
        self,
        settings: Settings,
        recognizer: Recognizer,
        networks: Optional[NetworkThread] = None,
    ) -> None:
        """`networks` is the thread on which `recognizer` may be used; default: the thread that calls a method."""
        self._settings = settings.gallery
        self._limits = settings.quality.photo_limits(recognizer.photo_score)
        self.recognizer = recognizer
        self._networks = networks
        fingerprint = f"{FINDINGS_VERSION} {recognizer.fingerprint} {self._limits} {optional_formats()}"
        self._folder = GalleryFolder(self._settings.folder, fingerprint, self.examine)
        self._closing = threading.Event()
        self._watcher: Optional[threading.Thread] = None
        self._refreshing = threading.Lock()
        self._reported: Set[str] = set()
        self.people = EnrolledPeople()
        self._current = CurrentIndex(recognizer)
        self._anchored = (self._current.index, self._current.index)
        self.anchors = self._current.index.anchors
        """Faces that must not get a name. May be replaced at any time."""

    @classmethod
    def open(
        cls,
        folder: Union[str, Path],
        recognizer: Recognizer,
        settings: Optional[Settings] = None,
        create: bool = False,
    ) -> Gallery:
        """The people in a folder of photos. With `create`, a folder that does not exist is made; else it is an error.

        Example:
            >>> with Recognizer.from_settings() as recognizer, Gallery.open(tempfile.mkdtemp(), recognizer) as gallery:
            ...     gallery.add("Ann", NewPhoto("ann.jpg", b"not a picture")).reason.value
            'unreadable'
        """
        settings = settings or Settings()
        if create:
            make_folder(Path(folder))
        require_folder(Path(folder))
        opened = cls(replace(settings, gallery=replace(settings.gallery, folder=Path(folder))), recognizer)
        opened.load()
        return opened

    @property
    def threshold(self) -> float:
        """The cosine from which a face has a name: that of the settings, or the one that follows from this gallery."""
        return self.recognizer.threshold if self.index.threshold is None else self.index.threshold

    @property
    def embedder_id(self) -> str:
        """Changes with the embedder: embeddings of different ones cannot be compared."""
        return self.recognizer.embedder_id

    @property
    def index(self) -> PersonIndex:
        """What faces are compared with."""
        base, anchors = self._current.index, self.anchors
        known, anchored = self._anchored
        if known is not base or anchored.anchors is not anchors:
            anchored = base.with_anchors(anchors)
            self._anchored = base, anchored
        return anchored

    def load(self, progress: Optional[ProgressCallback] = None) -> None:
        """Reads the folder for the first time; findings of an earlier run come from the cache."""
        self.refresh(progress)
        if not len(self.index):
            logger.warning(
                "no one is enrolled: put photos into %s; until then all faces are unknown", self._settings.folder
            )

    def examine(self, data: bytes) -> PhotoFinding:
        """What can be found in a photo, given the bytes of its file."""
        header = read_header(data)
        try:
            picture = decode_picture(data, "photo", MAX_PHOTO_PIXELS)
        except SourceError as error:
            return PhotoFinding(Reason.UNREADABLE, message=str(error).partition(": ")[2])
        rotated = header is not None and header.orientation != UPRIGHT
        work = partial(examine_photo, picture, self.recognizer, self._limits, rotated_by_exif=rotated)
        return work() if self._networks is None else self._networks.call(work, Priority.ENROLMENT)

    def aligned(self, data: bytes) -> Optional[bytes]:
        """The aligned face of a photo, as PNG; None without one. Other embedders can be computed from it."""
        try:
            picture = decode_picture(data, "photo", MAX_PHOTO_PIXELS)
        except SourceError:
            return None
        work = partial(aligned_face, picture, self.recognizer, self._limits)
        face = work() if self._networks is None else self._networks.call(work, Priority.ENROLMENT)
        return None if face is None else cv2.imencode(".png", face)[1].tobytes()

    def faces(self, photo: NewPhoto) -> Upright:
        """The faces of a photo from left to right, so that one can be chosen."""
        try:
            picture = decode_picture(photo.data, photo.filename, MAX_PHOTO_PIXELS)
        except SourceError as error:
            raise GalleryError(str(error)) from error
        work = partial(find_upright, picture, self.recognizer, self._limits)
        found = work() if self._networks is None else self._networks.call(work, Priority.ENROLMENT)
        if found is None:
            raise GalleryError(f"{photo.filename}: no face found")
        return found

    def choose(self, photo: NewPhoto, number: int) -> NewPhoto:
        """A photo of one face alone, the `number`-th from the left, cut out of a photo of several people."""
        found = self.faces(photo)
        if not 1 <= number <= len(found.faces):
            raise GalleryError(f"{photo.filename} has {counted(len(found.faces), 'face')}; there is no face {number}")
        data = cv2.imencode(".png", cut_out(found, number - 1))[1].tobytes()
        return NewPhoto(f"{PurePath(photo.filename).stem}-face{number}.png", data)

    def add(self, name: str, photo: Union[str, Path, NewPhoto]) -> AddResult:
        """Copies a photo of a person into the gallery, if it is good enough and not there already.

        Not for the thread of the networks while `watch` is on: the watching thread may be waiting for it.
        """
        (result,) = self.add_all(name, [photo if isinstance(photo, NewPhoto) else NewPhoto.read(photo)])
        return result

    def add_all(
        self, name: str, photos: Iterable[NewPhoto], on_result: Callable[[AddResult], None] = lambda result: None
    ) -> List[AddResult]:
        """Adds several photos of a person; they are also checked against each other.

        `on_result` is called after each photo, so that what was added is known even if a later photo fails.
        """
        person = display_name(self._settings.folder, name)
        known = {record.content_hash: record for record in self.people.photos}
        results: List[AddResult] = []
        try:
            for photo in photos:
                result = self._add(name, person, photo, known)
                results.append(result)
                on_result(result)
                if isinstance(result, Added):
                    known[result.photo.content_hash] = result.photo
        finally:
            self.refresh()
        suspicious = [
            *find_mixed(self.people, self.threshold, person),
            *find_outliers(self.people, self.threshold, person),
        ]
        outliers = {path: warning for warning in suspicious for path in warning.photos}
        return [
            replace(result, warnings=(outliers[result.photo.path],))
            if isinstance(result, Added) and not result.warnings and result.photo.path in outliers
            else result
            for result in results
        ]

    def _add(self, name: str, person: str, photo: NewPhoto, known: Dict[str, PhotoRecord]) -> AddResult:
        content_hash = hashlib.sha256(photo.data).hexdigest()
        duplicate = known.get(content_hash)
        if duplicate is not None and not duplicate.finding.used:
            return Refused(person, duplicate.finding.reason, duplicate.finding)
        if duplicate is not None:
            return Refused(person, _duplicate_reason(duplicate, person), duplicate_of=duplicate)
        if PurePath(plain_filename(photo.filename)).suffix.lower() in PICTURE_SUFFIXES:
            finding = self.examine(photo.data)
        else:
            finding = PhotoFinding(Reason.UNREADABLE, message=f"not a supported format: {', '.join(PICTURE_SUFFIXES)}")
        if not finding.used:
            return Refused(person, finding.reason, finding)
        folder = self._settings.folder
        with changing(folder) as may_have_changed:
            copy = copy_of(folder, photo.data, {record.path for record in known.values()}) if may_have_changed else None
            if copy is not None:
                duplicate = PhotoRecord(copy[0], copy[1], content_hash, finding)
                return Refused(person, _duplicate_reason(duplicate, person), duplicate_of=duplicate)
            path = add_photo(folder, name, photo.filename, photo.data)
        record = PhotoRecord(path.relative_to(folder).as_posix(), person, content_hash, finding)
        warning = resembles_another(self.people, self.threshold, record)
        return Added(person, record, () if warning is None else (warning,))

    def problems(self) -> List[str]:
        """What the owner of the gallery should check: files that cannot be read, people that may be confused."""
        return self._problems(None)

    def _problems(self, compared: Optional[np.ndarray]) -> List[str]:
        warnings = check_people(self.people, self.threshold, compared)
        return [*self._folder.problems, *(warning.message for warning in warnings)]

    def watch(self) -> None:
        """Checks the folder for changes from now on, until `close`. Needs the thread of the networks."""
        if self._networks is None:
            raise ValueError("Gallery.watch needs `networks`: the watching thread may not use the recognizer itself")
        if self._settings.reload_every_s > 0:
            self._watcher = threading.Thread(target=self._watch, name="gallery", daemon=True)
            self._watcher.start()
        self._current.finish_in_background()

    def close(self) -> None:
        """Stops watching. The networks must be closed first, as the watching thread may be waiting for them."""
        self._closing.set()
        self._current.close()
        if self._watcher is not None:
            self._watcher.join(timeout=5)

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _watch(self) -> None:
        took_s = 0.0
        while not self._closing.wait(max(self._settings.reload_every_s, took_s / MAX_WATCH_SHARE)):
            began = time.monotonic()
            try:
                self.refresh()
            except ShutDownError:
                return
            except AppError as error:
                self._report_once(logging.ERROR, str(error))
            except Exception:  # the root of a thread; the run continues with the people that it knows
                if "fault" not in self._reported:
                    self._reported.add("fault")
                    logger.exception("the gallery could not be read again")
            took_s = time.monotonic() - began

    def refresh(self, progress: Optional[ProgressCallback] = None) -> None:
        """Reads the folder again, if something in it has changed."""
        with self._refreshing:
            people = self._folder.refresh(time.monotonic(), progress)
            if people is None:
                return
            before = self.people
            # The index first, so that people who are seen in `people` are already recognised.
            calibration = self._current.update(people)
            self.people = people
            self._report(before, people, calibration)

    def _report(self, before: EnrolledPeople, people: EnrolledPeople, calibration: Optional[Calibration]) -> None:
        names = {photo.person for photo in people.row_photos}
        used = f"{counted(len(names), 'person', 'people')}, {counted(len(people.row_photos), 'photo')}"
        rate = None if calibration is None else self.recognizer.recognition.rate_to_follow
        why = "" if rate is None else f", at which one visit of a stranger in {1 / rate:,.0f} would get a name"
        logger.info("gallery: %s in use, threshold %.2f%s", used, self.threshold, why)
        known_before = {(photo.path, photo.content_hash) for photo in before.photos}
        for photo in people.photos:
            if photo.finding.message and (photo.path, photo.content_hash) not in known_before:
                level = logging.INFO if photo.finding.used else logging.WARNING
                logger.log(level, "photo %s: %s", photo.path, photo.finding.text)
        compared = None
        if len(people.row_photos) >= LARGE:
            rows = [
                row
                for row, photo in enumerate(people.row_photos)
                if (photo.path, photo.content_hash) not in known_before
            ]
            compared = np.array(rows, np.int64)[:: 1 + len(rows) * len(people.row_photos) // MOST_COMPARISONS]
            if len(compared) < len(rows):
                text = (
                    "gallery: %d of %d photos were compared with all others, as so many take long; all: %s people check"
                )
                logger.info(text, len(compared), len(rows), program())
        new = [problem for problem in self._problems(compared) if problem not in self._reported]
        for problem in new[:MAX_REPORTED_PROBLEMS]:
            self._report_once(logging.WARNING, problem)
        if len(new) > MAX_REPORTED_PROBLEMS:
            self._reported.update(new)
            more = len(new) - MAX_REPORTED_PROBLEMS
            logger.warning("gallery: %d more problems; see all with: %s people check", more, program())

    def _report_once(self, level: int, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            logger.log(level, "gallery: %s", message)


def _duplicate_reason(duplicate: PhotoRecord, person: str) -> Reason:
    return Reason.ALREADY_ENROLLED if duplicate.person == person else Reason.OTHER_PERSONS_PHOTO
