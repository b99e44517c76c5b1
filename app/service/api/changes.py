"""Changes that can be undone, over HTTP."""

from __future__ import annotations

import contextlib
import io
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, AsyncIterator, List, Optional, Tuple

from starlette.requests import Request
from starlette.responses import Response

from app.errors import GalleryError
from app.gallery.forgetting import Forgotten
from app.gallery.names import normalize
from app.gallery.traces import Traces, traces_of
from app.gallery.undo import Moved, UndoableChange
from app.gallery.undoing import NoSuchChangeError, Undone, undo_change
from app.service.api.messages import Changed, PastChange, PastChanges, Removed, Undoing
from app.service.api.openapi import Described
from app.service.api.replies import PRIVATE, reply
from app.service.core import FaceService
from app.service.enrolment import Enrolment
from app.service.http import Endpoint, HttpError, Scope
from app.service.streams import Stream, Viewers
from app.text import iso_time

MAX_EXPORTS = 2
"""At the same time."""


def change_endpoints(service: FaceService, enrolment: Enrolment) -> Tuple[Described, ...]:
    routes = _Routes(service, enrolment)
    return (
        Described(
            Endpoint("GET", "/api/v1/undo", routes.changes, Scope.READ),
            "Changes of people and strangers that can be undone",
            PastChanges,
        ),
        Described(
            Endpoint("POST", "/api/v1/undo/{change}", routes.undo, Scope.ENROL),
            "Undoes a change, unless something has changed since that depends on it",
            Undoing,
            failures=(404, 409),
        ),
        *(
            Described(
                Endpoint("GET", f"/api/v1/{path}/export.zip", routes.export, Scope.ENROL),
                "Everything that is stored of one of them: photos, pictures, embeddings, visits and events",
                media_type="application/zip",
                failures=(404,),
            )
            for path in ("people/{name}", "strangers/{stranger}")
        ),
    )


class _Parts(io.RawIOBase):
    """Takes what is written, to be sent."""

    def __init__(self) -> None:
        self.waiting: List[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.waiting.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        parts, self.waiting = self.waiting, []
        return b"".join(parts)


async def _zipped(traces: Traces, service: FaceService) -> AsyncIterator[bytes]:
    """A ZIP file, of which one file at a time is in memory."""
    parts = _Parts()
    with zipfile.ZipFile(parts, "w") as archive:

        def add(name: str, path: Path) -> bytes:
            with contextlib.suppress(OSError):  # it was deleted meanwhile
                archive.writestr(name, path.read_bytes())
            return parts.taken()

        for name, path in traces.files.items():
            yield await service.run(partial(add, name, path))
        archive.writestr("data.json", traces.data, zipfile.ZIP_DEFLATED)
    yield parts.taken()


def id_of(change: Optional[UndoableChange]) -> Optional[str]:
    return None if change is None else change.id


def changed_by(change: Optional[UndoableChange]) -> Tuple[List[Changed], Optional[str]]:
    """The last two fields of every reply to a change."""
    return ([], None) if change is None else (_shown(change.moved), change.id)


def _shown(moved: List[Moved]) -> List[Changed]:
    return [Changed(*one) for one in moved]


def removed(who: str, gone: Forgotten) -> Response:
    changed = [Changed(who, None, gone.visits, len(gone.photos))]
    return reply(Removed(who, len(gone.photos), gone.visits, gone.pictures, gone.log.value, changed, None))


class _Routes:
    def __init__(self, service: FaceService, enrolment: Enrolment) -> None:
        self._service = service
        self._enrolment = enrolment
        self._exports = Viewers(MAX_EXPORTS)

    async def changes(self, request: Request) -> Response:
        found = await self._service.run(self._enrolment.kept.undo.all)
        shown = [
            PastChange(one.id, iso_time(one.time), one.action, _shown(one.moved), one.undone is not None)
            for one in found
        ]
        return reply(PastChanges(shown))

    async def export(self, request: Request) -> Response:
        kept, service = self._enrolment.kept, self._service
        who = normalize(str(request.path_params.get("name", request.path_params.get("stranger"))))
        try:
            traces = await service.run(
                lambda: kept.locked(lambda: traces_of(who, service.settings, kept.journal, service.gallery))
            )
        except GalleryError as error:
            raise HttpError(404, str(error)) from error
        if not traces:
            raise HttpError(404, f"nothing is stored of {who}")
        self._enrolment.note(request, "export", who=who)
        stream = Stream(_zipped(traces, service), "application/zip", self._exports)
        stream.headers.update({**PRIVATE, "Content-Disposition": "attachment; filename=export.zip"})
        return stream

    async def undo(self, request: Request) -> Response:
        kept, service = self._enrolment.kept, self._service
        change_id = str(request.path_params["change"])

        def undone() -> Undone:
            done = undo_change(service.settings, kept.journal, service.gallery, kept.undo, change_id)
            changed = [tuple(one) for one in done.moved]
            self._enrolment.note(request, "undo", undone=done.change.action, id=change_id, changed=changed)
            return done

        try:
            change, moved, log = await service.run(lambda: kept.changing(undone))
        except NoSuchChangeError as error:
            raise HttpError(404, str(error)) from error
        except GalleryError as error:
            raise HttpError(409, str(error)) from error
        return reply(Undoing(change.action, _shown(moved), log.value, None))
