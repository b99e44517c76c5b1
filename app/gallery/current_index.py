"""The index of a gallery that changes: calibrated when much has changed, and finished by a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import FrozenSet, Optional, Tuple

from app.gallery.people import EnrolledPeople
from app.identity.calibration import Calibration
from app.identity.index import PersonIndex
from app.recognizer import Recognizer
from app.text import counted

logger = logging.getLogger(__name__)

LARGE = 10_000
"""Photos; a larger gallery is not compared with itself whenever it changes."""
RECALIBRATE_FROM_SHARE = 0.01
"""Of the photos of a large gallery must have changed before it is calibrated again."""
LOWEST_PRIORITY = 19


class CurrentIndex:
    """`index` is replaced whenever the people change, and again when what takes minutes is made."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self.index: PersonIndex = EnrolledPeople().index()
        self._calibrated: Tuple[FrozenSet[Tuple[str, str]], Optional[Calibration]] = frozenset(), None
        """Whose photos were calibrated, by content, and the result."""
        self._changing = threading.Lock()
        self._thread: Optional[threading.Thread] = None
        self._in_run = False
        self._closing = threading.Event()

    def update(self, people: EnrolledPeople) -> Optional[Calibration]:
        """Compares faces with these people from now on. Their calibration, or that of nearly the same people."""
        calibration = self._calibration(people)
        recognition = self._recognizer.recognition
        with self._changing:
            before = self.index
            self.index = people.index(calibration, recognition.rate_to_follow, recognition.index, before)
            if self.index.kind is not before.kind:
                logger.info("gallery: compared with recognition.index: %s", self.index.why_kind)
        self._finish()
        return calibration

    def _calibration(self, people: EnrolledPeople) -> Optional[Calibration]:
        photos = frozenset((photo.person, photo.content_hash) for photo in people.row_photos)
        known, calibration = self._calibrated
        few = RECALIBRATE_FROM_SHARE * len(photos) if len(photos) >= LARGE else 0
        if calibration is None or len(photos ^ known) > few:
            calibration = self._recognizer.calibrate(people.embeddings, people.row_people)
            self._calibrated = photos, calibration
        return calibration

    def finish_in_background(self) -> None:
        """From now on, a thread makes what an index lacks. Searches are right without it, only slower."""
        self._in_run = True
        self._finish()

    def _finish(self) -> None:
        with self._changing:
            running = self._thread is not None and self._thread.is_alive()
            if self._in_run and not running and self.index.is_unfinished and not self._closing.is_set():
                self._thread = threading.Thread(target=self._make_graph, name="gallery index", daemon=True)
                self._thread.start()

    def _make_graph(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # only Linux has a priority for each thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        try:
            while True:
                with self._changing:
                    index = self.index
                    if not index.is_unfinished:
                        self._thread = None  # under the lock: the next change starts another one
                        return
                began = time.monotonic()
                logger.info(
                    "gallery: making the graph of %s; searches are slower meanwhile", counted(len(index), "photo")
                )
                made = index.finished(lambda: not self._closing.is_set())
                if made.is_unfinished:
                    return
                with self._changing:
                    self.index = made if self.index is index else self.index.taking_over(made)
                logger.info(
                    "gallery: the graph is ready after %.0f s; it misses %d of %s, which are compared one by one",
                    time.monotonic() - began,
                    made.unreachable,
                    counted(len(made), "photo"),
                )
        except Exception:  # the root of a thread; the run continues without the graph
            logger.exception("gallery: the graph could not be made; searches stay slower")

    def close(self) -> None:
        """Ends the thread soon, without its result."""
        self._closing.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout=5)
