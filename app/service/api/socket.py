"""Live pictures and events for a browser tab, over one WebSocket.

The server sends pictures as binary messages: the length of a header (4 bytes, big endian), the header as JSON, and a
JPEG. Events are text messages. The client says what it wants to see, `{"want": {"door": [640, 10]}}` (width and frames
per second by channel), and acknowledges each picture, `{"ack": 17}`: until then no other one of that channel is sent,
so a slow connection gets fewer pictures and never old ones.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Dict, Optional, Tuple

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.service.api.openapi import Described
from app.service.core import FaceService
from app.service.http import Endpoint, HttpError, Scope, Socket
from app.service.live import LivePicture, shown_faces
from app.service.run_view import RunView
from app.service.streams import Signal, TokenCheck, taken

MAX_FPS = 30.0
MAX_WIDTH = 8192
IDLE_S = 5.0


PATH = "/api/v1/live"


def live_endpoints() -> Tuple[Described, ...]:
    """What the document says of the WebSocket, and what those get who do not ask for one."""

    async def upgrade(request: Request) -> Response:
        raise HttpError(
            426, "this is a WebSocket; docs/service.md describes its messages", headers={"Upgrade": "websocket"}
        )

    endpoint = Endpoint("GET", PATH, upgrade, Scope.READ)
    return (
        Described(
            endpoint, "Pictures and events over a WebSocket", media_type="image/jpeg", status=101, failures=(426,)
        ),
    )


def live_sockets(service: FaceService, view: RunView) -> Tuple[Socket, ...]:
    async def serve(websocket: WebSocket) -> None:
        """Until the client goes, is too slow, or may not watch any longer. Raises HttpError."""
        view.viewers.enter()
        try:
            tab = _Tab(websocket, service, view)
            tasks = [asyncio.ensure_future(work) for work in (tab.receive(), tab.send_pictures(), tab.send_events())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(RuntimeError):
                await websocket.close(1001, "the server ends")
        finally:
            view.viewers.leave()

    return (Socket(PATH, serve, Scope.READ),)


class _Wanted:
    """What a tab wants of a channel, and how far it is."""

    def __init__(self) -> None:
        self.width = 0
        self.fps = 0.0
        self.due_s = 0.0
        """Not before this time."""
        self.waits_for: Optional[int] = None
        """The picture that the client has not acknowledged."""
        self.shown: Optional[LivePicture] = None


class _Tab:
    def __init__(self, websocket: WebSocket, service: FaceService, view: RunView) -> None:
        self._websocket = websocket
        self._service = service
        self._view = view
        self._check_token = TokenCheck(websocket)
        self._wanted: Dict[str, _Wanted] = {}
        self._told = Signal()
        """The client has said something."""
        self._number = 0
        self._begin = view.events.position(None)

    async def receive(self) -> None:
        while True:
            received = await self._websocket.receive()
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received.get("code", 1005))
            message = _read(received.get("text") or "")
            for name, (width, fps) in _wishes(message).items():
                if name not in self._view.live.channels:
                    await self._say({"error": f"there is no channel {name!r}"})
                    continue
                known = self._wanted.setdefault(name, _Wanted())
                if (width, fps) != (known.width, known.fps):
                    known.width, known.fps, known.due_s = width, fps, asyncio.get_running_loop().time()
            if "want" in message:
                self._wanted = {name: one for name, one in self._wanted.items() if name in message["want"]}
            acknowledged = message.get("ack")
            if isinstance(acknowledged, int):
                for one in self._wanted.values():
                    # Messages come in order: whoever has this picture has those before.
                    if one.waits_for is not None and one.waits_for <= acknowledged:
                        one.waits_for = None
            self._told.give()

    async def send_events(self) -> None:
        feed = self._view.events
        async for records in feed.follow(self._begin, IDLE_S):
            for record in records:
                await self._say({"id": feed.id_of(record), **record})

    async def send_pictures(self) -> None:
        live, clock = self._view.live, asyncio.get_running_loop().time
        while not live.is_closed:
            changed, told = live.changed.count, self._told.count
            self._check_token()
            free = {
                name: picture
                for name, one in self._wanted.items()
                for picture in [live.newest(name)]
                if one.waits_for is None and picture is not None and picture is not one.shown
            }
            now = clock()
            due = [name for name in free if self._wanted[name].due_s <= now]
            for name in due:
                await self._send_picture(name, free[name])
            if due:
                continue
            if free:
                # A newer picture would not be sent earlier.
                pause_s = min(self._wanted[name].due_s for name in free) - now
                await self._told.wait(told, max(0.0, pause_s))
            elif any(one.waits_for is None for one in self._wanted.values()):
                await _either(live.changed.wait(changed, IDLE_S), self._told.wait(told, IDLE_S))
            else:
                await self._told.wait(told, IDLE_S)

    async def _send_picture(self, name: str, picture: LivePicture) -> None:
        one = self._wanted.get(name)
        if one is None:
            return
        self._number += 1
        one.shown, one.waits_for = picture, self._number
        now = asyncio.get_running_loop().time()
        one.due_s = max(one.due_s, now - 1 / one.fps) + 1 / one.fps
        width, result = picture.width(one.width), picture.result
        number = self._number
        encoded = await picture.jpeg(width, None, self._service.run)
        header = orjson.dumps(
            {
                "ch": name,
                "id": number,
                "t": round(result.frame.shown_time(result.frame.source_time), 3),
                "faces": shown_faces(result, width),
                "degrade": result.degrade_level,
            }
        )
        message = len(header).to_bytes(4, "big") + header + encoded
        await taken(self._websocket.send_bytes(message))

    async def _say(self, content: Dict[str, Any]) -> None:
        await taken(self._websocket.send_text(orjson.dumps(content).decode()))


async def _either(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(one) for one in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _read(text: str) -> Dict[str, Any]:
    """Raises HttpError (400)."""
    try:
        message = orjson.loads(text)
    except ValueError as error:
        raise HttpError(400, "expected a JSON object") from error
    if not isinstance(message, dict):
        raise HttpError(400, "expected a JSON object")
    return message


def _wishes(message: Dict[str, Any]) -> Dict[str, Tuple[int, float]]:
    """Width and frames per second by channel. Raises HttpError (400)."""
    wanted = message.get("want", {})
    found = {}
    try:
        for name, (width, fps) in wanted.items():
            if not (0 <= width <= MAX_WIDTH and 0.1 <= fps <= MAX_FPS):
                raise ValueError
            found[str(name)] = int(width), float(fps)
    except (AttributeError, TypeError, ValueError) as error:
        raise HttpError(
            400, f"want: expected channels with [width, fps]: 0 to {MAX_WIDTH}, 0.1 to {MAX_FPS:g}"
        ) from error
    return found
