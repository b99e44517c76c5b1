"""Channels over HTTP: how they are, their newest picture, and their pictures as they come."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from typing import AsyncIterator, Tuple

from starlette.requests import Request
from starlette.responses import Response

from app.credentials import masked
from app.errors import SettingsError
from app.monitoring.endpoints import Endpoints
from app.service.api.live_messages import Channel, Channels, Counters
from app.service.api.openapi import Described
from app.service.api.replies import flag, jpeg, number, reply
from app.service.core import FaceService
from app.service.enrolment import Enrolment
from app.service.http import Endpoint, HttpError, Scope
from app.service.live import LivePicture
from app.service.run_view import RunView
from app.service.streams import Stream, TokenCheck
from app.text import iso_time
from app.types import ChannelStatus

MAX_FPS = 30.0
MAX_WIDTH = 8192
_BOUNDARY = "frame"


def channel_endpoints(service: FaceService, enrolment: Enrolment, view: RunView) -> Tuple[Described, ...]:
    routes = _Routes(service, enrolment, view)
    api, one, read = "/api/v1", "/api/v1/channels/{name}", Scope.READ
    size = (("boxes", "boolean"), ("width", "integer"))
    return (
        Described(Endpoint("GET", f"{api}/channels", routes.channels, read), "The sources of the run", Channels),
        Described(
            Endpoint("POST", f"{one}/stop", routes.stop, Scope.ADMIN),
            "Close the source of a channel until it is started again; the run goes on",
            Channel,
            failures=(404, 409),
        ),
        Described(
            Endpoint("POST", f"{one}/start", routes.start, Scope.ADMIN),
            "Open the source of a stopped channel again",
            Channel,
            failures=(404, 409),
        ),
        Described(
            Endpoint("GET", f"{one}/snapshot.jpg", routes.snapshot, read),
            "The newest picture of a channel",
            media_type="image/jpeg",
            query=size,
            failures=(404,),
        ),
        Described(
            Endpoint("GET", f"{one}/mjpeg", routes.mjpeg, read),
            "The pictures of a channel as they come, as motion JPEG",
            media_type="multipart/x-mixed-replace",
            query=(("fps", "number"), *size),
            failures=(404,),
        ),
        Described(
            Endpoint("GET", f"{api}/metrics", routes.metrics, read),
            "Metrics for Prometheus",
            media_type="text/plain",
            failures=(404,),
        ),
    )


class _Routes:
    def __init__(self, service: FaceService, enrolment: Enrolment, view: RunView) -> None:
        self._service = service
        self._enrolment = enrolment
        self._view = view
        self._live = view.live

    async def channels(self, request: Request) -> Response:
        run = self._view.monitor.run
        level = 0 if run is None else int(run.degrade.level)
        return reply(
            Channels(
                [self._shown(status) for status in self._view.channels()], level, self._view.events.log is not None
            )
        )

    async def stop(self, request: Request) -> Response:
        return self._switch(request, "stop")

    async def start(self, request: Request) -> Response:
        return self._switch(request, "start")

    def _switch(self, request: Request, action: str) -> Response:
        name, run = self._channel(request), self._view.monitor.run
        if run is None:
            raise HttpError(409, "the run has not begun yet")
        before = next(status.state for status in run.channels.status() if status.name == name)
        if before.over:
            raise HttpError(409, f"{name} has {before}; only a new run reads it again")
        status = run.channels.stop(name) if action == "stop" else run.channels.start(name)
        if status.state is not before:
            self._enrolment.note(request, f"{action} channel", channel=name)
        return reply(self._shown(status))

    async def snapshot(self, request: Request) -> Response:
        name = self._channel(request)
        picture = self._live.newest(name)
        if picture is None:
            raise HttpError(503, f"{name}: there is no picture yet", headers={"Retry-After": "2"})
        encoded = await self._jpeg(picture, *_size(request))
        return jpeg(encoded, {"X-Captured-At": iso_time(picture.result.frame.captured_at)})

    async def mjpeg(self, request: Request) -> Response:
        name = self._channel(request)
        fps = number(request, "fps", 5.0, 0.1, MAX_FPS)
        parts = self._parts(name, fps, _size(request), TokenCheck(request))
        return Stream(parts, f"multipart/x-mixed-replace; boundary={_BOUNDARY}", self._view.viewers)

    async def metrics(self, request: Request) -> Response:
        try:
            endpoints = Endpoints(self._view.monitor)
        except SettingsError as error:
            raise HttpError(404, str(error)) from error
        answer = await self._service.run(partial(endpoints.get, "/metrics", request.headers.get("accept", "")))
        return Response(answer.body, answer.status, headers={"Content-Type": answer.content_type})

    async def _parts(
        self, name: str, fps: float, size: Tuple[int, bool], check_token: TokenCheck
    ) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        shown, due_s = None, clock()
        while not self._live.is_closed:
            seen, picture = self._live.changed.count, self._live.newest(name)
            if picture is None or picture is shown:
                await self._live.changed.wait(seen, 5.0)
            elif clock() < due_s:
                await asyncio.sleep(due_s - clock())
                continue
            else:
                encoded = await self._jpeg(picture, *size)
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(encoded)}\r\n\r\n"
                yield head.encode() + encoded + b"\r\n"
                shown, due_s = picture, max(due_s, clock() - 1 / fps) + 1 / fps
            check_token()

    async def _jpeg(self, picture: LivePicture, width: int, boxes: bool) -> bytes:
        annotator = self._live.annotated if boxes else None
        return await picture.jpeg(picture.width(width), annotator, self._service.run)

    def _channel(self, request: Request) -> str:
        name = str(request.path_params["name"])
        if name not in self._live.channels:
            raise HttpError(404, f"there is no channel {name!r}")
        return name

    def _shown(self, status: ChannelStatus) -> Channel:
        activity = self._live.activity(status.name)
        return Channel(
            name=status.name,
            address=masked(status.address),
            state=str(status.state),
            live=status.live,
            processed=activity.processed,
            fps=round(activity.fps, 2),
            source_fps=status.fps,
            last_frame=None if activity.last_frame is None else iso_time(activity.last_frame),
            latency_ms=None if activity.latency_s is None else round(1000 * activity.latency_s, 1),
            last_error=None if status.last_error is None else masked(status.last_error),
            counters=Counters(**asdict(status.counters)),
        )


def _size(request: Request) -> Tuple[int, bool]:
    """Width, and whether to draw boxes."""
    return int(number(request, "width", 0, 0, MAX_WIDTH)), flag(request, "boxes")
