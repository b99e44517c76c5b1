"""The devices that share a database, what they lack, and conflicts to decide."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import Future
from typing import List, Literal, NamedTuple, Optional, Tuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.credentials import masked
from app.database.connection import connected
from app.database.devices import DeviceRow, away_after_s, devices
from app.database.gallery import ConflictRow, SharedGallery
from app.database.schema import require_schema
from app.errors import AppError, DatabaseError, GalleryError
from app.events.delivery import device_name
from app.fleet.decisions import ListedConflict, NoSuchConflictError, conflicts_here, settle
from app.fleet.folder import missing_photos
from app.fleet.state import FleetFolder
from app.fleet.thread import unsent
from app.service.api.openapi import Described
from app.service.api.replies import read, reply
from app.service.core import FaceService
from app.service.enrolment import Enrolment, photo_id
from app.service.http import Endpoint, HttpError, Scope
from app.service.run_view import RunView
from app.settings import Settings
from app.text import iso_time

logger = logging.getLogger(__name__)

ASK_EVERY_S = 3.0
"""Clients that ask more often get the same answer."""
WAIT_S = 2.0
"""A database that has not answered by then is shown as unavailable; its answer is shown next time."""


class FleetDevice(msgspec.Struct):
    name: str
    own: bool
    """This one."""
    version: str
    embedder: str
    last_seen: str
    away: bool
    """It missed several exchanges, if it exchanges as often as this one."""
    behind: int
    """Changes of the gallery that it does not have yet."""
    unsent: Optional[int]
    """Events that waited there when it was seen last. Null: it sends none."""
    conflicts: int


class FleetConflict(msgspec.Struct):
    """A name that was changed here and on another device, to be decided on this device."""

    id: str
    kind: str
    """`person`: two names of a person; `photo`: a photo of two people."""
    mine: str
    """The name here."""
    theirs: str
    """The name on the other devices."""
    photo: Optional[str]
    """The id of a photo that shows whom it is about, of the person `mine`."""


class FleetNotice(msgspec.Struct):
    """What waits on another device for a decision, or was refused because a deletion wins."""

    device: str
    own: bool
    kind: str
    """`person`, `photo`, or `deleted`: `mine` was not added there, because it had been deleted elsewhere."""
    mine: str
    theirs: str


class Fleet(msgspec.Struct):
    state: str
    """`off`: no database is set (fleet.database); `available` or `unavailable`."""
    problem: Optional[str]
    """Why the database is not available."""
    asked: Optional[str]
    """When the database said what the devices lack. While it is not available, that is what is known."""
    revision: Optional[int]
    """Of the shared gallery."""
    devices: List[FleetDevice]
    conflicts: List[FleetConflict]
    notices: List[FleetNotice]
    missing: int
    """Photos that are gone from the folder here, but so many at once that they were not deleted on other devices."""


class Settling(msgspec.Struct):
    keep: Literal["mine", "theirs"]


class SettledConflict(msgspec.Struct):
    kind: str
    name: str
    """The one that was kept."""


class _Answer(NamedTuple):
    at: float
    own: str
    revision: int
    devices: List[DeviceRow]
    conflicts: List[ConflictRow]


def fleet_endpoints(service: FaceService, enrolment: Enrolment, view: RunView) -> Tuple[Described, ...]:
    routes = _Routes(service, enrolment, view)
    api = "/api/v1/fleet"
    return (
        Described(
            Endpoint("GET", api, routes.fleet, Scope.READ), "The devices that share the database, and conflicts", Fleet
        ),
        Described(
            Endpoint("POST", f"{api}/conflicts/{{conflict}}", routes.settle, Scope.ADMIN),
            "Decides a conflict: keeps the name here, or takes that of the other devices",
            SettledConflict,
            body=Settling,
            failures=(404, 409),
        ),
    )


class _Routes:
    def __init__(self, service: FaceService, enrolment: Enrolment, view: RunView) -> None:
        self._service = service
        self._enrolment = enrolment
        self._view = view
        self._database = _Database(service.settings)

    async def fleet(self, request: Request) -> Response:
        if self._service.settings.fleet.database is None:
            return reply(Fleet("off", None, None, None, [], [], [], 0))
        problem = await self._database.ask()
        conflicts, missing = await self._service.run(lambda: (self._conflicts(), self._missing()))
        answer = self._database.answer
        state = "available" if problem is None else "unavailable"
        if answer is None:
            return reply(Fleet(state, problem, None, None, [], conflicts, [], missing))
        notices = [
            FleetNotice(one.device, one.is_own, one.kind, one.mine, one.theirs)
            for one in answer.conflicts
            # Those of this device are in its own state, which is never old.
            if one.kind == "deleted" or not one.is_own
        ]
        found = [self._device(row, answer) for row in answer.devices]
        asked = iso_time(answer.at)
        return reply(Fleet(state, problem, asked, answer.revision, found, conflicts, notices, missing))

    async def settle(self, request: Request) -> Response:
        wanted, conflict = await read(request, Settling), str(request.path_params["conflict"])
        is_mine = wanted.keep == "mine"

        def settled() -> Tuple[ListedConflict, str]:
            decided = settle(self._service.settings, conflict, is_mine)
            kept, dropped = (decided.mine, decided.theirs) if is_mine else (decided.theirs, decided.mine)
            self._enrolment.note(request, "settle conflict", what=decided.description, kept=kept, dropped=dropped)
            self._service.gallery.refresh()
            return decided, kept

        try:
            decided, kept = await self._service.run(settled)
        except NoSuchConflictError as error:
            raise HttpError(404, str(error)) from error
        except GalleryError as error:
            raise HttpError(409, str(error)) from error
        return reply(SettledConflict(decided.subject.partition(" ")[0], kept))

    def _device(self, row: DeviceRow, answer: _Answer) -> FleetDevice:
        is_own, run = row.id == answer.own, self._view.monitor.run
        waiting = unsent(run.events.deliveries()) if is_own and run is not None else row.unsent
        seen = iso_time(answer.at - max(0.0, row.seen_s_ago))
        is_away = row.seen_s_ago > away_after_s(self._service.settings.fleet.sync_every_s)
        facts = row.name, is_own, row.program, row.embedder, seen, is_away
        return FleetDevice(*facts, row.behind, waiting, row.conflicts)

    def _missing(self) -> int:
        contents = {photo.content_hash for photo in self._service.gallery.people.photos if photo.content_hash}
        return missing_photos(self._service.settings.gallery.folder, contents)

    def _conflicts(self) -> List[FleetConflict]:
        gallery, folder = self._service.gallery, self._service.settings.gallery.folder
        photos = [photo for photo in gallery.people.photos if photo.content_hash]
        found = []
        for one in conflicts_here(folder, {photo.content_hash: photo.path for photo in photos}):
            kind, _, key = one.subject.partition(" ")
            # A file of the same content may also be there for somebody else.
            of_mine = [photo for photo in photos if photo.person == one.mine]
            shown = [photo_id(photo) for photo in of_mine if kind == "person" or photo.content_hash == key]
            found.append(FleetConflict(one.id, kind, one.mine, one.theirs, shown[0] if shown else None))
        return found


class _Database:
    """Asked in a thread of its own, since a database that hangs must hold up nothing else."""

    def __init__(self, settings: Settings) -> None:
        self.answer: Optional[_Answer] = None
        """The last one."""
        self._settings = settings
        self._asked_at = 0.0
        self._running: Optional[asyncio.Future[_Answer]] = None

    async def ask(self) -> Optional[str]:
        """Why there is no answer of now; None if there is."""
        running, now = self._running, time.monotonic()
        if running is None or (running.done() and now - self._asked_at > ASK_EVERY_S):
            self._asked_at = now
            running = self._running = asyncio.wrap_future(self._start())
            running.add_done_callback(self._keep)
        try:
            await asyncio.wait_for(asyncio.shield(running), WAIT_S)
        except asyncio.TimeoutError:
            shown = masked(self._settings.fleet.database or "")
            return f"{shown} has not answered for {time.monotonic() - self._asked_at:.0f} s"
        except AppError as error:
            return str(error)
        return None

    def _keep(self, done: asyncio.Future[_Answer]) -> None:
        """Also of an answer that nobody waits for any more."""
        if not done.cancelled() and done.exception() is None:
            self.answer = done.result()

    def _start(self) -> Future[_Answer]:
        future: Future[_Answer] = Future()

        def work() -> None:
            try:
                future.set_result(self._read())
            except AppError as error:
                future.set_exception(error)
            except Exception as error:  # root of a thread
                logger.exception("fleet: the database could not be asked")
                future.set_exception(DatabaseError(f"{type(error).__name__}: {error}"))

        threading.Thread(target=work, name="fleet page", daemon=True).start()
        return future

    def _read(self) -> _Answer:
        own = FleetFolder(self._settings.gallery.folder).read().device
        with connected(self._settings.fleet, device_name(self._settings.delivery.device)) as connection:
            require_schema(connection)
            shared = SharedGallery(connection, own)
            return _Answer(time.time(), own, shared.head().revision, devices(connection), shared.conflicts())
