"""The HTTP server: uvicorn on a thread of its own, next to the thread of the networks."""

from __future__ import annotations

import asyncio
import errno
import http
import logging
import socket
import threading
from types import TracebackType
from typing import Any, Callable, Coroutine, Iterable, List, Optional, Sequence, Tuple, Type, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import FatalError, SettingsError, check_all
from app.service.addresses import Network, networks, parsed, within
from app.service.guard import Guard, ports
from app.service.streams import SLOW_CLIENT_S
from app.service.tls import TlsFiles
from app.settings.serve import ServeSettings

CLOSE_WITHIN_S = 5
MAX_CONNECTIONS = 500
MAX_HEADER_BYTES = 65_536
MAX_MESSAGE_BYTES = 65_536
"""Of a WebSocket's client."""
KEEP_ALIVE_S = 30


class HttpServer:
    """Listens from the moment it is made; answers from `start` on."""

    def __init__(self, settings: ServeSettings) -> None:
        """Raises SettingsError if a port cannot be had, or the files for TLS cannot be used."""
        self._tls = TlsFiles.of(settings)
        self._hsts_days = settings.hsts_days
        self._server: Optional[uvicorn.Server] = None
        self._thread: Optional[threading.Thread] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._protocol = type(
            "LimitedOneWrite",
            (OneWrite,),
            {
                "header_within_s": settings.receive_timeout_s,
                "max_per_address": settings.max_connections_per_address,
                "proxies": networks(settings.trusted_proxies, "serve.trusted_proxies"),
            },
        )
        self.addresses: List[str] = []
        self._sockets: List[socket.socket] = []
        try:
            for port in ports(settings):
                self._sockets.append(_listening(settings.host, port, settings.workers > 1))
                shown = f"[{settings.host}]" if ":" in settings.host else settings.host
                self.addresses.append(f"{'http' if self._tls is None else 'https'}://{shown}:{port}")
        except SettingsError:
            self.close()
            raise

    def start(self, app: ASGIApp) -> None:
        """Raises FatalError if it has no event loop."""
        config = uvicorn.Config(
            app,
            http=self._protocol,
            lifespan="off",
            log_config=None,
            # Addresses can hold what is private, and uvicorn would log all of them.
            access_log=False,
            server_header=False,
            # Who sent a request must not be what the request says.
            proxy_headers=False,
            ws_max_size=MAX_MESSAGE_BYTES,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=CLOSE_WITHIN_S,
        )
        if self._tls is not None:
            config.load()
            config.ssl = self._tls.context
            if self._hsts_days:
                age = f"max-age={self._hsts_days * 86_400}".encode()
                config.encoded_headers.append((b"strict-transport-security", age))
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        self._server = server = uvicorn.Server(config)
        begun = threading.Event()

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            begun.set()
            await server.serve(sockets=self._sockets)

        def work() -> None:
            try:
                _run_on_event_loop(serve())
            finally:
                begun.set()

        self._thread = threading.Thread(target=work, name="http", daemon=True)
        self._thread.start()
        begun.wait()
        if self._loop is None:
            raise FatalError("the HTTP server cannot be started: are too many files open? The lines above say why")

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Calls it between two requests, on the thread of the server. Raises FatalError if that has ended."""
        try:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError as error:  # the event loop is closed
            raise FatalError("the HTTP server has ended") from error

    def close(self) -> None:
        """Answers what has begun, for a short time, and ends the thread."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(2 * CLOSE_WITHIN_S)
        for opened in self._sockets:
            opened.close()
        if self._tls is not None:
            self._tls.close()

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


def require_address(settings: ServeSettings) -> None:
    """Raises SettingsError if the server could not start: a port that is in use, a missing token or certificate.

    For before the networks are loaded, which takes seconds.
    """
    check_all(Guard(settings).check_address, lambda: HttpServer(settings).close())


class OneWrite(HttpToolsProtocol):
    """Sends the headers of a reply together with its body: ApacheBench, and scripts that use it, read only once.

    A connection ends if the headers of a request take too long or are too large, if the client takes nothing of a reply
    for some time, or if its address has too many already.
    """

    header_within_s: float
    max_per_address: int
    proxies: Tuple[Network, ...] = ()
    reader_within_s: float = SLOW_CLIENT_S
    _header_timer: Optional[asyncio.TimerHandle] = None
    _reader_timer: Optional[asyncio.TimerHandle] = None
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(cast(asyncio.Transport, _Joining(transport, asyncio.get_running_loop())))
        own = self.client and self.client[0]
        others: Iterable[Any] = self.connections
        # All clients of a reverse proxy have its address.
        is_proxy = own is not None and within(parsed(own), self.proxies)
        if not is_proxy and sum(1 for one in others if one.client and one.client[0] == own) > self.max_per_address:
            self._refuse(503, "too many connections from this address (serve.max_connections_per_address)")
            return
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self._await_headers()
        if self._header_timer is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._header_timer is not None and self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(431, "the headers are too large")

    def on_headers_complete(self) -> None:
        self._stop_header_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._stop_header_timer()
        self._stop_reader_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_reader_timer()
        super().resume_writing()

    def _await_reader(self, waiting_bytes: int) -> None:
        """Drops a client that takes nothing of what waits for it. A slow one that goes on is let be."""

        def check() -> None:
            still = self.transport.get_write_buffer_size()
            if still >= waiting_bytes:
                self.transport.abort()
            else:
                self._await_reader(still)

        self._reader_timer = self.loop.call_later(self.reader_within_s, check)

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _await_headers(self) -> None:
        if self._header_timer is None:
            self._header_bytes = 0
            self._header_timer = self.loop.call_later(self.header_within_s, self._refuse, 408, "too slow")

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse(self, status: int, message: str) -> None:
        self._stop_header_timer()
        head = (
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        )
        self.transport.write(f"{head}Content-Length: {len(message)}\r\n\r\n{message}".encode())
        self.transport.close()


class _Joining:
    """A transport that joins what is written in one turn of the event loop."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: List[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(bytes(data))

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._waiting:
            joined, self._waiting = b"".join(self._waiting), []
            self._transport.write(joined)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _run_on_event_loop(serve: Coroutine[Any, Any, None]) -> None:
    """On uvloop's, which other threads wake without giving up Python's lock; without uvloop, on asyncio's."""
    try:
        from uvloop import run
    except ImportError:  # also one before 0.18, which a system's packages may bring
        asyncio.run(serve)
    else:
        run(serve)


def check_ports(settings: ServeSettings) -> None:
    """Raises SettingsError if a port cannot be had: workers would share one that another program has left open."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise SettingsError(
            f"--workers {settings.workers} (serve.workers): this system cannot share a port; leave it out"
        )
    for port in ports(settings):
        _listening(settings.host, port).close()


def _listening(host: str, port: int, is_shared: bool = False) -> socket.socket:
    try:
        found: Sequence[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_shared:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            opened.bind(address)
            opened.listen(128)
            opened.setblocking(False)
        except OSError:
            opened.close()
            raise
        return opened
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"port {port} is in use by another program (serve.port, --port); choose another, such as --port "
                f"{port + 1 if port < 65535 else 8080}"
            ) from error
        raise SettingsError(f"cannot listen on {host}:{port} (serve.host, serve.port): {error.strerror}") from error
