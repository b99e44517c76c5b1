"""Replies that go on for as long as the client likes: who may have one, and what wakes them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import AsyncIterator, Awaitable, Callable, List, Optional

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from app.service.http import HttpError

SLOW_CLIENT_S = 10.0
"""A client that takes nothing for so long is disconnected."""
CHECK_TOKEN_EVERY_S = 10.0
"""How long a token that was removed still works for what is open."""


class Signal:
    """Wakes the coroutines of an event loop from any thread."""

    def __init__(self) -> None:
        self.count = 0
        """How often it was given."""
        self._lock = threading.Lock()
        self._waiting: List[asyncio.Future[None]] = []

    def give(self) -> None:
        with self._lock:
            self.count += 1
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                future.get_loop().call_soon_threadsafe(_finish, future)

    async def wait(self, seen: int, timeout_s: float) -> None:
        """Returns when it is given after it was given `seen` times, or when the time is up."""
        with self._lock:
            if self.count != seen:
                return
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
        try:
            await asyncio.wait({future}, timeout=timeout_s)
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._waiting.remove(future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Viewers:
    """How many replies without an end there are. Used by the thread of the event loop."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.count = 0

    def enter(self) -> None:
        """Each one must `leave` again. Raises HttpError (503)."""
        if self.count >= self._maximum:
            raise HttpError(503, f"{self._maximum} clients watch already (serve.max_viewers)", headers=_LATER)
        self.count += 1

    def leave(self) -> None:
        self.count -= 1


_LATER = {"Retry-After": "10"}


class Stream(Response):
    """A reply whose parts are sent as they come, until the client goes or is too slow."""

    def __init__(self, parts: AsyncIterator[bytes], media_type: str, viewers: Viewers) -> None:
        """Raises HttpError (503) if there are too many viewers."""
        viewers.enter()
        self.status_code, self.media_type, self.background = 200, media_type, None
        self.init_headers({"X-Accel-Buffering": "no"})
        self._parts = parts
        self._viewers = viewers

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            sending, gone = asyncio.ensure_future(self._send(send)), asyncio.ensure_future(_until_gone(receive))
            _, pending = await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            for result in await asyncio.gather(sending, gone, return_exceptions=True):
                # A client that takes nothing is disconnected.
                if isinstance(result, Exception) and not isinstance(result, asyncio.TimeoutError):
                    raise result
        finally:
            self._viewers.leave()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with contextlib.suppress(HttpError):  # the token was removed
            async for part in self._parts:
                message = {"type": "http.response.body", "body": part, "more_body": True}
                await taken(send(message))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def taken(sending: Awaitable[None]) -> None:
    """Waits until a client has taken what is sent. Raises asyncio.TimeoutError if it is too slow.

    Not `asyncio.wait_for`: before Python 3.12, that forgets that it is cancelled if the work ends at the same moment,
    as it does when a client goes that has read nothing.
    """
    task = asyncio.ensure_future(sending)
    try:
        await asyncio.wait({task}, timeout=SLOW_CLIENT_S)
        if not task.done():
            raise asyncio.TimeoutError
        task.result()
    finally:
        task.cancel()


class TokenCheck:
    """Whether the client of an open reply may still have it."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._admit: Optional[Callable[[], object]] = getattr(connection.state, "admit", None)
        self._due_s = asyncio.get_running_loop().time() + CHECK_TOKEN_EVERY_S

    def __call__(self) -> None:
        """Looks now and then. Raises HttpError."""
        now = asyncio.get_running_loop().time()
        if now >= self._due_s and self._admit is not None:
            self._due_s = now + CHECK_TOKEN_EVERY_S
            self._admit()
