"""A small HTTP server for the endpoints. It has threads of its own, so it answers while inference runs."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Dict

from app.errors import OutputError
from app.monitoring.endpoints import Endpoints

SLOW_CLIENT_S = 5.0
"""A client that sends nothing for so long is disconnected."""
MAX_CLIENT_S = 10.0
"""The same for one that sends its request, or takes its answer, piece by piece."""
MAX_CLIENTS = 8
"""More are disconnected: those that read metrics come every few seconds."""


class MonitoringServer:
    """Serves the endpoints until it is closed."""

    def __init__(self, host: str, port: int, endpoints: Endpoints) -> None:
        """Raises OutputError if the address cannot be used."""
        try:
            self._server = _Server((host, port), endpoints)
        except (OSError, OverflowError) as error:
            raise OutputError(
                f"monitoring.port (--metrics-port): {host}:{port} cannot be used: {error}; "
                "choose another port, or end the program that uses it"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="monitoring", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The one that the system chose, if 0 was asked for."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        host = str(self._server.server_address[0])
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def close(self) -> None:
        """Ends the server; requests in progress may be cut off. Does nothing the second time."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: Any, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self.free = threading.BoundedSemaphore(MAX_CLIENTS)
        self._began_at: Dict[Any, float] = {}
        """By connection."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """HTTPServer would ask for the name of the machine, for which a network without DNS makes it wait."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._began_at[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started at the moment
            self._has_ended(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._has_ended(request)

    def _has_ended(self, request: Any) -> None:
        self._began_at.pop(request, None)
        self.free.release()

    def service_actions(self) -> None:
        """Called twice a second."""
        oldest = time.monotonic() - MAX_CLIENT_S
        for request, began_at in self._began_at.copy().items():
            if began_at < oldest:
                with contextlib.suppress(OSError):  # it has gone meanwhile
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SLOW_CLIENT_S
    server_version = "face-recognition"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        reply = self.server.endpoints.get(self.path, self.headers.get("Accept", ""))
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every 15 s is no news."""
