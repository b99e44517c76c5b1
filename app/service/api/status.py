"""How the server is doing, and what `doctor` says about its machine."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Dict, List, Optional, Tuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.service.api.openapi import Described
from app.service.api.replies import reply
from app.service.core import FaceService
from app.service.http import Endpoint, HttpError, Scope
from app.service.measurements import EVERY_S, Measurement, Measurements
from app.service.run_view import Doctor, RunView
from app.text import iso_time

FINDINGS_HOLD_S = 60.0
"""The checks take seconds; clients that ask again get the same findings for so long."""


class Series(msgspec.Struct):
    """The last half hour, the oldest value first; all lists are equally long. Null: nothing was measured."""

    times: List[float]
    """Seconds since the epoch."""
    fps: Dict[str, List[Optional[float]]]
    """Frames that were looked at per second, by channel."""
    latency_ms: Dict[str, List[Optional[float]]]
    """By live channel, from the arrival of a frame to its result, on average."""
    stages_ms: Dict[str, List[Optional[float]]]
    """By stage, per frame, on average."""
    degrade_level: List[int]
    memory_mb: List[float]
    """Of the server and the processes that it has started."""
    reconnects: List[int]
    """Of all channels since the start."""


class Status(msgspec.Struct):
    version: str
    started: str
    health: str
    """`ok`, `warning` or `failing`."""
    problems: List[str]
    """As in `/health` of docs/monitoring.md."""
    every_s: float
    """How often values are measured."""
    series: Series


class Finding(msgspec.Struct):
    status: str
    """`OK`, `-` (neither good nor bad), `warning` or `PROBLEM`."""
    text: str
    advice: str
    """How to fix it."""


class Section(msgspec.Struct):
    title: str
    findings: List[Finding]


class Findings(msgspec.Struct):
    time: str
    """When the checks were made."""
    sections: List[Section]


def status_endpoints(service: FaceService, view: RunView, measurements: Measurements) -> Tuple[Described, ...]:
    started = iso_time(time.time())
    examination = _Examination(service, view.doctor)

    async def status(request: Request) -> Response:
        health = view.monitor.health().as_json()
        taken = measurements.taken
        return reply(Status(__version__, started, health["status"], health["problems"], EVERY_S, _series(taken)))

    async def doctor(request: Request) -> Response:
        return reply(await examination.findings())

    api, read = "/api/v1", Scope.READ
    return (
        Described(
            Endpoint("GET", f"{api}/status", status, read), "How the server was doing in the last half hour", Status
        ),
        Described(
            Endpoint("GET", f"{api}/doctor", doctor, read),
            "What doctor finds on this machine, without its cameras",
            Findings,
            failures=(404,),
        ),
    )


class _Examination:
    """One at a time, and not more often than now and then."""

    def __init__(self, service: FaceService, doctor: Optional[Doctor]) -> None:
        self._service = service
        self._doctor = doctor
        self._made_s = 0.0
        self._running: Optional[asyncio.Future[Findings]] = None

    async def findings(self) -> Findings:
        if self._doctor is None:
            raise HttpError(404, "this server cannot check its machine; run: python -m app doctor")
        running, now = self._running, time.monotonic()
        is_old = running is not None and running.done() and now - self._made_s > FINDINGS_HOLD_S
        if running is None or is_old or (running.done() and running.exception() is not None):
            self._made_s = now
            running = self._running = asyncio.ensure_future(self._made(self._doctor))
        # One client who leaves does not take the answer from the others.
        return await asyncio.shield(running)

    async def _made(self, doctor: Doctor) -> Findings:
        sections: List[Dict[str, Any]] = await self._service.run(doctor)
        return Findings(iso_time(time.time()), msgspec.convert(sections, List[Section]))


def _series(taken: List[Measurement]) -> Series:
    def by_name(values: List[Dict[str, float]], digits: int) -> Dict[str, List[Optional[float]]]:
        names = dict.fromkeys(name for one in values for name in one)
        return {name: [round(one[name], digits) if name in one else None for one in values] for name in names}

    return Series(
        times=[round(one.time, 1) for one in taken],
        fps=by_name([one.fps for one in taken], 2),
        latency_ms=by_name([one.latency_ms for one in taken], 1),
        stages_ms=by_name([one.stages_ms for one in taken], 2),
        degrade_level=[one.degrade_level for one in taken],
        memory_mb=[round(one.memory_mb, 1) for one in taken],
        reconnects=[one.reconnects for one in taken],
    )
