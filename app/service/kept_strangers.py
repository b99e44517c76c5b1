"""The strangers that runs have kept, for requests."""

from __future__ import annotations

import threading
from typing import Callable, Dict, TypeVar

from app.gallery.stranger_actions import refresh
from app.gallery.stranger_journal import StrangerJournal
from app.gallery.strangers import strangers_folder
from app.settings import Settings

T = TypeVar("T")


class KeptStrangers:
    """A journal that is read once, and then only what was added."""

    def __init__(self, settings: Settings) -> None:
        self.journal = StrangerJournal(strangers_folder(settings))
        self._lock = threading.Lock()

    def locked(self, work: Callable[[], T]) -> T:
        """Does work with the journal as it is now; it is for one thread at a time. Raises GalleryError."""
        with self._lock:
            refresh(self.journal)
            return work()

    def names(self) -> Dict[str, str]:
        """The names that strangers got: `stranger-7` -> `Eva`."""
        return self.locked(lambda: self.journal.book.names())
