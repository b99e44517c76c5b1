"""Logging in to the page, and tickets for programs that can only be given an address."""

from __future__ import annotations

import re
from typing import Optional, Tuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.errors import SettingsError
from app.service.api.openapi import Described
from app.service.api.replies import read, reply
from app.service.guard import CSRF_HEADER, Guard
from app.service.http import Endpoint, HttpError, Scope
from app.service.sessions import TICKET_VALID_S

PATH = "/api/v1/session"
WITH_TICKET = re.compile(r"/api/v1/channels/[^/]+/(snapshot\.jpg|mjpeg)")


class LogIn(msgspec.Struct):
    """A token, or the code that the server has printed when it started."""

    token: str = ""
    code: str = ""


class SessionState(msgspec.Struct):
    needs_token: bool
    client: Optional[str] = None
    """The name of the token of the log-in."""
    scope: Optional[str] = None


class TicketFor(msgspec.Struct):
    path: str


class Ticket(msgspec.Struct):
    address: str
    """The path with its ticket."""
    valid_s: int


def session_endpoints(guard: Guard) -> Tuple[Described, ...]:
    async def session(request: Request) -> Response:
        try:
            token = guard.visitor(request)
        except SettingsError:
            token = None
        if token is None:
            return reply(SessionState(guard.needs_token))
        return reply(SessionState(guard.needs_token, token.name, token.scope))

    async def log_in(request: Request) -> Response:
        _require_header(request)
        body = await read(request, LogIn)
        token, cookie = guard.log_in(request, body.token, body.code)
        answer = reply(SessionState(guard.needs_token, token.name, token.scope))
        answer.headers.update(guard.cookie(request, cookie))
        return answer

    async def log_out(request: Request) -> Response:
        _require_header(request)
        guard.log_out(request)
        answer = reply(SessionState(guard.needs_token))
        answer.headers.update(guard.cookie(request, ""))
        return answer

    async def ticket(request: Request) -> Response:
        path = (await read(request, TicketFor)).path
        if WITH_TICKET.fullmatch(path) is None:
            raise HttpError(400, f"path={path!r}: expected the path of a channel's snapshot.jpg or mjpeg")
        made = guard.ticket(path, request.state.token)
        return reply(Ticket(f"{path}?ticket={made}", TICKET_VALID_S))

    public = Scope.PUBLIC
    return (
        Described(Endpoint("GET", PATH, session, public), "Who is logged in with the cookie", SessionState),
        Described(
            Endpoint("POST", PATH, log_in, public),
            "Log in, with the header X-CSRF: 1; sets a cookie",
            SessionState,
            body=LogIn,
            header="X-CSRF",
            failures=(400, 401, 403, 413, 429, 503),
        ),
        Described(
            Endpoint("DELETE", PATH, log_out, public),
            "Log out, with the header X-CSRF: 1",
            SessionState,
            header="X-CSRF",
            failures=(403,),
        ),
        Described(
            Endpoint("POST", "/api/v1/tickets", ticket, Scope.READ),
            "An address of a channel's picture that needs no token for 10 minutes",
            Ticket,
            body=TicketFor,
            failures=(400, 413),
        ),
    )


def _require_header(request: Request) -> None:
    if CSRF_HEADER not in request.headers:
        raise HttpError(403, "the header X-CSRF: 1 is missing")
