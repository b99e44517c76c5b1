"""The endpoints of CompreFace's API over this program's gallery."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Tuple

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.gallery.gallery import Added
from app.gallery.people import PhotoRecord
from app.service.compreface.requests import (
    Call,
    Failure,
    error_response,
    read_call,
    read_json,
    subject_of,
    token,
)
from app.service.compreface_core.plugins import (
    Plugin,
    available_plugins,
    by_area,
    chosen_plugins,
    described_faces,
    detector_name,
    plugin_search,
    size_variable,
)
from app.service.core import FaceService, FoundFaces
from app.service.enrolment import Enrolment, photo_id
from app.service.http import Dialect, Endpoint, HttpError, Scope, json_response
from app.service.pictures import BadPictureError
from app.service.similarity import similarity
from app.types import Reason

DIGITS = 5
DEFAULT_PAGE = 20
MAX_PAGE = 1000
MAX_PREDICTIONS = 100

Item = Dict[str, Any]


def compreface(service: FaceService, enrolment: Enrolment) -> Dialect:
    routes = Routes(service, enrolment)
    recognition = "/api/v1/recognition"
    return Dialect(
        "CompreFace",
        (
            Endpoint("POST", f"{recognition}/recognize", routes.recognize, Scope.READ),
            Endpoint("POST", f"{recognition}/embeddings/recognize", routes.recognize_embeddings, Scope.READ),
            Endpoint("GET", f"{recognition}/faces", routes.faces, Scope.READ),
            Endpoint("POST", f"{recognition}/faces", routes.add_face, Scope.ENROL),
            Endpoint("DELETE", f"{recognition}/faces", routes.delete_faces, Scope.ENROL),
            Endpoint("POST", f"{recognition}/faces/delete", routes.delete_listed, Scope.ENROL),
            Endpoint("DELETE", f"{recognition}/faces/{{image_id}}", routes.delete_face, Scope.ENROL),
            Endpoint("GET", f"{recognition}/faces/{{image_id}}/img", routes.image, Scope.READ),
            Endpoint("POST", f"{recognition}/faces/{{image_id}}/verify", routes.verify_face, Scope.READ),
            Endpoint(
                "POST", f"{recognition}/embeddings/faces/{{image_id}}/verify", routes.verify_embeddings, Scope.READ
            ),
            Endpoint("GET", f"{recognition}/subjects", routes.subjects, Scope.READ),
            Endpoint("POST", f"{recognition}/subjects", routes.add_subject, Scope.ENROL),
            Endpoint("DELETE", f"{recognition}/subjects", routes.delete_subjects, Scope.ENROL),
            Endpoint("PUT", f"{recognition}/subjects/{{subject}}", routes.rename_subject, Scope.ENROL),
            Endpoint("DELETE", f"{recognition}/subjects/{{subject}}", routes.delete_subject, Scope.ENROL),
            Endpoint("POST", "/api/v1/detection/detect", routes.detect, Scope.READ),
            Endpoint("POST", "/api/v1/verification/verify", routes.verify, Scope.READ),
            Endpoint("POST", "/api/v1/verification/embeddings/verify", routes.compare_embeddings, Scope.READ),
            Endpoint("GET", "/api/v1/config", routes.config, Scope.PUBLIC),
        ),
        error_response,
        token,
    )


class Routes:
    def __init__(self, service: FaceService, enrolment: Enrolment) -> None:
        self._service = service
        self._enrolment = enrolment
        self._plugins = available_plugins(service.settings, service.recognizer.detector.predicts_masks)
        self._max_file = size_variable("MAX_FILE_SIZE")
        """The largest picture in bytes. None: as large as a request may be."""

    async def recognize(self, request: Request) -> Response:
        call = await read_call(request)
        limit, count = call.number("limit", 0, 0), call.number("prediction_count", 1, 1)
        found, plugins = await self._found(call, call.picture(), embeddings=True)
        faces = self._described(found, plugins, limit)
        for face, row in zip(faces, by_area(found, limit)):
            if found.faces.embeddings is not None:
                face["subjects"] = self._nearest(found.faces.embeddings[row], count)
        return self._reply({"result": faces}, call, plugins)

    async def detect(self, request: Request) -> Response:
        call = await read_call(request)
        limit = call.number("limit", 0, 0)
        found, plugins = await self._found(call, call.picture())
        return self._reply({"result": self._described(found, plugins, limit)}, call, plugins)

    async def verify(self, request: Request) -> Response:
        """Whether the face of one picture is among those of another."""
        call = await read_call(request)
        limit = call.number("limit", 0, 0)
        source_data, target_data = call.picture("source_image"), call.picture("target_image")
        source, plugins = await self._found(call, source_data, embeddings=True)
        if len(source.faces) > 1:
            raise HttpError(400, "More than one face in the source image", Failure.SEVERAL_FACES)
        target, _ = await self._found(call, target_data, embeddings=True)
        matches = self._described(target, plugins, limit)
        if source.faces.embeddings is not None and target.faces.embeddings is not None:
            for face, row in zip(matches, by_area(target, limit)):
                face["similarity"] = self._similarity(source.faces.embeddings[0], target.faces.embeddings[row])
        (source_face,) = self._described(source, plugins, 1)
        result: Item = {"source_image_face": source_face, "face_matches": matches}
        self._finish(result, [source_face, *matches], call, plugins)
        return json_response({"result": [result]})

    async def verify_face(self, request: Request) -> Response:
        """Whether a person's photo shows the faces of a picture."""
        photo = self._photo(request)
        call = await read_call(request)
        limit = call.number("limit", 0, 0)
        found, plugins = await self._found(call, call.picture(), embeddings=True)
        faces = self._described(found, plugins, limit)
        if found.faces.embeddings is not None and photo.finding.embedding is not None:
            for face, row in zip(faces, by_area(found, limit)):
                face["subject"] = photo.person
                face["similarity"] = self._similarity(photo.finding.embedding, found.faces.embeddings[row])
        return self._reply({"result": faces}, call, plugins)

    async def recognize_embeddings(self, request: Request) -> Response:
        vectors = self._vectors(await read_json(request), "embeddings")
        count = Call(dict(request.query_params), {}).number("prediction_count", 1, 1)
        result = [{"embedding": given, "similarities": self._nearest(vector, count)} for given, vector in vectors]
        return json_response({"result": result})

    async def verify_embeddings(self, request: Request) -> Response:
        known = self._photo(request).finding.embedding
        vectors = self._vectors(await read_json(request), "embeddings")
        result = [
            {"embedding": given, "similarity": 0.0 if known is None else self._similarity(known, vector)}
            for given, vector in vectors
        ]
        return json_response({"result": result})

    async def compare_embeddings(self, request: Request) -> Response:
        content = await read_json(request)
        ((_, source),) = self._vectors({"source": [content.get("source")]}, "source")
        targets = self._vectors(content, "targets")
        result = [{"embedding": given, "similarity": self._similarity(source, vector)} for given, vector in targets]
        return json_response({"result": result})

    async def faces(self, request: Request) -> Response:
        call = Call(dict(request.query_params), {})
        page, size = call.number("page", 0, 0), min(call.number("size", DEFAULT_PAGE, 1), MAX_PAGE)
        photos = list(self._enrolment.photos(call.values.get("subject") or None).items())
        shown = [{"image_id": key, "subject": photo.person} for key, photo in photos[page * size : (page + 1) * size]]
        return json_response(
            {
                "faces": shown,
                "page_number": page,
                "page_size": size,
                "total_pages": math.ceil(len(photos) / size),
                "total_elements": len(photos),
            }
        )

    async def add_face(self, request: Request) -> Response:
        call = await read_call(request)
        person = subject_of(call.required("subject"))
        found, _ = await self._found(call, call.picture())
        if len(found.faces) > 1:
            raise HttpError(400, "More than one face in the source image", Failure.SEVERAL_FACES)
        try:
            result = await self._enrolment.add(request, person, call.picture())
        except BadPictureError as error:
            raise HttpError(400, f"the picture cannot be read: {error}", Failure.BAD_FILE) from error
        if isinstance(result, Added):
            return json_response({"image_id": photo_id(result.photo), "subject": result.person}, 201)
        if result.reason is Reason.ALREADY_ENROLLED and result.duplicate_of is not None:
            known = result.duplicate_of
            return json_response({"image_id": photo_id(known), "subject": known.person}, 201)
        if result.duplicate_of is not None:
            message = f"The same photo belongs to {result.duplicate_of.person} already"
            raise HttpError(400, message, Failure.VALIDATION)
        why = result.finding.text if result.finding is not None else str(result.reason)
        raise HttpError(400, f"The photo is not good enough to recognise people with: {why}", Failure.NO_FACE)

    async def delete_faces(self, request: Request) -> Response:
        photos = self._enrolment.photos(request.query_params.get("subject") or None)
        return json_response({"deleted": len(await self._enrolment.remove(request, photos.values()))})

    async def delete_listed(self, request: Request) -> Response:
        try:
            wanted = orjson.loads(await request.body())
        except orjson.JSONDecodeError as error:
            raise HttpError(400, f"JSON parse error: {error}", Failure.VALIDATION) from error
        if not isinstance(wanted, list):
            raise HttpError(400, "expected a list of image ids", Failure.VALIDATION)
        photos = self._enrolment.photos()
        removed = await self._enrolment.remove(request, [photos[key] for key in map(str, wanted) if key in photos])
        return json_response([{"image_id": photo_id(photo), "subject": photo.person} for photo in removed])

    async def delete_face(self, request: Request) -> Response:
        photo = self._photo(request)
        await self._enrolment.remove(request, [photo])
        return json_response({"image_id": photo_id(photo), "subject": photo.person})

    async def image(self, request: Request) -> Response:
        data = self._enrolment.picture(self._photo(request))
        return Response(data, media_type="application/octet-stream", headers={"Cache-Control": "private, no-store"})

    async def subjects(self, request: Request) -> Response:
        return json_response({"subjects": list(self._enrolment.subjects)})

    async def add_subject(self, request: Request) -> Response:
        subject = subject_of((await read_json(request)).get("subject"))
        if not await self._enrolment.add_person(request, subject):
            raise HttpError(400, f"Subject {subject} already exists", Failure.SUBJECT_EXISTS)
        return json_response({"subject": subject}, 201)

    async def rename_subject(self, request: Request) -> Response:
        """A name that exists already gets the photos of both."""
        old, new = self._subject(request), subject_of((await read_json(request)).get("subject"))
        if old != new:
            await self._enrolment.rename(request, old, new, merge=True)
        return json_response({"updated": True})

    async def delete_subject(self, request: Request) -> Response:
        subject = self._subject(request)
        await self._enrolment.remove_person(request, subject)
        return json_response({"subject": subject})

    async def delete_subjects(self, request: Request) -> Response:
        everyone = self._enrolment.subjects
        for subject in everyone:
            await self._enrolment.remove_person(request, subject)
        return json_response({"deleted": len(everyone)})

    async def config(self, request: Request) -> Response:
        body = int(self._service.settings.serve.max_body_mb * 1e6)
        return json_response({"clientMaxFileSize": min(self._max_file or body, body), "clientMaxBodySize": body})

    async def _found(self, call: Call, data: bytes, embeddings: bool = False) -> Tuple[FoundFaces, Tuple[Plugin, ...]]:
        if self._max_file is not None and len(data) > self._max_file:
            message = f"{len(data)} bytes: a picture may have up to {self._max_file} (MAX_FILE_SIZE)"
            raise HttpError(413, message, Failure.BAD_FILE)
        plugins = chosen_plugins(call.values.get("face_plugins", ""), self._plugins)
        search = plugin_search(call.threshold, plugins, embeddings)
        examine = self._service.find_in if call.flag("detect_faces", True) else self._service.whole_picture_in
        try:
            found = await examine(data, search)
        except BadPictureError as error:
            raise HttpError(400, f"the picture cannot be read: {error}", Failure.BAD_FILE) from error
        if not len(found.faces):
            raise HttpError(400, "No face is found in the given image", Failure.NO_FACE)
        return found, plugins

    def _described(self, found: FoundFaces, plugins: Tuple[Plugin, ...], limit: int) -> List[Item]:
        faces = described_faces(found, plugins, limit)
        for face in faces:
            face["box"]["probability"] = round(face["box"]["probability"], DIGITS)
        return faces

    def _reply(self, content: Item, call: Call, plugins: Tuple[Plugin, ...]) -> Response:
        self._finish(content, content["result"], call, plugins)
        return json_response(content)

    def _finish(self, content: Item, faces: List[Item], call: Call, plugins: Tuple[Plugin, ...]) -> None:
        """Versions and times are for clients that ask for them."""
        if call.flag("status", False):
            content["plugins_versions"] = self._versions(plugins)
        else:
            for face in faces:
                del face["execution_time"]

    def _versions(self, plugins: Tuple[Plugin, ...]) -> Dict[str, str]:
        return {"detector": detector_name(self._service.settings), **{plugin.slug: plugin.name for plugin in plugins}}

    def _nearest(self, vector: np.ndarray, count: int) -> List[Item]:
        gallery = self._service.gallery
        return [
            {"subject": name, "similarity": round(similarity(cosine, gallery), DIGITS)}
            for name, cosine in self._enrolment.nearest(vector, min(count, MAX_PREDICTIONS))
        ]

    def _similarity(self, a: np.ndarray, b: np.ndarray) -> float:
        return round(similarity(float(a @ b), self._service.gallery), DIGITS)

    def _vectors(self, content: Item, key: str) -> List[Tuple[Any, np.ndarray]]:
        """The embeddings of a request, as they came and with unit length."""
        given, length = content.get(key), self._service.recognizer.embedder.dimensions
        try:
            vectors = np.array(given, np.float64).reshape(-1, length)
        except (ValueError, TypeError) as error:
            raise HttpError(400, f"{key}: expected embeddings of {length} numbers", Failure.VALIDATION) from error
        with np.errstate(over="ignore"):
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not isinstance(given, list) or len(given) != len(vectors) or not np.isfinite(norms).all() or not norms.all():
            raise HttpError(400, f"{key}: expected embeddings of {length} numbers", Failure.VALIDATION)
        return list(zip(given, (vectors / norms).astype(np.float32)))

    def _photo(self, request: Request) -> PhotoRecord:
        key = request.path_params["image_id"]
        photo = self._enrolment.photos().get(key)
        if photo is None:
            raise HttpError(404, f"Image {key} not found", Failure.NO_IMAGE)
        return photo

    def _subject(self, request: Request) -> str:
        subject = str(request.path_params["subject"])
        if subject not in self._enrolment.subjects:
            raise HttpError(404, f"Subject {subject} not found", Failure.NO_SUBJECT)
        return subject
