"""The files of the page. They are public: without the API, which asks for a token, the page shows nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Dict, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from app.service.api.routes import error_response
from app.service.http import Dialect, Endpoint, HttpError, Scope

FOLDER = Path(__file__).with_name("static")
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Files of other kinds, such as licences, are not served."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}


class PageFile(NamedTuple):
    body: bytes
    media_type: str
    etag: str


def page() -> Dialect:
    """Reads all files now: a request never touches the disk, and a file is never half of an update."""
    files = _read()
    version = hashlib.sha256("".join(f"{name}{file.etag}" for name, file in files.items()).encode()).hexdigest()[:16]
    for name in ("index.html", "docs.html"):
        files[name] = _file(files[name].body.replace(b"{static}", f"/static/{version}".encode()), ".html")

    async def index(request: Request) -> Response:
        return _reply(request, files["index.html"], "no-cache")

    async def docs(request: Request) -> Response:
        return _reply(request, files["docs.html"], "no-cache")

    async def favicon(request: Request) -> Response:
        return _reply(request, files["icon.svg"], "max-age=86400")

    async def static(request: Request) -> Response:
        file = files.get(request.path_params["file"])
        if file is None or request.path_params["version"] != version:
            raise HttpError(404, "not a file of this version of the page; reload it")
        return _reply(request, file, "public, max-age=31536000, immutable")

    return Dialect(
        "page",
        (
            Endpoint("GET", "/", index, Scope.PUBLIC),
            Endpoint("GET", "/docs", docs, Scope.PUBLIC),
            Endpoint("GET", "/favicon.ico", favicon, Scope.PUBLIC),
            Endpoint("GET", "/static/{version}/{file:path}", static, Scope.PUBLIC),
        ),
        error_response,
    )


def _read() -> Dict[str, PageFile]:
    """By their path below the folder."""
    return {
        path.relative_to(FOLDER).as_posix(): _file(path.read_bytes(), path.suffix)
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in MEDIA_TYPES
    }


def _file(body: bytes, suffix: str) -> PageFile:
    return PageFile(body, MEDIA_TYPES[suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _reply(request: Request, file: PageFile, cache_control: str) -> Response:
    headers = {**HEADERS, "cache-control": cache_control, "etag": file.etag}
    known = request.headers.get("if-none-match", "")
    if file.etag in (tag.strip() for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=file.media_type)
