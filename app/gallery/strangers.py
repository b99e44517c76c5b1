"""The strangers of a run: unknown tracks get numbers, and what is known of them is kept on disk."""

from __future__ import annotations

import itertools
import logging
import queue
import secrets
import threading
import time
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Callable, Deque, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from app.files import remove_leftovers
from app.gallery.stranger_journal import Decision, StrangerJournal
from app.gallery.stranger_pictures import StrangerPicture, picture_of, picture_quality, write_picture
from app.identity.anchors import NegativeAnchors
from app.identity.looks import TrackLooks, is_unknown, stranger_of
from app.identity.stranger_rules import duplicates, pruned
from app.identity.strangers import (
    SIMILARITY_ABOVE_THRESHOLD,
    Change,
    Seen,
    StrangerBook,
    stranger_name,
)
from app.identity.votes import clarity
from app.recognizer import Recognizer
from app.settings import Settings, StrangerSettings
from app.types import Faces, Frame, Reason, Track
from app.vision.quality import parts_outside

logger = logging.getLogger(__name__)

DEFAULT_FOLDER = ".strangers"
"""In the folder of the gallery."""
_CLEARER = 1.1
"""How much better a picture must be to replace the one before."""
_MAX_OUTSIDE = 0.05
"""Part of a face outside the picture. Where more is outside, landmarks are guesses: a profile seems to be frontal."""
_LOCK_WAIT_S = 0.05
"""A frame does not wait longer for a command that is changing the strangers."""
_RETRY_S = 1.0
"""When another program kept the strangers locked, or the disk was full."""
_CLEAN_EVERY_S = 3600.0
_MAX_WAITING = 1000
_JOIN_S = 5.0
DAY_S = 86400.0


def strangers_folder(settings: Settings) -> Path:
    chosen = settings.strangers.folder
    return settings.gallery.folder / DEFAULT_FOLDER if chosen is None else chosen


def similarity_for(settings: StrangerSettings, threshold: float) -> float:
    """The cosine from which two visits are of one person."""
    return min(1.0, threshold + SIMILARITY_ABOVE_THRESHOLD) if settings.similarity is None else settings.similarity


def stored_anchors(settings: Settings, recognizer: Recognizer) -> NegativeAnchors:
    """Those that runs and commands have kept, for programs without a camera."""
    journal = StrangerJournal(strangers_folder(settings))
    try:
        journal.refresh()
    except OSError as error:
        logger.warning("%s: cannot be read: %s", journal.path, error.strerror)
    similarity = similarity_for(settings.strangers, recognizer.threshold)
    return NegativeAnchors.of(journal.book, recognizer.embedder_id, similarity, 1)


