"""Pictures that requests name by an address of another server. Off by default: `serve.fetch_urls`.

Whoever may send requests could otherwise have this machine ask what only it can reach (SSRF): services of its network,
or the metadata of its provider. So a name is resolved once, all of its addresses are checked, and one of these is
connected to, whatever the name means a moment later.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import re
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Mapping, NamedTuple, Optional
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from app.errors import SettingsError
from app.service.addresses import is_public, listed, networks, parsed, within
from app.service.pictures import BadPictureError
from app.settings.serve import ServeSettings

FETCH_WITHIN_S = 10.0
MAX_FETCHED_BYTES = 10_000_000
MAX_REDIRECTS = 3
MAX_FETCHES = 8
"""At the same time."""
_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
_OWN_HEADERS = (
    "authorization cookie host proxy-authorization connection content-length transfer-encoding te trailer upgrade "
    "expect accept-encoding keep-alive range forwarded via"
)
"""Which a request may not set: they carry rights, or say how the connection is used."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def is_address(text: str) -> bool:
    return text.lower().startswith(("http:", "https:"))


class Fetcher:
    def __init__(self, settings: ServeSettings) -> None:
        """Raises SettingsError."""
        self._is_on = settings.fetch_urls
        self._allowed = networks(settings.fetch_allow, "serve.fetch_allow")
        self._ports = {80, 443}
        for item in listed(settings.fetch_ports):
            if not (item.isdigit() and 1 <= int(item) <= 65535):
                raise SettingsError(f"serve.fetch_ports: {item!r}: expected a port from 1 to 65535")
            self._ports.add(int(item))
        self._pool = ThreadPoolExecutor(MAX_FETCHES, thread_name_prefix="fetch")

    async def fetch(self, address: str, headers: Optional[Mapping[str, Any]] = None) -> bytes:
        """What is at the address. Raises BadPictureError."""
        if not self._is_on:
            raise BadPictureError("pictures are not fetched from other servers (serve.fetch_urls)")
        work = functools.partial(self._fetched, address, _passed_on(headers or {}))
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _fetched(self, address: str, headers: Dict[str, str]) -> bytes:
        with _Deadline(FETCH_WITHIN_S) as deadline:
            try:
                for _ in range(MAX_REDIRECTS + 1):
                    target = self._target(address)
                    response = deadline.get(target, self._resolved(target), headers)
                    if response.status not in _REDIRECTS:
                        body = _body(response)
                        if deadline.has_passed:
                            # What was cut off looks like a reply that ends early.
                            raise TimeoutError
                        return body
                    address, before = urljoin(address, response.getheader("Location") or ""), target
                    after = self._target(address)
                    if (after.scheme, after.host, after.port) != (before.scheme, before.host, before.port):
                        headers = {}
            except ssl.SSLCertVerificationError as error:
                raise BadPictureError(f"the certificate of its server is not valid: {error.verify_message}") from error
            except (OSError, http.client.HTTPException, ValueError, BadPictureError) as error:
                if isinstance(error, BadPictureError) and not deadline.has_passed:
                    raise
                if deadline.has_passed:
                    raise BadPictureError(f"it was not received within {FETCH_WITHIN_S:g} s") from error
                # The operating system's words say what is at an address that was allowed, and no more.
                raise BadPictureError(f"its server cannot be reached, or its answer is broken: {error}") from error
        raise BadPictureError(f"more than {MAX_REDIRECTS} redirections")

    def _target(self, address: str) -> _Target:
        try:
            parts = urlsplit(address)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError as error:
            raise BadPictureError("its address is not valid") from error
        if parts.scheme not in _PORTS or not parts.hostname or re.search(r"[\x00-\x20\x7f]", address):
            raise BadPictureError("expected an address such as https://server/picture.jpg")
        if parts.username is not None or parts.password is not None:
            raise BadPictureError("an address with a user or a password is not fetched")
        if port not in self._ports:
            raise BadPictureError(f"port {port} is not fetched from (serve.fetch_ports)")
        return _Target(parts.scheme, _ascii(parts.hostname), port, _path(parts))

    def _resolved(self, target: _Target) -> str:
        """The address to connect to. Refuses a name if one of its addresses is not allowed."""
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise BadPictureError("the name of its server is unknown") from error
        addresses: List[str] = [str(entry[4][0]) for entry in found]
        for text in addresses:
            address = parsed(text)
            if not (is_public(address) or within(address, self._allowed)):
                raise BadPictureError("its server is not one of the internet (serve.fetch_allow)")
        return addresses[0]


class _Target(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str


class _Deadline:
    """Connections that end at a certain time, however slowly the other side sends."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._open: List[socket.socket] = []

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self._ends_at

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for opened in self._open:
            opened.close()

    def _cut(self) -> None:
        for opened in self._open:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which would take its state away from the thread that reads.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def get(self, target: _Target, address: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        connected = socket.create_connection((address, target.port), max(0.001, self._ends_at - time.monotonic()))
        self._open.append(connected)
        if target.scheme == "https":
            context = ssl.create_default_context()
            # The handshake begins when `_cut` knows the socket.
            connected = context.wrap_socket(connected, server_hostname=target.host, do_handshake_on_connect=False)
            self._open[-1] = connected
            connected.do_handshake()
        # Given a socket, it connects to nothing, and asks no proxy.
        kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        connection = kind(target.host, target.port)
        connection.sock = connected
        own = {"Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close", "User-Agent": "faces"}
        connection.request("GET", target.path, headers={**own, **headers})
        return connection.getresponse()


def _body(response: http.client.HTTPResponse) -> bytes:
    if response.status != 200:
        raise BadPictureError(f"its server answered {response.status}")
    body = response.read(MAX_FETCHED_BYTES + 1)
    if len(body) > MAX_FETCHED_BYTES:
        raise BadPictureError(f"it is larger than {MAX_FETCHED_BYTES / 1e6:g} MB")
    return body


def _passed_on(headers: Mapping[str, Any]) -> Dict[str, str]:
    """What of a request's own headers is sent to the server of a picture."""
    passed = {name: str(value) for name, value in headers.items() if name.lower() not in _OWN_HEADERS.split()}
    for name, value in passed.items():
        if not _HEADER_NAME.fullmatch(name) or re.search(r"[^\x20-\x7e]", value) or len(value) > 4096:
            raise BadPictureError(f"the header {name[:50]!r} is not valid")
    return {name: value for name, value in passed.items() if not name.lower().startswith(("x-forwarded-", "sec-"))}


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise BadPictureError("the name of its server is not valid") from error


def _path(parts: SplitResult) -> str:
    query = f"?{parts.query}" if parts.query else ""
    return quote((parts.path or "/") + query, safe="/%:=&?~+!$,;'@()*[]-._")
