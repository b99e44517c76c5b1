"""Changes that can be undone, over HTTP."""

from __future__ import annotations

from typing import List, Optional, Tuple

from starlette.requests import Request
from starlette.responses import Response

from app.errors import GalleryError
from app.gallery.undo import Moved, UndoableChange
from app.gallery.undoing import NoSuchChangeError, Undone, undo_change
from app.service.api.messages import Changed, PastChange, PastChanges, Undoing
from app.service.api.openapi import Described
from app.service.api.replies import reply
from app.service.core import FaceService
from app.service.enrolment import Enrolment
from app.service.http import Endpoint, HttpError, Scope
from app.text import iso_time


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
    )


def id_of(change: Optional[UndoableChange]) -> Optional[str]:
    return None if change is None else change.id


def changed_by(change: Optional[UndoableChange]) -> Tuple[List[Changed], Optional[str]]:
    """The last two fields of every reply to a change."""
    return ([], None) if change is None else (_shown(change.moved), change.id)


def _shown(moved: List[Moved]) -> List[Changed]:
    return [Changed(*one) for one in moved]


class _Routes:
    def __init__(self, service: FaceService, enrolment: Enrolment) -> None:
        self._service = service
        self._enrolment = enrolment

    async def changes(self, request: Request) -> Response:
        found = await self._service.run(self._enrolment.kept.undo.all)
        shown = [
            PastChange(one.id, iso_time(one.time), one.action, _shown(one.moved), one.undone is not None)
            for one in found
        ]
        return reply(PastChanges(shown))

    async def undo(self, request: Request) -> Response:
        kept, service = self._enrolment.kept, self._service
        change_id = str(request.path_params["change"])

        def undone() -> Undone:
            return kept.locked(
                lambda: undo_change(service.settings, kept.journal, service.gallery, kept.undo, change_id)
            )

        try:
            change, moved, log = await service.run(undone)
        except NoSuchChangeError as error:
            raise HttpError(404, str(error)) from error
        except GalleryError as error:
            raise HttpError(409, str(error)) from error
        changed = _shown(moved)
        self._enrolment.note(request, "undo", undone=change.action, id=change_id, changed=[tuple(one) for one in moved])
        return reply(Undoing(change.action, changed, log.value, None))
