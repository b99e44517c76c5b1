"""What the endpoints of the own API share."""

from __future__ import annotations

from typing import Mapping, Optional, Type, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.gallery.gallery import Added, AddResult
from app.gallery.people import PhotoRecord
from app.service.api.messages import Photo, PhotoOutcome
from app.service.enrolment import photo_id
from app.service.http import HttpError, read_form

T = TypeVar("T", bound=msgspec.Struct)

PRIVATE = {"Cache-Control": "private, no-store"}
"""Of pictures of people."""


def reply(content: msgspec.Struct, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def jpeg(picture: bytes, headers: Optional[Mapping[str, str]] = None) -> Response:
    return Response(picture, media_type="image/jpeg", headers={**PRIVATE, **(headers or {})})


def number(request: Request, name: str, default: float, minimum: float, maximum: float) -> float:
    """A parameter of the query. Raises HttpError (400)."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    # NaN fails every comparison.
    if not minimum <= value <= maximum:
        raise HttpError(400, f"{name}={text!r}: expected a number from {minimum:g} to {maximum:g}")
    return value


def whole(request: Request, name: str, default: int, minimum: int, maximum: int) -> int:
    """A whole number of the query. Raises HttpError (400)."""
    value = number(request, name, default, minimum, maximum)
    if value != int(value):
        raise HttpError(400, f"{name}={value:g}: expected a whole number")
    return int(value)


def flag(request: Request, name: str) -> bool:
    """A parameter of the query. Raises HttpError (400)."""
    text = request.query_params.get(name, "0")
    if text not in ("0", "1", "true", "false"):
        raise HttpError(400, f"{name}={text!r}: expected 1 or 0")
    return text in ("1", "true")


async def picture_of(request: Request) -> bytes:
    """The picture of a request: its whole body, or the file `image` of a form."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        part = (await read_form(request)).file("image")
        data = b"" if part is None else part.data
    else:
        data = await request.body()
    if not data:
        raise HttpError(400, "no picture: send it as the body, or as the file `image` of a form")
    return data


async def read(request: Request, kind: Type[T]) -> T:
    """The JSON of a request. Raises HttpError (400)."""
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError(400, str(error)) from error


def outcome_of(filename: str, result: AddResult) -> PhotoOutcome:
    if isinstance(result, Added):
        warnings = [warning.message for warning in result.warnings]
        finding = result.photo.finding
        return PhotoOutcome(filename, True, str(result.reason), finding.message, shown_photo(result.photo), warnings)
    message = result.finding.text if result.finding is not None else ""
    known = result.duplicate_of
    return PhotoOutcome(filename, False, str(result.reason), message, None if known is None else shown_photo(known), [])


def shown_photo(photo: PhotoRecord) -> Photo:
    finding = photo.finding
    return Photo(
        id=photo_id(photo),
        path=photo.path,
        used=finding.used,
        reason=str(finding.reason),
        why=finding.why,
        message=finding.message,
        face_px=round(finding.face_px, 1),
    )
