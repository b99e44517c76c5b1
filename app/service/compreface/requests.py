"""What requests of CompreFace's clients contain, and its errors: a message and a code."""

from __future__ import annotations

import re
import uuid
from typing import Any, Dict, Mapping, NamedTuple, Optional

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.service.http import HttpError, from_base64, json_response, read_form

EXTENSIONS = ("tif", "tiff", "jpg", "jpeg", "png", "bmp", "ico", "gif", "webp")
MAX_SUBJECT_LENGTH = 50
OPTIONS_OF_A_SUBJECT = re.compile(r"\?(limit|det_prob_threshold|prediction_count|face_plugins|status)=.*", re.DOTALL)
"""What CompreFace's SDK for JavaScript writes after a subject: it begins the query of `add` twice."""


class Failure:
    """The codes of CompreFace's errors."""

    OTHER = 0
    UNKNOWN_KEY = 10
    MISSING_HEADER = 20
    BAD_FILE = 21
    VALIDATION = 26
    NO_FACE = 28
    SEVERAL_FACES = 31
    MISSING_PARAMETER = 33
    MISSING_PART = 34
    CORE = 41
    NO_SUBJECT = 42
    SUBJECT_EXISTS = 43
    NO_IMAGE = 44


def error_response(error: HttpError) -> Response:
    if error.status == 401:
        return json_response(
            {"message": "Recognition service with this API Key not found", "code": Failure.UNKNOWN_KEY}, 404
        )
    # What the gallery refuses, such as a name that no folder can have, is a wrong value of the request.
    code = Failure.VALIDATION if error.status == 400 and not error.code else error.code
    return json_response({"message": error.message, "code": code}, error.status)


async def token(request: Request) -> Optional[str]:
    """The key of a request, which must have one even where none is needed."""
    key = request.headers.get("x-api-key")
    if key is None:
        raise HttpError(400, "Missing header: x-api-key", Failure.MISSING_HEADER)
    try:
        uuid.UUID(key)
    except ValueError as error:
        raise HttpError(400, "Service API key should be UUID", Failure.VALIDATION) from error
    return key


class Call(NamedTuple):
    """The values of a request, from query and form, and its pictures by name."""

    values: Mapping[str, str]
    pictures: Mapping[str, bytes]

    def picture(self, name: str = "file") -> bytes:
        if name not in self.pictures:
            raise HttpError(400, f"Required part {name} is missing", Failure.MISSING_PART)
        return self.pictures[name]

    def required(self, name: str) -> str:
        if name not in self.values:
            raise HttpError(400, f"Missing request parameter: {name}", Failure.MISSING_PARAMETER)
        return self.values[name]

    def number(self, name: str, default: int, least: int) -> int:
        text = self.values.get(name, "")
        if not text:
            return default
        if not re.fullmatch(r"-?\d{1,9}", text):
            raise HttpError(400, f"{name}: {text!r} is not a whole number", Failure.VALIDATION)
        if int(text) < least:
            raise HttpError(400, f"{name} should be greater or equal to {least}", Failure.VALIDATION)
        return int(text)

    def flag(self, name: str, default: bool) -> bool:
        return self.values.get(name, str(default)).lower() == "true"

    @property
    def threshold(self) -> Optional[float]:
        text = self.values.get("det_prob_threshold", "")
        if not text:
            return None
        try:
            threshold = float(text)
        except ValueError:
            threshold = -1.0
        if not 0 <= threshold <= 1:
            raise HttpError(400, "det_prob_threshold should be between 0 and 1", Failure.VALIDATION)
        return threshold


async def read_call(request: Request) -> Call:
    """Pictures are files of a form, or base64 in a JSON object."""
    if request.headers.get("content-type", "").startswith("application/json"):
        content = await read_json(request)
        pictures: Dict[str, bytes] = {}
        for name, value in content.items():
            if isinstance(value, str) and (name == "file" or name.endswith("_image")):
                try:
                    pictures[name] = from_base64(value)
                except ValueError as error:
                    raise HttpError(400, f"{name} is not base64", Failure.BAD_FILE) from error
        return Call(dict(request.query_params), pictures)
    form = await read_form(request)
    for part in form.files:
        if (part.filename or "").rpartition(".")[2].lower() not in EXTENSIONS:
            raise HttpError(400, f"File [{part.filename}] has an unavailable extension", Failure.BAD_FILE)
    return Call(form.fields, {part.name: part.data for part in form.files})


async def read_json(request: Request) -> Dict[str, Any]:
    try:
        content = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise HttpError(400, f"JSON parse error: {error}", Failure.VALIDATION) from error
    if not isinstance(content, dict):
        raise HttpError(400, "expected a JSON object", Failure.VALIDATION)
    return content


def subject_of(name: Any) -> str:
    """A valid name of a subject."""
    if not isinstance(name, str) or not name.strip():
        raise HttpError(400, "Subject is missing or blank", Failure.VALIDATION)
    subject: str = OPTIONS_OF_A_SUBJECT.sub("", name).strip()
    if len(subject) > MAX_SUBJECT_LENGTH or any(letter in subject for letter in ";/\\") or not subject.isprintable():
        message = f"Subject: up to {MAX_SUBJECT_LENGTH} characters, without ; / and \\"
        raise HttpError(400, message, Failure.VALIDATION)
    return subject
