"""The strangers that runs have kept, for requests."""

from __future__ import annotations

import threading
import time
from typing import Callable, Dict, List, Optional, Tuple, TypeVar

from app.gallery.changing import changing
from app.gallery.forgetting import ForgottenLines, finish_forgetting, pending
from app.gallery.stranger_actions import refresh
from app.gallery.stranger_journal import StrangerJournal
from app.gallery.strangers import strangers_folder
from app.gallery.undo import UndoStore
from app.identity.strangers import Renamed
from app.settings import Settings

T = TypeVar("T")


class KeptStrangers:
    """A journal that is read once, and then only what was added."""

    def __init__(self, settings: Settings) -> None:
        self.journal = StrangerJournal(strangers_folder(settings))
        self.undo = UndoStore(strangers_folder(settings), settings.strangers.keep_days)
        self._settings = settings
        finish_forgetting(settings)
        self.undo.clean(time.time())
        self._lock = threading.Lock()

    def locked(self, work: Callable[[], T]) -> T:
        """Does work with the journal as it is now; it is for one thread at a time. Raises GalleryError."""
        with self._lock:
            refresh(self.journal)
            return work()

    def changing(self, work: Callable[[], T]) -> T:
        """The same for work that changes people or strangers: no other program changes them meanwhile."""
        with changing(self._settings.gallery.folder):
            return self.locked(work)

    def forgotten(self) -> List[ForgottenLines]:
        """Who is still in the event log, because a run is writing it."""
        return pending(self._settings)

    def renamed(self) -> Tuple[Renamed, ...]:
        """New names of people, the oldest first: events of the time before have the old ones."""
        return self.locked(lambda: tuple(self.journal.book.renamed))

    def names(self) -> Dict[str, Optional[str]]:
        """The names that strangers got: `stranger-7` -> `Eva`; None: it was taken back."""
        return self.locked(lambda: self.journal.book.all_names())
