"""Strangers over HTTP: who they are, and what people decide about them."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from app.errors import GalleryError
from app.fleet.strangers import FOREIGN
from app.gallery.stranger_actions import (
    Naming,
    NoSuchStrangerError,
    Search,
    ignore_stranger,
    merge_strangers,
    name_stranger,
    require_stranger,
    search_visits,
    split_stranger,
)
from app.gallery.undo import UndoableChange
from app.identity.strangers import Visit, stranger_name
from app.service.api.changes import changed_by, id_of, removed
from app.service.api.messages import Failure, PhotoOutcome, Removed
from app.service.api.openapi import Described
from app.service.api.replies import flag, jpeg, outcome_of, picture_of, read, reply
from app.service.api.stranger_messages import (
    ChangedStranger,
    FoundVisit,
    Ignoring,
    NamedStranger,
    NewName,
    OtherStrangers,
    SearchResult,
    SeenPerson,
    SeenVisit,
    SimilarPerson,
    SplitStranger,
    Splitting,
    Stranger,
    StrangerDetails,
    Strangers,
)
from app.service.core import FaceService
from app.service.enrolment import Enrolment
from app.service.http import Endpoint, HttpError, Scope
from app.service.kept_strangers import KeptStrangers
from app.service.pictures import BadPictureError
from app.service.versions import require_version, stranger_version
from app.text import iso_time

T = TypeVar("T")

DIGITS = 4
NEAREST = 3


def stranger_endpoints(service: FaceService, enrolment: Enrolment, kept: KeptStrangers) -> Tuple[Described, ...]:
    routes = _Routes(service, enrolment, kept)
    api, one, see, enrol = "/api/v1/strangers", "/api/v1/strangers/{stranger}", Scope.READ, Scope.ENROL
    return (
        Described(
            Endpoint("GET", api, routes.strangers, see),
            "Unknown people who have a number",
            Strangers,
            query=(("all", "boolean"),),
        ),
        Described(
            Endpoint("GET", one, routes.stranger, see), "A stranger and the visits", StrangerDetails, failures=(404,)
        ),
        Described(
            Endpoint("GET", f"{one}/pictures/{{picture}}", routes.picture, see),
            "A picture of a stranger",
            media_type="image/jpeg",
            failures=(404,),
        ),
        Described(
            Endpoint("GET", f"{one}/pictures/{{picture}}/frame.jpg", routes.frame, see),
            "The frame that a picture of a stranger is from",
            media_type="image/jpeg",
            failures=(404,),
        ),
        Described(
            Endpoint("DELETE", one, routes.remove, enrol),
            "Deletes everything that is stored of a stranger, also in the event log",
            Removed,
            query=(("version", "string"),),
            failures=(404, 409),
        ),
        Described(
            Endpoint("POST", f"{one}/name", routes.name, enrol),
            "Enrols a stranger: pictures become photos, and past visits get the name",
            NamedStranger,
            body=NewName,
            failures=(404, 409),
        ),
        Described(
            Endpoint("POST", f"{one}/merge", routes.merge, enrol),
            "Other strangers are the same person as this one",
            ChangedStranger,
            body=OtherStrangers,
            failures=(404, 409),
        ),
        Described(
            Endpoint("POST", f"{one}/split", routes.split, enrol),
            "Divides the visits into those of two people",
            SplitStranger,
            optional_body=Splitting,
            failures=(404, 409),
        ),
        Described(
            Endpoint("POST", f"{one}/ignore", routes.ignore, enrol),
            "Never show or name this stranger again, or do",
            ChangedStranger,
            optional_body=Ignoring,
            failures=(404, 409),
        ),
        Described(
            Endpoint("POST", f"{api}/search", routes.search, see),
            "Whether the face in a photo was seen before",
            SearchResult,
            files=("image",),
        ),
    )


class _Routes:
    def __init__(self, service: FaceService, enrolment: Enrolment, kept: KeptStrangers) -> None:
        self._service = service
        self._enrolment = enrolment
        self._kept = kept
        self._journal = kept.journal

    async def strangers(self, request: Request) -> Response:
        with_ignored = flag(request, "all")

        def listed() -> Strangers:
            book = self._journal.book
            shown = [number for number in book.strangers if with_ignored or number not in book.ignored]
            return Strangers([self._shown(number) for number in shown], len(book.ignored & set(book.strangers)))

        return reply(await self._read(listed))

    async def stranger(self, request: Request) -> Response:
        return reply(await self._read(lambda: self._details(self._number(request))))

    async def picture(self, request: Request) -> Response:
        return jpeg(await self._read(lambda: self._picture(request, self._journal.crops)))

    async def frame(self, request: Request) -> Response:
        return jpeg(await self._read(lambda: self._picture(request, self._journal.frames)))

    def _picture(self, request: Request, folder: Optional[Path]) -> bytes:
        """Raises HttpError (404)."""
        name = str(request.path_params["picture"])
        # Only names that are known: nothing of the request becomes a path.
        if name not in self._journal.book.crops_of(self._number(request)) or folder is None:
            raise HttpError(404, "there is no such picture of this stranger")
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise HttpError(404, "the picture is not there any more") from error

    async def name(self, request: Request) -> Response:
        wanted = await read(request, NewName)
        person = self._enrolment.checked_name(wanted.name)
        service = self._service

        def named() -> Tuple[Naming, List[PhotoOutcome]]:
            number = self._number(request, wanted.version)
            naming = name_stranger(service.settings, self._journal, service.gallery, number, person)
            photos = [outcome_of(filename, result) for filename, result in naming.photos]
            if naming.is_named:
                added = [one.photo.path for one in photos if one.added and one.photo is not None]
                facts = {"person": naming.person, "photos": added, "undo": id_of(naming.change)}
                self._enrolment.note(request, "name stranger", stranger=naming.stranger, **facts)
            return naming, photos

        naming, photos = await self._change(named)
        if not naming.is_named:
            why = "; ".join(f"{photo.filename}: {photo.message or photo.reason}" for photo in photos)
            return reply(
                Failure(
                    f"no picture of {naming.stranger} is good enough for the gallery; add a photo of {person} first, "
                    f"and try again ({why or 'no pictures are kept'})"
                ),
                409,
            )
        return reply(
            NamedStranger(
                naming.stranger, naming.person, naming.visits, naming.log.value, photos, *changed_by(naming.change)
            )
        )

    async def remove(self, request: Request) -> Response:
        number = await self._read(lambda: self._number(request))
        who, version = stranger_name(number), request.query_params.get("version")
        gone = await self._enrolment.forget(request, who, lambda: stranger_version(self._journal.book, number), version)
        return removed(who, gone)

    async def merge(self, request: Request) -> Response:
        wanted = await read(request, OtherStrangers)
        others = wanted.others
        if not others:
            raise HttpError(400, "others: expected at least one stranger")

        def merged() -> ChangedStranger:
            target = self._number(request, wanted.version)
            numbers = [self._required(text) for text in others]
            change = merge_strangers(self._service.settings, self._journal, target, numbers)
            details, gone = self._changed(target, change), list(map(stranger_name, numbers))
            into = details.stranger.stranger
            self._enrolment.note(request, "merge strangers", strangers=gone, into=into, undo=details.undo)
            return details

        return reply(await self._change(merged))

    async def split(self, request: Request) -> Response:
        version = (await read(request, Splitting)).version if await request.body() else None

        def parts() -> SplitStranger:
            number = self._number(request, version)
            new, change = split_stranger(self._service.settings, self._journal, number)
            both = [self._shown(part) for part in (number, new)]
            first, second = (one.stranger for one in both)
            self._enrolment.note(request, "split stranger", stranger=first, new=second, undo=id_of(change))
            return SplitStranger(both, sum(one.ignored for one in both), *changed_by(change))

        return reply(await self._change(parts))

    async def ignore(self, request: Request) -> Response:
        wanted = await read(request, Ignoring) if await request.body() else Ignoring()
        ignored = wanted.ignored

        def changed() -> ChangedStranger:
            number = self._number(request, wanted.version)
            details = self._changed(number, ignore_stranger(self._service.settings, self._journal, number, ignored))
            action = "ignore stranger" if ignored else "stop ignoring stranger"
            self._enrolment.note(request, action, stranger=details.stranger.stranger, undo=details.undo)
            return details

        return reply(await self._change(changed))

    async def search(self, request: Request) -> Response:
        data = await picture_of(request)

        def found() -> Search:
            try:
                return search_visits(self._journal, self._service.gallery, data, "the photo")
            except GalleryError as error:
                raise HttpError(400, str(error)) from error

        try:
            async with self._service.opened(data):
                search = await self._read(found)
        except BadPictureError as error:
            raise HttpError(400, str(error)) from error
        return reply(
            SearchResult(
                round(search.threshold, DIGITS),
                search.nearest,
                None if search.similarity is None else round(search.similarity, DIGITS),
                self._confidence(search.similarity),
                search.compared,
                [self._found(similarity, visit) for similarity, visit in search.visits],
                self._people(search.visits),
            )
        )

    def _confidence(self, similarity: Optional[float]) -> Optional[float]:
        reference = self._service.recognizer.reference
        if similarity is None or reference is None:
            return None
        return round(reference.certainty.probability(similarity), DIGITS)

    def _found(self, similarity: float, visit: Visit) -> FoundVisit:
        return FoundVisit(
            round(similarity, DIGITS), self._confidence(similarity), visit.name, _stranger_of(visit), _seen(visit)
        )

    def _people(self, found: Sequence[Tuple[float, Visit]]) -> List[SeenPerson]:
        """`found` has the most similar visit first."""
        grouped: Dict[Tuple[Optional[str], Optional[str]], List[Tuple[float, Visit]]] = {}
        for similarity, visit in found:
            grouped.setdefault((visit.name, _stranger_of(visit)), []).append((similarity, visit))
        return [
            SeenPerson(
                name,
                stranger,
                round(mine[0][0], DIGITS),
                self._confidence(mine[0][0]),
                len(mine),
                iso_time(min(visit.first_seen for _, visit in mine)),
                iso_time(max(visit.last_seen for _, visit in mine)),
            )
            for (name, stranger), mine in grouped.items()
        ]

    async def _change(self, work: Callable[[], T]) -> T:
        return await self._do(lambda: self._kept.changing(work))

    async def _read(self, work: Callable[[], T]) -> T:
        return await self._do(lambda: self._kept.locked(work))

    async def _do(self, work: Callable[[], T]) -> T:
        """Does work with the journal as it is now, in a thread."""
        try:
            return await self._service.run(work)
        except NoSuchStrangerError as error:
            raise HttpError(404, "there is no such stranger, or not any longer") from error
        except GalleryError as error:
            raise HttpError(409, str(error)) from error

    def _number(self, request: Request, version: Optional[str] = None) -> int:
        """Raises HttpError (409) if the stranger has another version."""
        number = self._required(str(request.path_params["stranger"]))
        require_version(stranger_name(number), stranger_version(self._journal.book, number), version)
        return number

    def _required(self, text: str) -> int:
        return require_stranger(self._journal.book, text, self._journal.folder)

    def _changed(self, number: int, change: Optional[UndoableChange]) -> ChangedStranger:
        details = self._details(number)
        return ChangedStranger(details.stranger, details.visits, *changed_by(change))

    def _details(self, number: int) -> StrangerDetails:
        return StrangerDetails(self._shown(number), [_seen(visit) for visit in self._journal.book.visits_of(number)])

    def _shown(self, number: int) -> Stranger:
        book, model = self._journal.book, self._service.gallery.embedder_id
        visits = book.visits_of(number)
        comparable = [visit.weight * visit.embedding for visit in visits if visit.model == model]
        nearest = []
        if comparable:
            mean = np.sum(comparable, axis=0)
            nearest = self._enrolment.nearest(mean / max(float(np.linalg.norm(mean)), 1e-9), NEAREST)
        return Stranger(
            stranger=stranger_name(number),
            version=stranger_version(book, number),
            ignored=number in book.ignored,
            visits=len(visits),
            first_seen=iso_time(visits[0].first_seen),
            last_seen=iso_time(max(visit.last_seen for visit in visits)),
            channels=sorted({visit.channel for visit in visits}),
            devices=sorted({visit.channel.partition("/")[0] for visit in visits if visit.id.startswith(FOREIGN)}),
            pictures=book.crops_of(number),
            frames=[name for name in book.crops_of(number) if self._has_frame(name)],
            nearest=[SimilarPerson(name, round(similarity, DIGITS)) for name, similarity in nearest],
        )

    def _has_frame(self, name: str) -> bool:
        return self._journal.frames is not None and (self._journal.frames / name).is_file()


def _seen(visit: Visit) -> SeenVisit:
    return SeenVisit(
        visit.channel, iso_time(visit.first_seen), iso_time(visit.last_seen), visit.position, visit.file, visit.crop
    )


def _stranger_of(visit: Visit) -> Optional[str]:
    return None if visit.stranger is None else stranger_name(visit.stranger)
