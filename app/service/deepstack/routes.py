"""The face endpoints of DeepStack, which CodeProject.AI has as well."""

from __future__ import annotations

import math
import time
from typing import Any, Dict, Optional

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from app.gallery.gallery import Added
from app.service.core import FaceService, FoundFaces, Search
from app.service.enrolment import Enrolment
from app.service.http import Dialect, Endpoint, Form, HttpError, Scope, header_token, json_response, read_form
from app.service.pictures import BadPictureError
from app.types import Reason

UNKNOWN = "unknown"
PREFIX = "deepstack-"
"""Of the files of registered photos: registering a person again replaces them, and no others."""


def deepstack(service: FaceService, enrolment: Enrolment) -> Dialect:
    routes = Routes(service, enrolment)
    vision = "/v1/vision/face"
    return Dialect(
        "DeepStack",
        (
            Endpoint("POST", vision, routes.detect, Scope.READ),
            Endpoint("POST", f"{vision}/recognize", routes.recognize, Scope.READ),
            Endpoint("POST", f"{vision}/match", routes.match, Scope.READ),
            Endpoint("POST", f"{vision}/list", routes.list, Scope.READ),
            Endpoint("POST", f"{vision}/register", routes.register, Scope.ENROL),
            Endpoint("POST", f"{vision}/delete", routes.delete, Scope.ENROL),
        ),
        error_response,
        token,
    )


def error_response(error: HttpError) -> Response:
    message = "Incorrect api key" if error.status == 401 else error.message
    return json_response({"success": False, "error": message, "duration": 0}, error.status)


async def token(request: Request) -> Optional[str]:
    """The key is a field of the form; headers work as well."""
    return (await read_form(request)).fields.get("api_key") or await header_token(request)


class Routes:
    def __init__(self, service: FaceService, enrolment: Enrolment) -> None:
        self._service = service
        self._enrolment = enrolment

    async def detect(self, request: Request) -> Response:
        began = time.perf_counter()
        form = await read_form(request)
        found = await self._found(_picture(form), Search(min_score=_min_confidence(form), embeddings=False))
        scores = found.faces.scores.tolist()
        return _reply(began, predictions=[_box(found, row, score) for row, score in enumerate(scores)])

    async def recognize(self, request: Request) -> Response:
        began = time.perf_counter()
        form = await read_form(request)
        least = _min_confidence(form)
        found = await self._found(_picture(form), Search())
        predictions = []
        for row, match in enumerate(self._service.identify(found.faces)):
            confidence = _confidence(match.similarity)
            is_known = match.name is not None and (least is None or confidence >= least)
            predictions.append(
                {**_box(found, row, confidence if is_known else 0), "userid": match.name if is_known else UNKNOWN}
            )
        return _reply(began, predictions=predictions)

    async def match(self, request: Request) -> Response:
        began = time.perf_counter()
        form = await read_form(request)
        if len(form.files) < 2:
            raise HttpError(400, "No valid image file found")
        vectors = []
        for part in form.files[:2]:
            faces = (await self._found(part.data, Search(max_faces=1))).faces
            if faces.embeddings is None or not len(faces):
                raise HttpError(400, "no face detected")
            vectors.append(faces.embeddings[0])
        return _reply(began, similarity=_confidence(float(np.dot(*vectors))))

    async def list(self, request: Request) -> Response:
        return _reply(time.perf_counter(), faces=list(self._enrolment.names))

    async def register(self, request: Request) -> Response:
        began = time.perf_counter()
        form = await read_form(request)
        person = _userid(form)
        if not form.files:
            raise HttpError(400, "No valid image file found")
        before = self._enrolment.photos(person)
        replaced = {key: photo for key, photo in before.items() if photo.path.rpartition("/")[2].startswith(PREFIX)}
        added, refused = False, ""
        for part in form.files:
            try:
                result = await self._enrolment.add(request, person, part.data, PREFIX)
            except BadPictureError as error:
                raise HttpError(400, "invalid image") from error
            if isinstance(result, Added):
                added = True
            elif result.reason is Reason.ALREADY_ENROLLED:
                added = True
                replaced = {
                    key: photo
                    for key, photo in replaced.items()
                    if result.duplicate_of is None or photo.path != result.duplicate_of.path
                }
            else:
                refused = "no face detected" if result.reason is Reason.NO_FACE else str(result.reason)
        if not added:
            raise HttpError(400, refused)
        await self._enrolment.remove(request, replaced.values())
        return _reply(began, message="face updated" if before else "face added")

    async def delete(self, request: Request) -> Response:
        began = time.perf_counter()
        person = _userid(await read_form(request))
        await self._enrolment.remove(request, self._enrolment.photos(person).values())
        return _reply(began)

    async def _found(self, data: bytes, search: Search) -> FoundFaces:
        try:
            return await self._service.find_in(data, search)
        except BadPictureError as error:
            raise HttpError(400, "invalid image") from error


def _reply(began: float, **content: Any) -> Response:
    milliseconds = round(1000 * (time.perf_counter() - began))
    return json_response({"success": True, **content, "duration": 0, "inferenceMs": milliseconds})


def _picture(form: Form) -> bytes:
    if not form.files:
        raise HttpError(400, "No valid image file found")
    return form.files[0].data


def _userid(form: Form) -> str:
    userid = form.fields.get("userid", "").strip()
    if not userid:
        raise HttpError(400, "userid not specified")
    return userid


def _min_confidence(form: Form) -> Optional[float]:
    text = form.fields.get("min_confidence")
    if text is None:
        return None
    try:
        least = float(text)
    except ValueError:
        least = math.nan
    if not least >= 0:
        raise HttpError(400, "Invalid value for min_confidence")
    if least > 1:
        raise HttpError(400, "min_confidence cannot be greater than 1")
    return least


def _confidence(cosine: float) -> float:
    """As DeepStack's: from 0 to 1, 0.5 for a cosine of 0."""
    return min(max((cosine + 1) / 2, 0.0), 1.0)


def _box(found: FoundFaces, row: int, confidence: float) -> Dict[str, Any]:
    x1, y1, x2, y2 = np.rint(found.faces.boxes[row]).astype(int).tolist()
    return {"confidence": confidence, "y_min": y1, "x_min": x1, "y_max": y2, "x_max": x2}
