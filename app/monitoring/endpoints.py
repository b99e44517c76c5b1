"""The answers of `/metrics` and `/health`, for any HTTP server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from app.errors import SettingsError
from app.monitoring.monitor import RunMonitor
from app.text import install_hint

if TYPE_CHECKING:
    from app.monitoring.exposition import Exposition

TEXT = "text/plain; charset=utf-8"


class Reply(NamedTuple):
    """An answer to GET."""

    status: int
    content_type: str
    body: bytes


NOT_FOUND = Reply(404, TEXT, b"not found: expected /metrics or /health\n")


class Endpoints:
    """Answers for the paths that begin at the root of a server. May be called from any thread."""

    def __init__(self, monitor: RunMonitor) -> None:
        """Raises SettingsError without the package prometheus-client."""
        self.monitor = monitor
        self._exposition = _exposition(monitor)

    def get(self, path: str, accept: str = "") -> Reply:
        """`accept` is the header of the request."""
        path = path.partition("?")[0]
        if path == "/metrics":
            return Reply(200, *self._exposition.page(accept))
        if path == "/health":
            health = self.monitor.health()
            body = json.dumps(health.as_json()).encode() + b"\n"
            return Reply(200 if health.is_healthy else 503, "application/json", body)
        return NOT_FOUND


def _exposition(monitor: RunMonitor) -> Exposition:
    try:
        from app.monitoring.exposition import Exposition
    except ImportError as error:
        raise SettingsError(
            f"monitoring.port (--metrics-port) needs prometheus-client: {install_hint('prometheus-client')}"
        ) from error
    return Exposition(monitor)
