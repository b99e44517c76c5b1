"""All dialects as one ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any, Awaitable, Callable, List, Optional, Sequence

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.errors import FatalError
from app.network_thread import ShutDownError
from app.service.guard import Guard, GuardedApp
from app.service.http import Dialect, Endpoint, Handler, HttpError, Scope, Socket, header_token, json_response
from app.settings.serve import ServeSettings

logger = logging.getLogger(__name__)

TOKEN_WITHIN_S = 10.0
WRONG_METHOD_IS_NOT_FOUND = ("/api/v1/recognition/", "/api/v1/detection/", "/api/v1/verification/")
"""Where clients of CompreFace's API expect 404 instead of 405."""
NO_CACHE = {"Cache-Control": "max-age=0, no-cache, no-store, must-revalidate, proxy-revalidate"}


def application(
    dialects: Sequence[Dialect], guard: Guard, settings: ServeSettings, on_fatal: Callable[[FatalError], object]
) -> ASGIApp:
    """Answers the endpoints of all dialects; everything else is not found.

    `on_fatal` is called when the networks cannot be run any more.
    """
    routes: List[BaseRoute] = [
        Route(path, _guarded(endpoint, dialect, guard, settings.timeout_s, on_fatal), methods=[endpoint.method])
        for dialect in dialects
        for endpoint in dialect.endpoints
        # Clients of CompreFace and DeepStack write either.
        for path in dict.fromkeys((endpoint.path, endpoint.path.rstrip("/") + "/"))
    ]
    routes += [
        WebSocketRoute(socket.path, _guarded_socket(socket, guard))
        for dialect in dialects
        for socket in dialect.sockets
    ]
    return GuardedApp(Starlette(routes=routes, exception_handlers={HTTPException: _not_found}), guard, settings)


def _guarded(
    endpoint: Endpoint,
    dialect: Dialect,
    guard: Guard,
    timeout_s: float,
    on_fatal: Callable[[FatalError], object],
) -> Handler:
    """The handler of an endpoint, for those who may use it, with the dialect's own form of errors."""

    async def handle(request: Request) -> Response:
        try:
            secret = None if endpoint.scope is Scope.PUBLIC else await dialect.token(request)
            token = guard.admit(request, secret, endpoint.scope)
            request.state.client = None if token is None else token.name
            request.state.token = token
            request.state.admit = partial(guard.admit, request, secret, endpoint.scope)
            return await _answered(endpoint, request, timeout_s)
        except HttpError as error:
            response = dialect.error(error)
            response.headers.update(error.headers)
            return response
        except (asyncio.TimeoutError, ShutDownError):
            response = dialect.error(HttpError(503, "the request was not answered in time"))
            response.headers["Retry-After"] = "5"
            return response
        except ClientDisconnect:  # no one gets this
            return Response(status_code=400)
        except FatalError as error:
            on_fatal(error)
            return dialect.error(HttpError(500, "the networks cannot be run any more"))
        except Exception:  # the root of a request, on the server's thread
            number = request.state.request_id
            logger.exception("%s %s failed (request %s)", endpoint.method, endpoint.path, number)
            return dialect.error(HttpError(500, f"internal error; the log of the server says more: request {number}"))

    return handle


async def _answered(endpoint: Endpoint, request: Request, timeout_s: float) -> Response:
    """Raises asyncio.TimeoutError, and ClientDisconnect if the client has gone who asked about a picture: that need not
    be looked at any more."""
    answering = asyncio.ensure_future(endpoint.handler(request))
    tasks: List[asyncio.Future[Any]] = [answering]
    if endpoint.method == "POST" and endpoint.scope is Scope.READ:
        tasks.append(asyncio.ensure_future(_until_gone(request)))
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if answering in done:
            return answering.result()
        raise ClientDisconnect if done else asyncio.TimeoutError
    finally:
        for task in tasks:
            task.cancel()


async def _until_gone(request: Request) -> None:
    await request.state.received.wait()
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _guarded_socket(socket: Socket, guard: Guard) -> Callable[[WebSocket], Awaitable[None]]:
    """The handler of a WebSocket, for those who may use it. Browsers send the token in the first message."""

    async def handle(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            secret = await header_token(websocket)
            if secret is None and guard.needs_token and guard.visitor(websocket) is None:
                secret = await asyncio.wait_for(_first_token(websocket), TOKEN_WITHIN_S)
            guard.admit(websocket, secret, socket.scope)
            websocket.state.admit = partial(guard.admit, websocket, secret, socket.scope)
            await socket.handler(websocket)
        except WebSocketDisconnect:
            return
        except (HttpError, asyncio.TimeoutError) as error:
            status, message = (error.status, error.message) if isinstance(error, HttpError) else (408, "too slow")
            # As the statuses of HTTP: 4401 is a missing or wrong token.
            await _close(websocket, 4000 + status, message)
        except Exception:  # the root of a connection, on the server's thread
            logger.exception("%s failed", socket.path)
            await _close(websocket, 1011, "internal error")

    return handle


async def _first_token(websocket: WebSocket) -> Optional[str]:
    message = await websocket.receive_text()
    try:
        token = orjson.loads(message)["token"]
    except (ValueError, KeyError, TypeError) as error:
        raise HttpError(401, 'a token is required: send {"token": ...} first') from error
    return token if isinstance(token, str) else None


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    # The client may have gone meanwhile, and then there is nothing to close.
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await websocket.close(code, reason[:120])


async def _not_found(request: Request, error: Exception) -> Response:
    """A path or method that no dialect knows, with the keys in which clients of any dialect look for the reason."""
    assert isinstance(error, HTTPException)
    headers = {**NO_CACHE, **(error.headers or {})}
    status = error.status_code
    if status == 405:
        # Of all endpoints with this path: Starlette knows those of the first.
        matching = [one for one in request.app.routes if one.matches(request.scope)[0] is not Match.NONE]
        routes = [one for one in matching if getattr(one, "path", "") == request.url.path] or matching
        headers["Allow"] = ", ".join(sorted({name for one in routes for name in getattr(one, "methods", None) or ()}))
    if status == 405 and request.method == "OPTIONS":
        # As Flask answers it. Pages of other servers do not get more than that.
        return Response(status_code=200, headers=headers)
    if status == 405 and request.url.path.startswith(WRONG_METHOD_IS_NOT_FOUND):
        status = 404
    why = {404: "there is nothing at this path", 405: f"this path does not answer {request.method}"}
    message = f"{status} {error.detail}: {why.get(error.status_code, 'see docs/service.md')}"
    return json_response({"detail": error.detail, "message": message, "code": 0}, status, headers)
