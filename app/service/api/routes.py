"""The endpoints of the own API."""

from __future__ import annotations

from typing import List, Optional, Tuple, TypeVar

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.gallery.names import normalize
from app.gallery.people import PhotoRecord
from app.gallery.undo import UndoableChange
from app.gallery.who import people_in
from app.service.api.changes import change_endpoints, changed_by, removed
from app.service.api.channels import channel_endpoints
from app.service.api.fleet import fleet_endpoints
from app.service.api.happened import history_endpoints
from app.service.api.messages import (
    Box,
    Changed,
    ChangedPerson,
    DetectedFace,
    Detection,
    EmbeddedFace,
    Embedding,
    Failure,
    Health,
    Identification,
    IdentifiedFace,
    NearestPerson,
    People,
    Person,
    PersonChange,
    PersonDetails,
    PhotoChange,
    PhotoOutcome,
    PhotoOutcomes,
    Removed,
    RemovedPhoto,
    Verification,
    Version,
)
from app.service.api.openapi import Described, document
from app.service.api.replies import PRIVATE, outcome_of, picture_of, read, reply, shown_photo
from app.service.api.retention import retention_endpoints
from app.service.api.session import session_endpoints
from app.service.api.settings import settings_endpoints
from app.service.api.socket import live_endpoints, live_sockets
from app.service.api.status import status_endpoints
from app.service.api.strangers import stranger_endpoints
from app.service.core import FaceService, FoundFaces, Search
from app.service.enrolment import Enrolment
from app.service.guard import Guard
from app.service.http import Dialect, Endpoint, HttpError, Part, Scope, json_response, read_form
from app.service.measurements import Measurements
from app.service.pictures import BadPictureError
from app.service.run_view import RunView

T = TypeVar("T", bound=msgspec.Struct)

DIGITS = 4


def own_api(
    service: FaceService, enrolment: Enrolment, view: RunView, guard: Guard, measurements: Measurements
) -> Dialect:
    routes, kept = Routes(service, enrolment), enrolment.kept
    enrolment.feed = view.events
    described = (
        *_described(routes),
        *channel_endpoints(service, enrolment, view),
        *history_endpoints(service, view, enrolment),
        *live_endpoints(),
        *stranger_endpoints(service, enrolment, kept),
        *change_endpoints(service, enrolment),
        *settings_endpoints(service),
        *retention_endpoints(service),
        *session_endpoints(guard),
        *status_endpoints(service, view, measurements),
        *fleet_endpoints(service, enrolment, view),
    )
    openapi = document(described)

    async def openapi_json(request: Request) -> Response:
        return json_response(openapi)

    endpoints = [one.endpoint for one in described]
    endpoints.append(Endpoint("GET", "/openapi.json", openapi_json, Scope.READ))
    return Dialect("API", tuple(endpoints), error_response, sockets=live_sockets(service, view))


def _described(routes: Routes) -> Tuple[Described, ...]:
    """Every endpoint but that of the document itself."""
    api, person, photo = "/api/v1", "/api/v1/people/{name}", "/api/v1/people/{name}/photos/{photo}"
    read, enrol = Scope.READ, Scope.ENROL
    bad, missing = (400, 413), (404,)
    return (
        Described(Endpoint("GET", f"{api}/health", routes.health, Scope.PUBLIC), "That the server answers", Health),
        Described(Endpoint("GET", f"{api}/version", routes.version, read), "Versions and models", Version),
        Described(
            Endpoint("POST", f"{api}/detect", routes.detect, read),
            "The faces of a picture",
            Detection,
            files=("image",),
            failures=bad,
        ),
        Described(
            Endpoint("POST", f"{api}/embed", routes.embed, read),
            "The embeddings of the faces of a picture",
            Embedding,
            files=("image",),
            failures=bad,
        ),
        Described(
            Endpoint("POST", f"{api}/identify", routes.identify, read),
            "Who is in a picture",
            Identification,
            files=("image",),
            failures=bad,
        ),
        Described(
            Endpoint("POST", f"{api}/verify", routes.verify, read),
            "Whether the largest faces of two pictures are of one person",
            Verification,
            files=("first", "second"),
            failures=bad,
        ),
        Described(Endpoint("GET", f"{api}/people", routes.people, read), "Everyone who is enrolled", People),
        Described(
            Endpoint("GET", person, routes.person, read), "The photos of a person", PersonDetails, failures=missing
        ),
        Described(
            Endpoint("POST", f"{person}/photos", routes.add_photos, enrol),
            "Adds photos of a person, with an answer for each",
            PhotoOutcomes,
            files=("photos",),
            failures=bad,
        ),
        Described(
            Endpoint("PATCH", person, routes.change_person, enrol),
            "Renames a person, or merges them into another",
            ChangedPerson,
            body=PersonChange,
            failures=(404, 409),
        ),
        Described(
            Endpoint("DELETE", person, routes.remove_person, enrol),
            "Deletes everything that is stored of a person, also in the event log",
            Removed,
            query=(("version", "string"),),
            failures=(404, 409),
        ),
        Described(Endpoint("GET", photo, routes.photo, read), "A photo", media_type="image/jpeg", failures=missing),
        Described(
            Endpoint("POST", f"{photo}/move", routes.move_photo, enrol),
            "The photo shows someone else: moves it to that person",
            ChangedPerson,
            body=PhotoChange,
            failures=(404, 409),
        ),
        Described(
            Endpoint("DELETE", photo, routes.remove_photo, enrol), "Deletes a photo", RemovedPhoto, failures=missing
        ),
    )


