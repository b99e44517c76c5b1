"""Who may do what: every request passes here before a dialect sees it.

- A request must call this server by one of its own names, or a page of the internet could reach it through a name
  that it points at this machine (DNS rebinding).
- What changes or reads pictures must not come from a page of another server. Programs send no Origin.
- Bodies have a maximum size and a maximum time.
- Without a file with tokens, only programs on this machine are let in.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import socket
import time
from typing import Dict, Iterable, Optional, Tuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from app.errors import SettingsError
from app.service.addresses import forwarded_client, listed, networks, parsed, within
from app.service.http import HttpError, Scope
from app.service.sessions import CONSOLE, Failures, LoginCode, Sessions, Tickets, TokenUses, cookie_header, cookie_name
from app.service.shared_state import SharedState
from app.service.tokens import Token, TokenFile
from app.settings.serve import ServeSettings
from app.text import program

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
CSRF_HEADER = "x-csrf"
"""Pages of other servers cannot send it: a request with a cookie that changes something must have it."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of every reply that does not set them itself."""
PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
    "access-control-allow-headers": "authorization, content-type, x-api-key, x-csrf",
    "access-control-max-age": "600",
}
"""What pages of `serve.cors_origins` may send. Cookies are not among it: they must have a token."""


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """The rules of one server."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._file = TokenFile(settings.tokens)
        state = SharedState.next_to(settings.tokens)
        self.login_code = LoginCode(state)
        self._sessions = Sessions(state)
        self._tickets = Tickets(state)
        self._failures = Failures(state)
        self._uses = TokenUses(state)
        names = {"localhost", socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
        self._hosts = names | set(listed(settings.allowed_hosts))
        self.cors_origins = _origins(settings.cors_origins, "serve.cors_origins")
        self._origins = {*listed(settings.allowed_origins), *self.cors_origins}
        self.frame_ancestors = _origins(settings.frame_ancestors, "serve.frame_ancestors")
        self._proxies = networks(settings.trusted_proxies, "serve.trusted_proxies")

    def check_address(self) -> None:
        """Raises SettingsError if everyone in the network could use this server."""
        settings = self._settings
        if not (is_loopback(settings.host) or settings.insecure or self._file.tokens):
            raise SettingsError(
                f"--host {settings.host}: other machines could use this server without a token; make one with "
                f"`{program()} tokens add NAME`, or pass --insecure if everyone in the network may enrol people"
            )

    def seen_through_proxies(self, scope: AsgiScope, headers: Headers) -> AsgiScope:
        """The request with the client and the scheme that a trusted proxy names."""
        client = scope.get("client")
        if not (client and self._proxies and within(parsed(client[0]), self._proxies)):
            return scope
        changed = dict(scope)
        address = forwarded_client(",".join(headers.getlist("x-forwarded-for")), self._proxies)
        if address is not None:
            changed["client"] = (address, 0)
        is_encrypted = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower() == "https"
        if is_encrypted:
            changed["scheme"] = "wss" if scope["type"] == "websocket" else "https"
        return changed

    def allows_host(self, header: str) -> bool:
        """Whether a request calls this server by one of its names. Addresses are fine: no one can redirect them."""
        name = header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() else header
        name = name.strip("[]").lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def allows_origin(self, headers: Headers) -> bool:
        """Whether a request may come from the page that sent it."""
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site") not in ("cross-site", "same-site")
        return origin.partition("://")[2] == headers.get("host") or origin in self._origins

    @property
    def needs_token(self) -> bool:
        """Whether clients have to send one. True where the file with the tokens cannot be read."""
        try:
            return self._file.exists
        except SettingsError:
            return True

    def admit(self, request: HTTPConnection, secret: Optional[str], scope: Scope) -> Optional[Token]:
        """Raises HttpError (401, 403, 429, 503) unless this client may do what the endpoint needs."""
        if scope is Scope.PUBLIC:
            return None
        try:
            if not self._file.exists:
                if is_loopback(self._settings.host) or self._settings.insecure:
                    return None
                raise HttpError(401, "a token is required")
            token = self._file.find(secret) if secret else self.visitor(request)
        except SettingsError as error:
            raise HttpError(503, "the file with the tokens cannot be read") from error
        if token is None:
            raise self._refusal(request, secret)
        if token != CONSOLE:
            self._uses.note(token, self._file.tokens)
        if token.allows < scope:
            raise HttpError(403, f"this token allows {token.scope}; {scope} is needed")
        return token

    def _refusal(self, request: HTTPConnection, secret: Optional[str]) -> HttpError:
        if secret and self._failures.count(request.client.host if request.client else ""):
            return HttpError(429, "too many wrong tokens; try again in a minute", headers={"Retry-After": "60"})
        return HttpError(401, "a valid token is required", headers={"WWW-Authenticate": "Bearer"})

    def visitor(self, request: HTTPConnection) -> Optional[Token]:
        """The token with which the cookie or the ticket of a request was made, if it is valid.

        Raises HttpError (403) for a change that only a cookie vouches for, and SettingsError.
        """
        is_read = request.scope["type"] == "websocket" or request.scope["method"] in SAFE_METHODS
        cookie = request.cookies.get(self._cookie_name(request))
        if cookie is not None:
            token = self._valid(self._sessions.find(cookie))
            if token is not None:
                if not is_read and CSRF_HEADER not in request.headers:
                    raise HttpError(403, "with a cookie, a change needs the header X-CSRF: 1")
                return token
        ticket, path = request.query_params.get("ticket"), request.url.path
        if ticket is None or not is_read:
            return None
        # What was opened in time stays open: it is asked for again while it is sent.
        issuer: Optional[Token] = getattr(request.state, "issuer", None)
        if issuer is None:
            issuer = next(
                (one for one in (*self._file.tokens, CONSOLE) if self._tickets.is_good(ticket, path, one)), None
            )
            request.state.issuer = issuer
        return self._valid(issuer)

    def _valid(self, token: Optional[Token]) -> Optional[Token]:
        """The token, unless it was removed."""
        return token if token in (*self._file.tokens, CONSOLE) else None

    def log_in(self, request: HTTPConnection, secret: str, code: str) -> Tuple[Token, str]:
        """The token of a client, and a cookie to set. Raises HttpError (401, 429, 503)."""
        try:
            token = self._file.find(secret) if secret else None
        except SettingsError as error:
            raise HttpError(503, "the file with the tokens cannot be read") from error
        if token is None and code and self.login_code.use(code):
            token = CONSOLE
        if token is None:
            raise self._refusal(request, secret or code)
        return token, self._sessions.open(token)

    def log_out(self, request: HTTPConnection) -> None:
        self._sessions.close(request.cookies.get(self._cookie_name(request), ""))

    def cookie(self, request: HTTPConnection, value: str) -> Dict[str, str]:
        """The header that sets the cookie, or removes it."""
        return cookie_header(self._cookie_name(request), value, _is_encrypted(request))

    def _cookie_name(self, request: HTTPConnection) -> str:
        return cookie_name(self._settings.port, _is_encrypted(request))

    def ticket(self, path: str, token: Optional[Token]) -> str:
        """Lets whoever has it read what is at this path. Without tokens everyone may, but no one needs to know."""
        return self._tickets.make(path, token or CONSOLE)


def _is_encrypted(request: HTTPConnection) -> bool:
    return request.url.scheme in ("https", "wss")


class GuardedApp:
    """The server's outermost layer."""

    def __init__(self, app: ASGIApp, guard: Guard, settings: ServeSettings) -> None:
        self._app = app
        self._guard = guard
        self._max_body = int(settings.max_body_mb * 1e6)
        self._timeout_s = settings.receive_timeout_s

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        scope = self._guard.seen_through_proxies(scope, headers)
        scope.setdefault("state", {})["request_id"] = secrets.token_hex(8)
        if scope["type"] == "http":
            send = self._with_headers(scope, headers.get("origin"), send)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await refusal(scope, receive, send)
            return
        if scope["type"] == "http":
            scope["state"]["received"] = received = asyncio.Event()
            await self._app(scope, self._limited(receive, received), send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: AsgiScope, headers: Headers) -> Optional[Response]:
        if not self._guard.allows_host(headers.get("host", "")):
            return PlainTextResponse("unknown host; add it to serve.allowed_hosts\n", 421)
        asked = headers.get("access-control-request-method")
        if asked and scope.get("method") == "OPTIONS" and headers.get("origin") in self._guard.cors_origins:
            return Response(status_code=204, headers=PREFLIGHT)
        is_safe = scope["type"] == "http" and scope["method"] in SAFE_METHODS
        if not is_safe and not self._guard.allows_origin(headers):
            return PlainTextResponse("pages of other servers may not do this; see serve.allowed_origins\n", 403)
        if int(headers.get("content-length") or 0) > self._max_body:
            return PlainTextResponse(f"the limit is {self._max_body / 1e6:g} MB (serve.max_body_mb)\n", 413)
        return None

    def _with_headers(self, scope: AsgiScope, origin: Optional[str], send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if scope["state"].get("issuer") is not None:
                    # A ticket is for pages of others; `Guard.visitor` has found it valid.
                    headers["cross-origin-resource-policy"] = "cross-origin"
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["x-request-id"] = scope["state"]["request_id"]
                if self._guard.frame_ancestors:
                    allowed = " ".join(("'self'", *self._guard.frame_ancestors))
                    headers["content-security-policy"] = headers["content-security-policy"].replace(
                        "frame-ancestors 'none'", f"frame-ancestors {allowed}"
                    )
                if self._guard.cors_origins:
                    headers.add_vary_header("Origin")
                    if origin in self._guard.cors_origins:
                        headers["access-control-allow-origin"] = str(origin)
                        headers["access-control-expose-headers"] = "x-request-id, retry-after"
            await send(message)

        return sending

    def _limited(self, receive: Receive, complete: asyncio.Event) -> Receive:
        received = 0
        deadline = time.monotonic() + self._timeout_s

        async def limited() -> Message:
            nonlocal received
            if complete.is_set():
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError as error:
                raise HttpError(408, "the request did not arrive in time", headers={"Connection": "close"}) from error
            received += len(message.get("body", b""))
            if received > self._max_body:
                raise HttpError(413, f"the limit is {self._max_body / 1e6:g} MB", headers={"Connection": "close"})
            if not message.get("more_body", False):
                complete.set()
            return message

        return limited


def _origins(text: Optional[str], name: str) -> Tuple[str, ...]:
    """Those that a setting lists. Raises SettingsError."""
    for item in listed(text):
        if re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", item) is None:
            raise SettingsError(f"{name}: {item!r}: expected the address of a server, such as https://home.example")
    return listed(text)


def ports(settings: ServeSettings) -> Iterable[int]:
    """All that the server listens on. Raises SettingsError."""
    also = listed(settings.also_ports)
    for item in also:
        if not (item.isdigit() and 1 <= int(item) <= 65535):
            raise SettingsError(f"serve.also_ports: {item!r}: expected a port from 1 to 65535")
    return dict.fromkeys([settings.port, *map(int, also)])
