"""The thread that keeps a running program's gallery and the shared one equal."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Callable, Optional, Sequence

from app.database.connection import Connection, connected, listen, rings
from app.database.gallery import CHANNEL, SharedGallery
from app.database.schema import require_schema
from app.database.strangers import CHANNEL as STRANGERS_CHANNEL
from app.database.strangers import SharedStrangers
from app.errors import AppError
from app.events.delivery import device_name
from app.events.postgres import Postgres
from app.events.sinks import SinkStatus
from app.fleet.strangers import StrangerSync
from app.fleet.sync import GallerySync
from app.gallery.gallery import Gallery
from app.network_thread import ShutDownError
from app.settings import Settings

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
"""How soon a change of the folder, once the gallery has read it, is sent."""
_CLEAN_EVERY_S = 3600.0
_JOIN_S = 3.0


class FleetThread:
    """Exchanges the gallery at once when it was changed here or elsewhere, and now and then.

    While the database cannot be reached, the program goes on with its own folder.
    """

    def __init__(
        self, settings: Settings, gallery: Gallery, deliveries: Optional[Callable[[], Sequence[SinkStatus]]] = None
    ) -> None:
        """`deliveries` are those of the run's events, if there is one."""
        self._settings = settings
        self._deliveries = deliveries
        self._gallery = gallery
        self._sync = GallerySync(settings, gallery)
        self._strangers = StrangerSync(settings, gallery)
        self._closing = threading.Event()
        self._problem = ""
        self._cleaned_at: Optional[float] = None
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        """Needs the gallery to be loaded. Does nothing where the gallery is not shared."""
        if self._settings.fleet.database is not None and self._settings.fleet.share_gallery:
            self._thread = threading.Thread(target=self._work, name="fleet", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """The networks must be closed first: an exchange may be waiting for them."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _work(self) -> None:
        pause_s = 1.0
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                with connected(self._settings.fleet, device_name(self._settings.delivery.device)) as connection:
                    require_schema(connection)
                    listen(connection, CHANNEL)
                    if self._strangers.is_on:
                        listen(connection, STRANGERS_CHANNEL)
                    with contextlib.suppress(ShutDownError):
                        self._exchange_until_closed(connection)
                    # What was seen at the very end. It needs no networks, and `close` waits for it a few seconds.
                    if self._strangers.is_changed():
                        self._strangers.exchange(connection)
                    return
            except AppError as error:
                self._report(str(error))
            except Exception as error:  # root of a thread; the program goes on with its own folder
                if self._report(f"{type(error).__name__}: {error}"):
                    logger.exception("fleet: the gallery could not be exchanged")
            every_s = self._settings.fleet.sync_every_s
            pause_s = 1.0 if time.monotonic() - began > every_s else min(2 * pause_s, every_s)
            self._closing.wait(min(pause_s, every_s))

    def _exchange_until_closed(self, connection: Connection) -> None:
        """Once at least: the database does not know a new device before."""
        while True:
            generation = self._gallery.people.generation
            done = self._sync.exchange(connection, unsent=self._unsent())
            if done.sent or done.received:
                logger.info("fleet: %s", done.text)
            if done.trouble:
                self._report(done.trouble)
            elif self._problem:
                self._problem = ""
                logger.info("fleet: the shared gallery is up to date")
            self._clean(connection)
            self._exchange_strangers(connection, generation)
            if self._closing.is_set():
                return

    def _exchange_strangers(self, connection: Connection, generation: int) -> None:
        """At once, until the gallery has to be exchanged again: a stranger may be at the next door soon."""
        give_up_at = time.monotonic() + self._settings.fleet.sync_every_s
        rung = {STRANGERS_CHANNEL}
        while not self._closing.is_set() and time.monotonic() < give_up_at:
            if self._strangers.is_on and (STRANGERS_CHANNEL in rung or self._strangers.is_changed()):
                self._strangers.exchange(connection)
            rung = rings(connection, _LOOK_EVERY_S)
            if CHANNEL in rung or self._gallery.people.generation != generation:
                return

    def _unsent(self) -> Optional[int]:
        return None if self._deliveries is None else unsent(self._deliveries())

    def _clean(self, connection: Connection) -> None:
        now = time.monotonic()
        if self._cleaned_at is None or now - self._cleaned_at > _CLEAN_EVERY_S:
            self._cleaned_at = now
            with self._sync.folder.locked() as state:
                SharedGallery(connection, state.device).forget_old_deletions()
                SharedStrangers(connection, state.device).expire()

    def _report(self, problem: str) -> bool:
        """Logs a problem once, until it is another one; whether it did."""
        if problem == self._problem:
            return False
        self._problem = problem
        logger.warning("fleet: %s", problem)
        return True


def unsent(deliveries: Sequence[SinkStatus]) -> Optional[int]:
    """Events that wait for the database; None where none are sent there."""
    return next((one.waiting for one in deliveries if one.kind == Postgres.name), None)