def error_response(error: HttpError) -> Response:
    return reply(Failure(error.message), error.status)


class Routes:
    def __init__(self, service: FaceService, enrolment: Enrolment) -> None:
        self._service = service
        self._enrolment = enrolment
        self._limits = service.settings.quality.video_limits()

    async def health(self, request: Request) -> Response:
        return reply(Health("ok"))

    async def version(self, request: Request) -> Response:
        models = self._service.settings.models
        gallery = self._service.gallery
        threshold = round(gallery.threshold, 4)
        return reply(Version(__version__, models.detector, models.embedder, threshold, gallery.index.why_kind))

    async def detect(self, request: Request) -> Response:
        found = await self._found(await picture_of(request), Search(embeddings=False))
        faces = [
            DetectedFace(_box(box), round(score, DIGITS), np.round(points, 1).tolist())
            for box, score, points in zip(found.faces.boxes, found.faces.scores.tolist(), found.faces.landmarks)
        ]
        return reply(Detection(faces))

    async def embed(self, request: Request) -> Response:
        found = await self._found(await picture_of(request), Search())
        vectors = found.faces.embeddings
        faces = [
            EmbeddedFace(_box(box), round(score, DIGITS), [] if vectors is None else vectors[row].tolist())
            for row, (box, score) in enumerate(zip(found.faces.boxes, found.faces.scores.tolist()))
        ]
        return reply(Embedding(faces))

    async def identify(self, request: Request) -> Response:
        """As a run does: faces that are not seen well enough get no name."""
        service, gallery = self._service, self._service.gallery
        data = await picture_of(request)
        try:
            async with service.opened(data) as image:
                people = await service.with_networks(
                    lambda: people_in(image, service.recognizer, gallery.index, self._limits)
                )
        except BadPictureError as error:
            raise HttpError(400, str(error)) from error
        near_ones = {near.name for person in people for near in person.match.candidates}
        ids = {photo.path: key for name in near_ones for key, photo in self._enrolment.photos(name).items()}
        faces = [
            IdentifiedFace(
                box=Box(*person.box),
                score=round(person.score, DIGITS),
                name=person.match.name,
                reason=str(person.match.reason),
                why=person.match.why,
                similarity=round(person.match.similarity, DIGITS) if person.match.candidates else None,
                confidence=None if person.match.confidence is None else round(person.match.confidence, DIGITS),
                nearest=[
                    NearestPerson(near.name, round(near.similarity, DIGITS), ids.get(near.photo, ""))
                    for near in person.match.candidates
                ],
            )
            for person in people
        ]
        return reply(Identification(faces))

    async def verify(self, request: Request) -> Response:
        form = await read_form(request)
        vectors = []
        for name in ("first", "second"):
            part = form.file(name)
            if part is None:
                raise HttpError(400, f"the picture {name!r} is missing: send a form with the files first and second")
            faces = (await self._found(part.data, Search(max_faces=1))).faces
            if faces.embeddings is None:
                raise HttpError(400, f"{name}: no face found")
            vectors.append(faces.embeddings[0])
        similarity = float(vectors[0] @ vectors[1])
        recognizer = self._service.recognizer
        certainty = None if recognizer.reference is None else recognizer.reference.certainty.probability(similarity)
        return reply(
            Verification(
                similarity >= recognizer.threshold,
                round(similarity, DIGITS),
                round(recognizer.threshold, DIGITS),
                None if certainty is None else round(certainty, DIGITS),
            )
        )

    async def people(self, request: Request) -> Response:
        return reply(People([self._shown_person(name) for name in self._enrolment.names]))

    async def person(self, request: Request) -> Response:
        return reply(self._details(self._name(request)))

    async def add_photos(self, request: Request) -> Response:
        """Each photo is judged alone: one that is refused does not keep the others out."""
        name = str(request.path_params["name"])
        files = (await read_form(request)).files
        if not files:
            raise HttpError(400, "no photo: send a form with one or more files called photos")
        outcomes = [await self._outcome(request, name, part) for part in files]
        added = sum(one.added for one in outcomes)
        changed = [Changed(None, normalize(name), 0, added)] if added else []
        return reply(PhotoOutcomes(name, outcomes, changed, None))

    async def change_person(self, request: Request) -> Response:
        name = self._name(request)
        wanted = await read(request, PersonChange)
        change = await self._enrolment.rename(request, name, wanted.name, wanted.merge, wanted.version)
        return self._changed(normalize(wanted.name), change)

    async def move_photo(self, request: Request) -> Response:
        photo = self._photo(request)
        wanted = await read(request, PhotoChange)
        change = await self._enrolment.move(request, photo, wanted.name, wanted.version)
        return self._changed(normalize(wanted.name), change)

    def _changed(self, name: str, change: Optional[UndoableChange]) -> Response:
        details = self._details(name)
        return reply(ChangedPerson(details.name, details.version, details.photos, *changed_by(change)))

    async def remove_person(self, request: Request) -> Response:
        name, version = self._name(request), request.query_params.get("version")
        gone = await self._enrolment.forget(request, name, lambda: self._enrolment.version(name), version)
        return removed(name, gone)

    async def photo(self, request: Request) -> Response:
        photo = self._photo(request)
        # The file may be of any format that the program reads; browsers look at the bytes.
        return Response(self._enrolment.picture(photo), media_type="image/jpeg", headers=PRIVATE)

    async def remove_photo(self, request: Request) -> Response:
        photo = self._photo(request)
        removed = await self._enrolment.remove(request, [photo])
        changed = [Changed(photo.person, None, 0, len(removed))] if removed else []
        return reply(RemovedPhoto(photo.person, len(removed), changed, None))

    async def _found(self, data: bytes, search: Search) -> FoundFaces:
        try:
            return await self._service.find_in(data, search)
        except BadPictureError as error:
            raise HttpError(400, str(error)) from error

    async def _outcome(self, request: Request, name: str, part: Part) -> PhotoOutcome:
        filename = part.filename or ""
        try:
            result = await self._enrolment.add(request, name, part.data)
        except BadPictureError as error:
            return PhotoOutcome(filename, False, "unreadable", str(error), None, [])
        return outcome_of(filename, result)

    def _shown_person(self, name: str) -> Person:
        photos = self._enrolment.photos(name)
        used = {key: photo for key, photo in photos.items() if photo.finding.used}
        best = max(used, key=lambda key: used[key].finding.face_px, default=None)
        return Person(name, self._enrolment.version(name), len(photos), len(used), best)

    def _details(self, name: str) -> PersonDetails:
        photos = [shown_photo(photo) for photo in self._enrolment.photos(name).values()]
        return PersonDetails(name, self._enrolment.version(name), photos)

    def _name(self, request: Request) -> str:
        name = normalize(str(request.path_params["name"]))
        if name not in self._enrolment.names:
            raise HttpError(404, f"no one is enrolled as {name!r}")
        return name

    def _photo(self, request: Request) -> PhotoRecord:
        photo = self._enrolment.photos(self._name(request)).get(request.path_params["photo"])
        if photo is None:
            raise HttpError(404, "the person has no such photo")
        return photo


def _box(box: np.ndarray) -> Box:
    corners: List[int] = np.rint(box).astype(int).tolist()
    return Box(*corners)
