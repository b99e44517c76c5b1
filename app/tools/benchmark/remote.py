"""What it costs that a server embeds: the bytes, the time that is added, and how many devices one server carries."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, replace
from typing import Iterator, List, Sequence, Tuple

import numpy as np

from app.errors import NotNowError, SettingsError, SourceError
from app.models.loading import ModelLoader
from app.models.remote import known_pictures
from app.tools.benchmark.stopwatch import Spread
from app.vision.embedder import FaceEmbedder

PATIENT_MS = 10_000.0
"""Slow answers are measured as well; how many are too slow is said."""
WARM_UP = 3
FACES = (1, 4, 15)


@dataclass(frozen=True)
class RequestCost:
    """Of requests with so many faces, one after the other."""

    faces: int
    sent_bytes: float
    """Per request, without the headers of HTTP."""
    received_bytes: float
    here: Spread
    """Milliseconds of the same work on this machine."""
    server: Spread

    @property
    def added_ms(self) -> float:
        return self.server.p50 - self.here.p50


@dataclass(frozen=True)
class DeviceRate:
    """Of so many devices at once, each of which sends one face after the other."""

    devices: int
    faces_per_s: float
    latency: Spread
    late: int
    """Answers that took longer than `remote.timeout_ms`."""
    failed: int
    """Faces without an answer."""


@dataclass(frozen=True)
class RemoteFigures:
    network: str
    address: str
    here: str
    """What runs the network on this machine."""
    requests: Tuple[RequestCost, ...]
    rates: Tuple[DeviceRate, ...]


def measure(loader: ModelLoader, devices: Sequence[int], seconds: float) -> RemoteFigures:
    """`seconds` are those of each figure. Raises SettingsError without `remote.url`, ModelError if the server has
    another model, and SourceError if it does not answer."""
    settings = loader.settings
    if settings.remote.url is None:
        raise SettingsError("remote.url is not set: there is no server to measure; docs/remote.md")
    patient = replace(settings.remote, timeout_ms=PATIENT_MS, fallback="later")
    there = ModelLoader(replace(settings, remote=patient))
    here = ModelLoader(replace(settings, remote=replace(settings.remote, url=None)))
    with contextlib.closing(here.open_embedder()) as local, _opened(there) as remote:
        status = remote.remote
        assert status is not None
        requests = tuple(_cost(local, remote, count, seconds) for count in FACES)
        rates = tuple(_rate(there, count, seconds, settings.remote.timeout_ms) for count in devices)
        backend = local.runs_on
        runs_on = "" if backend is None else f"{backend.label}, {backend.precision}"
        return RemoteFigures(loader.embedder_entry.name, status.address, runs_on, requests, rates)


@contextlib.contextmanager
def _opened(loader: ModelLoader) -> Iterator[FaceEmbedder]:
    """The embedder of a device. Raises SourceError if the server does not answer."""
    with contextlib.closing(loader.open_embedder()) as embedder:
        status = embedder.remote
        assert status is not None
        if not status.is_up:
            raise SourceError(f"{status.address}: {status.trouble}")
        yield embedder


def _cost(local: FaceEmbedder, remote: FaceEmbedder, count: int, seconds: float) -> RequestCost:
    """In turns, so that other load on this machine affects both."""
    crops = _faces(remote, count)
    device = remote.deferring()
    here_ms: List[float] = []
    server_ms: List[float] = []
    for _ in range(WARM_UP):
        local.answers(crops), device.answers(crops)
    before, begun = remote.remote, time.monotonic()
    while not server_ms or time.monotonic() - begun < seconds:
        here_ms.append(_milliseconds(local, crops))
        server_ms.append(_milliseconds(device, crops))
    after = remote.remote
    assert before is not None and after is not None
    # A check in between sends a face as well; with one in 30 s that does not matter.
    sent, received = after.sent_bytes - before.sent_bytes, after.received_bytes - before.received_bytes
    runs = len(server_ms)
    return RequestCost(count, sent / runs, received / runs, Spread.of(here_ms), Spread.of(server_ms))


def _rate(loader: ModelLoader, devices: int, seconds: float, limit_ms: float) -> DeviceRate:
    latencies: List[List[float]] = [[] for _ in range(devices)]
    failures = [0] * devices
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(_opened(loader)) for _ in range(devices)]
        barrier = threading.Barrier(devices + 1)

        def send(number: int) -> None:
            device, face = opened[number].deferring(), _faces(opened[number], 1)
            barrier.wait()
            while time.monotonic() < until_s:
                try:
                    latencies[number].append(_milliseconds(device, face))
                except NotNowError:
                    failures[number] += 1
                    # Until the server is checked again.
                    time.sleep(0.1)

        threads = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(devices)]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        until_s = begun + seconds
        barrier.wait()
        for thread in threads:
            thread.join()
        took_s = time.monotonic() - begun
    together = [one for device in latencies for one in device]
    if not together:
        raise SourceError(f"{loader.settings.remote.url}: no answer to any of {devices} devices")
    late = sum(one > limit_ms for one in together)
    return DeviceRate(devices, len(together) / took_s, Spread.of(together), late, sum(failures))


def _faces(embedder: FaceEmbedder, count: int) -> np.ndarray:
    drawn = known_pictures(embedder.crop_size)
    return np.ascontiguousarray(np.resize(drawn, (count, *drawn.shape[1:])))


def _milliseconds(embedder: FaceEmbedder, crops: np.ndarray) -> float:
    begun = time.perf_counter()
    embedder.answers(crops)
    return 1000 * (time.perf_counter() - begun)