class LiveStrangers:
    """Gives the unknown tracks of a run their strangers. Used by the thread of the loop.

    What is seen is decided at once, in the frame; pictures are written by a thread. Other programs, such as the
    commands, may change the same folder at any time.
    """

    def __init__(
        self,
        settings: StrangerSettings,
        folder: Optional[Path],
        model: str,
        threshold: float,
        reload_every_s: float = 2.0,
        keep_pictures: bool = True,
    ) -> None:
        """`model` is the embedder's id, `threshold` the cosine from which two faces are of one person.

        Without a folder nothing is stored, and numbers begin at 1. `reload_every_s`: 0 = never.
        """
        self._settings = settings
        self._model = model
        self._threshold = threshold
        self._similarity = similarity_for(settings, threshold)
        self._reload_every_s = reload_every_s or float("inf")
        self._keep_pictures = keep_pictures
        self._journal = StrangerJournal(folder)
        self._generation = 0
        """Of the journal when the tracks were looked at."""
        self._run = secrets.token_hex(4)
        self._ids = itertools.count(1)
        self._tracks: Dict[str, Dict[int, TrackLooks]] = {}
        """By channel and track."""
        self._pictures: Dict[str, StrangerPicture] = {}
        """The best picture of each visit that has no number yet."""
        self._waiting: Deque[Decision] = deque()
        """What could not be stored yet."""
        self._failing = False
        self._refresh_at = self._clean_at = self._retry_at = 0.0
        self._writer: Optional[_Writer] = None
        self.anchors = NegativeAnchors()
        """Of ignored strangers and of `people not`. Replaced when they change."""
        self.names: Dict[str, Optional[str]] = {}
        """Of strangers who got one: `stranger-7` -> `Eva`; None: it was taken back. Replaced when they change."""

    @property
    def book(self) -> StrangerBook:
        return self._journal.book

    def open(self, now: float) -> None:
        """Reads what earlier runs have kept, and deletes what is too old. `now`: seconds since the epoch.

        Raises OSError where the folder cannot be written: numbers would be used again.
        """
        folder = self._journal.folder
        if folder is not None:
            is_new = not folder.exists()
            self._journal.create()
            remove_leftovers(folder)
            self._journal.refresh()
            self._clean(now)
            if is_new:
                logger.info(
                    "strangers: faces of unknown people are kept in %s for %g days; --no-strangers turns it off "
                    "(docs/privacy.md)",
                    folder,
                    self._settings.keep_days,
                )
            self._writer = _Writer()
        self._refresh_at = time.monotonic() + self._reload_every_s
        self._clean_at = time.monotonic() + _CLEAN_EVERY_S
        self._update_views()

    def observe(
        self, frame: Frame, faces: Faces, tracks: Sequence[Track], track_ids: Sequence[int]
    ) -> Tuple[Track, ...]:
        """The tracks of the channel after a new frame, with their strangers; `track_ids` has one entry per face."""
        self._refresh(time.monotonic(), frame.captured_at)
        by_id = {track.id: track for track in tracks}
        known = self._tracks.setdefault(frame.source, {})
        for ended in known.keys() - by_id.keys():
            self._end(known.pop(ended))
        rows = {track_id: row for row, track_id in enumerate(track_ids) if track_id in by_id}
        if faces.embeddings is not None:
            self._look(frame, faces, [(by_id[track_id], row) for track_id, row in rows.items()], known)
        for track_id in rows:
            looks, match = known.get(track_id), by_id[track_id].match
            if looks is None:
                continue
            looks.last_seen, looks.name = frame.captured_at, match.name
            min_looks = self._settings.min_looks if frame.continues else 1
            if looks.stranger is None and looks.looks >= min_looks and is_unknown(match):
                present = {other.stranger for number, other in known.items() if number in rows and other.stranger}
                self._give_number(looks, {number for number in present if number is not None})
        return tuple(self._with_stranger(track, known.get(track.id)) for track in tracks)

    def close(self) -> None:
        """Keeps the visits that have not ended yet."""
        for tracks in self._tracks.values():
            for looks in tracks.values():
                self._end(looks)
        self._tracks.clear()
        self._store(lambda book: [])
        self._store_waiting()
        if self._writer is not None:
            # Somebody may have been deleted while a picture was waiting to be written.
            self._writer.put(self._journal.sweep)
            self._writer.close()
        if self._waiting:
            logger.warning("strangers: %d visits could not be kept", len(self._waiting))

    def _with_stranger(self, track: Track, looks: Optional[TrackLooks]) -> Track:
        if looks is None or looks.stranger is None or track.match.name is not None:
            return track
        hidden = track.match.reason in (Reason.IGNORED, Reason.TRACK_IN_DOUBT) or looks.stranger in self.book.ignored
        return track if hidden else replace(track, stranger=stranger_name(looks.stranger))

    def _look(self, frame: Frame, faces: Faces, rows: List[Tuple[Track, int]], known: Dict[int, TrackLooks]) -> None:
        """Adds the embeddings of this frame to the looks of their tracks."""
        assert faces.embeddings is not None
        qualities = clarity(faces)
        height, width = frame.image.shape[:2]
        outside = parts_outside(faces.landmarks, (width, height))
        for track, row in rows:
            if track.match.reason in (Reason.IGNORED, Reason.TRACK_IN_DOUBT):
                continue
            embedding, quality = faces.embeddings[row], float(qualities[row])
            if not np.isfinite(embedding).all() or outside[row] > _MAX_OUTSIDE:
                continue
            looks = known.get(track.id)
            if looks is None:
                looks = known[track.id] = TrackLooks(
                    id=f"{round(frame.captured_at * 1000):x}-{self._run}-{next(self._ids):x}",
                    channel=frame.source,
                    track=track.id,
                    first_seen=frame.captured_at,
                    last_seen=frame.captured_at,
                    position=frame.position,
                    file=frame.file,
                )
            is_good = looks.add(embedding, quality, self._threshold)
            if not is_good or track.match.name is not None or self._writer is None or not self._keep_pictures:
                continue
            if quality <= _CLEARER * looks.crop_quality:
                continue  # whatever the picture is like
            quality *= picture_quality(frame.image, faces[row])
            if quality > _CLEARER * looks.crop_quality:
                looks.crop, looks.crop_quality = f"{looks.id}.jpg", quality
                self._pictures[looks.id] = picture_of(frame.image, faces, row, self._settings.frames)
                if looks.stranger is not None:
                    self._write_picture(looks)

    def _give_number(self, looks: TrackLooks, present: Set[int]) -> None:
        """Decides which stranger a track is, while no other program gives out numbers."""
        if time.monotonic() < self._retry_at:
            return

        def decide(book: StrangerBook) -> List[Change]:
            if self._generation != self._journal.generation:
                return []
            number = stranger_of(looks, book, self._model, self._similarity, present)
            looks.stranger = book.next_number if number is None else number
            return [Seen(looks.visit(self._model, None))]

        if not self._store(decide):
            looks.stranger = None
        elif looks.stranger is not None:
            self._write_picture(looks)

    def _end(self, looks: TrackLooks) -> None:
        """Keeps what a track that is gone has shown."""
        self._pictures.pop(looks.id, None)
        if not looks.looks or (looks.stranger is None and looks.name is None):
            return
        generation = self._generation

        def decide(book: StrangerBook) -> List[Change]:
            was_deleted = looks.stranger is not None and looks.id not in book.visits
            if was_deleted or generation != self._journal.generation:
                return []
            visit = looks.visit(self._model, looks.name)
            return [Seen(visit), *duplicates(book, visit, self._similarity)]

        if not self._store(decide):
            self._waiting.append(decide)
            if len(self._waiting) > _MAX_WAITING:
                self._waiting.popleft()

    def _store(self, decide: Decision) -> bool:
        """Makes the changes. False: they could not be stored, and were not made."""
        try:
            changes = self._journal.update(decide, _LOCK_WAIT_S)
        except OSError as error:
            self._report(error)
            self._retry_at = time.monotonic() + _RETRY_S
            return False
        if changes is None:
            self._retry_at = time.monotonic() + _RETRY_S
            return False
        if changes and self._writer is not None:
            self._writer.put(self._journal.sync)
        self._failing = False
        return True

    def _store_waiting(self) -> None:
        while self._waiting and self._store(self._waiting[0]):
            self._waiting.popleft()

    def _write_picture(self, looks: TrackLooks) -> None:
        picture, crops, frames = self._pictures.pop(looks.id, None), self._journal.crops, self._journal.frames
        if picture is None or looks.crop is None or self._writer is None:
            return
        if crops is not None and frames is not None:
            self._writer.put(partial(write_picture, picture, crops / looks.crop, frames / looks.crop))

    def _refresh(self, monotonic: float, now: float) -> None:
        """Now and then: takes over what other programs have changed, and deletes what is too old."""
        if monotonic < self._refresh_at or self._journal.folder is None:
            return
        self._refresh_at = monotonic + self._reload_every_s
        try:
            self._journal.refresh()
            if monotonic >= self._clean_at:
                self._clean_at = monotonic + _CLEAN_EVERY_S
                self._clean(now)
        except OSError as error:
            self._report(error)
            return
        self._store_waiting()
        if self._generation != self._journal.generation:
            self._generation = self._journal.generation
            # Somebody was deleted for good, so what is known of the tracks in the picture must not be stored again.
            self._tracks.clear()
            self._pictures.clear()
            if self._writer is not None:
                self._writer.put(self._journal.sweep)
        for tracks in self._tracks.values():
            for looks in tracks.values():
                if looks.stranger is not None:
                    # It may be another's now, by a split or by undoing a merge.
                    kept = self.book.visits.get(looks.id)
                    number = looks.stranger if kept is None or kept.stranger is None else kept.stranger
                    looks.stranger = self.book.current(number)
        self._update_views()

    def _clean(self, now: float) -> None:
        def decide(book: StrangerBook) -> Optional[StrangerBook]:
            left = pruned(book, now, self._settings.keep_days * DAY_S, self._settings.max_count)
            return book if left is None and self._journal.is_long else left

        self._journal.rewrite(decide, _LOCK_WAIT_S)

    def _update_views(self) -> None:
        generation = self.anchors.generation + 1
        anchors = NegativeAnchors.of(self.book, self._model, self._similarity, generation)
        if not anchors.same_as(self.anchors):
            self.anchors = anchors
        names = self.book.all_names()
        if names != self.names:
            self.names = names

    def _report(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            logger.warning("%s: strangers cannot be kept at the moment: %s", self._journal.folder, error.strerror)


class _Writer:
    """A thread for what may take long: pictures, and bringing the journal to the disk."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[Optional[Callable[[], object]]] = queue.Queue()
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="strangers", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], object]) -> None:
        self._jobs.put(job)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(_JOIN_S)

    def _work(self) -> None:
        for job in iter(self._jobs.get, None):
            try:
                job()
            except Exception as error:  # root of a thread; the run continues without this picture
                if not self._failing:
                    self._failing = True
                    logger.warning("strangers: %s", error, exc_info=None if isinstance(error, OSError) else error)
