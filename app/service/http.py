"""What all dialects share: endpoints with a scope, errors with a status, bodies within limits, replies."""

from __future__ import annotations

import base64
import binascii
import enum
import re
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, Tuple
from urllib.parse import unquote_to_bytes

import orjson
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

Handler = Callable[[Request], Awaitable[Response]]


class Scope(enum.IntEnum):
    """What a token allows. Each scope includes those before it."""

    PUBLIC = 0
    """No token is needed, and nothing about people or pictures is answered."""
    READ = 1
    ENROL = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Endpoint:
    """A route. Without a scope there is none."""

    method: str
    path: str
    handler: Handler
    scope: Scope


@dataclass(frozen=True)
class Socket:
    """A WebSocket. The handler gets it accepted, from a client that may use it."""

    path: str
    handler: Callable[[WebSocket], Awaitable[None]]
    scope: Scope


class HttpError(Exception):
    """A request that is refused, with the status and the reason."""

    def __init__(self, status: int, message: str, code: int = 0, headers: Optional[Mapping[str, str]] = None) -> None:
        """`code` is the number that some dialects give their errors."""
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})
        super().__init__(message)


async def header_token(request: HTTPConnection) -> Optional[str]:
    """The token of a request, from the headers in which clients send it."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key")


@dataclass(frozen=True)
class Dialect:
    """The endpoints that one kind of client knows, and how it expects errors."""

    name: str
    endpoints: Tuple[Endpoint, ...]
    error: Callable[[HttpError], Response]
    token: Callable[[Request], Awaitable[Optional[str]]] = header_token
    sockets: Tuple[Socket, ...] = ()


def json_response(content: Any, status: int = 200, headers: Optional[Mapping[str, str]] = None) -> Response:
    """Arrays may be NumPy's; float32 is written with as few digits as it needs."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(body, status, headers, media_type="application/json")


@dataclass(frozen=True)
class Part:
    """One part of a multipart form."""

    name: str
    data: bytes
    filename: Optional[str] = None
    """None: a plain field."""


@dataclass
class Form:
    """The fields and files of a request, from its query and its body."""

    fields: Dict[str, str] = field(default_factory=dict)
    files: List[Part] = field(default_factory=list)

    def file(self, name: str) -> Optional[Part]:
        return next((part for part in self.files if part.name == name), None)


MAX_FILES = 64
MAX_FIELDS = 100


async def read_form(request: Request) -> Form:
    """The multipart or URL-encoded form of a request, with the parameters of its query; read once.

    The whole body is in memory: its size was limited when it was received.
    """
    known: Optional[Form] = getattr(request.state, "form", None)
    if known is not None:
        return known
    # Of a field that comes twice, the first counts, and the query before the body: as in Flask and Spring.
    form = Form()
    for name, value in request.query_params.multi_items():
        form.fields.setdefault(name, value)
    kind, parameters = _with_parameters(request.headers.get("content-type", "").encode("latin-1"))
    if kind == "multipart/form-data":
        body = await request.body()
        # CompreFace's SDK for JavaScript sends no boundary where a picture is not a file. The body begins with it.
        boundary = parameters.get("boundary") or _first_line(body)[2:]
        for part in parse_multipart(body, boundary) if boundary else ():
            if part.filename is None:
                form.fields.setdefault(part.name, part.data.decode("utf-8", "replace"))
            else:
                form.files.append(part)
    elif kind == "application/x-www-form-urlencoded":
        for name, text in (await request.form()).multi_items():
            if isinstance(text, str):
                form.fields.setdefault(name, text)
    request.state.form = form
    return form


def parse_multipart(body: bytes, boundary: str) -> List[Part]:
    """The parts of a body. Raises HttpError (400) for a broken one, or one of too many parts."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser

    parts: List[Part] = []
    headers: Dict[str, bytes] = {}
    name, value, data = bytearray(), bytearray(), bytearray()

    def part_begin() -> None:
        if len(parts) >= MAX_FILES + MAX_FIELDS:
            raise HttpError(400, f"more than {MAX_FILES + MAX_FIELDS} parts")
        headers.clear()
        data.clear()

    def header_end() -> None:
        headers[bytes(name).decode("latin-1").lower()] = bytes(value)
        name.clear()
        value.clear()

    def part_end() -> None:
        _, parameters = _with_parameters(headers.get("content-disposition", b""))
        content = bytes(data)
        if headers.get("content-transfer-encoding", b"").lower() == b"base64":
            content = from_base64(content.decode("latin-1"))
        parts.append(Part(parameters.get("name", ""), content, parameters.get("filename")))

    try:
        parser = MultipartParser(
            boundary.encode("latin-1", "replace"),
            {
                "on_part_begin": part_begin,
                "on_part_data": lambda chunk, start, end: data.extend(chunk[start:end]),
                "on_part_end": part_end,
                "on_header_field": lambda chunk, start, end: name.extend(chunk[start:end]),
                "on_header_value": lambda chunk, start, end: value.extend(chunk[start:end]),
                "on_header_end": header_end,
            },
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise HttpError(400, f"the multipart body is broken: {error}") from error
    files = sum(part.filename is not None for part in parts)
    if files > MAX_FILES or len(parts) - files > MAX_FIELDS:
        raise HttpError(400, f"more parts than {MAX_FILES} files and {MAX_FIELDS} fields")
    return parts


def from_base64(text: str) -> bytes:
    """Base64 with or without line breaks, or a data URL. Raises ValueError for anything else."""
    encoded = text.rpartition(",")[2]
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        # Line breaks are rare, so they are removed only where they are in the way.
        return base64.b64decode("".join(encoded.split()), validate=True)


def _first_line(body: bytes) -> str:
    return body[: body.find(b"\r\n")].decode("latin-1") if body.startswith(b"--") else ""


def _with_parameters(header: bytes) -> Tuple[str, Dict[str, str]]:
    """What a header such as `form-data; name="file"` says, in lower case, and its parameters."""
    from python_multipart.multipart import parse_options_header

    kind, found = parse_options_header(header)
    parameters = {key.decode("latin-1"): value.decode("utf-8", "replace") for key, value in found.items()}
    # Names that are not ASCII, as some clients write them (RFC 5987); newer versions of the package leave them out.
    extended = re.search(rb";\s*filename\*\s*=\s*utf-8'[^';]*'([^;\s]*)", header, re.IGNORECASE)
    if extended is not None:
        parameters["filename"] = unquote_to_bytes(extended[1]).decode("utf-8", "replace")
    return kind.decode("latin-1").lower(), parameters
