"""What the endpoints of the own API share."""

from __future__ import annotations

from typing import Mapping, Optional

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.service.http import HttpError

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


def flag(request: Request, name: str) -> bool:
    """A parameter of the query. Raises HttpError (400)."""
    text = request.query_params.get(name, "0")
    if text not in ("0", "1", "true", "false"):
        raise HttpError(400, f"{name}={text!r}: expected 1 or 0")
    return text in ("1", "true")
