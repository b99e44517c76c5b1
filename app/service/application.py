"""All dialects as one ASGI application."""

from __future__ import annotations

import asyncio
import logging
from typing import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from app.network_thread import ShutDownError
from app.service.guard import Guard, GuardedApp
from app.service.http import Dialect, Endpoint, Handler, HttpError, Scope, json_response
from app.settings.serve import ServeSettings

logger = logging.getLogger(__name__)


def application(dialects: Iterable[Dialect], guard: Guard, settings: ServeSettings) -> ASGIApp:
    """Answers the endpoints of all dialects; everything else is not found."""
    routes = [
        Route(path, _guarded(endpoint, dialect, guard, settings.timeout_s), methods=[endpoint.method])
        for dialect in dialects
        for endpoint in dialect.endpoints
        # Clients of CompreFace and DeepStack write either.
        for path in dict.fromkeys((endpoint.path, endpoint.path.rstrip("/") + "/"))
    ]
    return GuardedApp(Starlette(routes=routes, exception_handlers={HTTPException: _not_found}), guard, settings)


def _guarded(endpoint: Endpoint, dialect: Dialect, guard: Guard, timeout_s: float) -> Handler:
    """The handler of an endpoint, for those who may use it, with the dialect's own form of errors."""

    async def handle(request: Request) -> Response:
        try:
            secret = None if endpoint.scope is Scope.PUBLIC else await dialect.token(request)
            token = guard.admit(request, secret, endpoint.scope)
            request.state.client = None if token is None else token.name
            return await asyncio.wait_for(endpoint.handler(request), timeout_s)
        except HttpError as error:
            response = dialect.error(error)
            response.headers.update(error.headers)
            return response
        except (asyncio.TimeoutError, ShutDownError):
            response = dialect.error(HttpError(503, "the request was not answered in time"))
            response.headers["Retry-After"] = "5"
            return response
        except Exception:  # the root of a request, on the server's thread
            logger.exception("%s %s failed", endpoint.method, endpoint.path)
            return dialect.error(HttpError(500, "internal error; the log of the server says more"))

    return handle


async def _not_found(request: Request, error: Exception) -> Response:
    """A path or method that no dialect knows, in the words of those that clients read."""
    assert isinstance(error, HTTPException)
    message = f"{error.status_code} {error.detail}"
    return json_response({"detail": error.detail, "message": message}, error.status_code, error.headers)
