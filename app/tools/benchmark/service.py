"""How many pictures a second the HTTP server answers: a real server in this process, its clients in another one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import msgspec
import numpy as np

from app.files import CODE_FOLDER
from app.recognizer import Recognizer, StageTimer
from app.settings import Settings
from app.text import counted, percentage, table
from app.tools.benchmark.stopwatch import Spread
from app.tools.machine import memory_mb
from app.vision.align import TEMPLATE_SIZE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

BACKGROUND = 96
OWN_TIME_RUNS = 100
PAUSE_S = 0.002
MIXED_SIZES = (1.0, 0.25, 0.6, 0.4, 0.85, 0.15)
SAMPLE_S, MIN_SAMPLES = 0.25, 60
FACE_SHARE = 0.4
"""Of the picture's shorter side."""


@dataclass(frozen=True)
class Load:
    """What the clients send."""

    clients: int
    batch: int = 1
    """Pictures in a request."""
    encoding: str = "json"
    work: str = "both"
    size: Tuple[int, int] = (640, 480)
    """The largest one, if the pictures are of several sizes."""
    mixed: bool = False
    """Pictures of several sizes, in turns."""
    one_by_one: bool = False
    """The server answers one request after the other."""


@dataclass(frozen=True)
class ServiceSpeed:
    """What the server did under a load."""

    load: Load
    pictures_per_s: float
    latency: Spread
    """Of the requests that were answered with 200, in milliseconds."""
    statuses: Dict[str, int]
    """How many replies had which status; 0: the connection broke."""
    cpu_ms: Optional[float]
    """Processor time of the server for each picture; None: the server is another process."""
    memory_mb: Optional[float]
    """Of the server, afterwards."""
    memory_grew_mb: Optional[float]
    memory_per_1000_mb: Optional[float]
    """How much it grew with each 1000 requests, without the first quarter; None for a short measurement."""

    def as_json(self) -> Dict[str, Any]:
        return asdict(self)


class OneByOne:
    """A layer of the server that lets one request after the other in while it is `on`: what a program does that
    has no queues, to compare with."""

    def __init__(self) -> None:
        self.on = False
        self._turn: Optional[asyncio.Lock] = None

    def around(self, app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            # Made here, because it belongs to the event loop.
            self._turn = self._turn or asyncio.Lock()
            async with self._turn if self.on else contextlib.AsyncExitStack():
                await app(scope, receive, send)

        return answer


class OwnTime(NamedTuple):
    """The time of the networks alone for one picture with one face, in milliseconds."""

    detector: float
    embedder: float
    fastest: float
    """Of both together."""


def face_picture(portrait: bytes, size: Tuple[int, int]) -> np.ndarray:
    """The portrait on a grey wall with some noise (H x W x 3, uint8, BGR)."""
    width, height = size
    face = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    assert face is not None
    side = max(16, int(FACE_SHARE * min(size)))
    face = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    wall = np.random.default_rng(0).normal(BACKGROUND, 8, (height, width, 3)).clip(0, 255).astype(np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    wall[top : top + side, left : left + side] = face
    return wall


def as_jpeg(picture: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def request_of(load: Load, portrait: bytes, shrink: float = 1.0) -> Tuple[str, bytes, Dict[str, str]]:
    """Path, body and headers of a request. Multipart has one picture in each."""
    size = (max(64, round(load.size[0] * shrink)), max(64, round(load.size[1] * shrink)))
    picture = face_picture(portrait, (TEMPLATE_SIZE, TEMPLATE_SIZE) if load.work == "embed_only" else size)
    jpeg = as_jpeg(picture)
    if load.encoding == "multipart":
        boundary = "bench-serve"
        head = 'Content-Disposition: form-data; name="file"; filename="p.jpg"\r\nContent-Type: image/jpeg'
        body = f"--{boundary}\r\n{head}\r\n\r\n".encode() + jpeg + f"\r\n--{boundary}--\r\n".encode()
        return "/find_faces", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    content: Dict[str, Any] = {
        "extract_embedding": load.work != "detection",
        "embed_only": load.work == "embed_only",
        "threshold": 0.5,
    }
    if load.encoding == "msgpack":
        content["images"] = {"data": [jpeg] * load.batch}
        kind = "application/msgpack"
        return "/extract", msgspec.msgpack.encode({**content, "msgpack": True}), {"Content-Type": kind}
    content["images"] = {"data": [base64.b64encode(jpeg).decode()] * load.batch}
    return "/extract", json.dumps(content).encode(), {"Content-Type": "application/json"}


def measure(
    address: str,
    load: Load,
    portrait: bytes,
    seconds: float,
    requests: Optional[int] = None,
    per_second: Optional[float] = None,
    is_here: bool = True,
) -> ServiceSpeed:
    """The speed under this load, for some seconds or until so many requests are answered."""
    shrinks = MIXED_SIZES if load.mixed else (1.0,)
    requests_of_sizes = [request_of(load, portrait, shrink) for shrink in shrinks]
    path, _, headers = requests_of_sizes[0]
    memory = memory_mb()
    plan = {
        "url": address + path,
        "headers": headers,
        "bodies": [base64.b64encode(body).decode() for _, body, _ in requests_of_sizes],
        "clients": load.clients,
        "seconds": seconds,
        "requests": requests,
        "per_second": per_second,
    }
    cpu = time.process_time()
    with _sampled(memory_mb) as memories:
        done = subprocess.run(
            [sys.executable, "-m", "app.tools.benchmark.http_clients"],
            input=json.dumps(plan),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=CODE_FOLDER,
        )
    cpu = time.process_time() - cpu
    replies: List[Tuple[int, float, float]] = [tuple(reply) for reply in json.loads(done.stdout)]
    good = [(began, took) for status, began, took in replies if status == 200]
    span_s = max((began + took for _, began, took in replies), default=seconds)
    pictures = load.batch * len(good)
    return ServiceSpeed(
        load,
        pictures / span_s,
        Spread.of([1000 * took for _, took in good] or [float("nan")]),
        {str(status): count for status, count in sorted(Counter(status for status, _, _ in replies).items())},
        1000 * cpu / pictures if is_here and pictures else None,
        memory_mb() if is_here else None,
        memory_mb() - memory if is_here else None,
        growth(memories, len(replies)) if is_here else None,
    )


@contextlib.contextmanager
def _sampled(value: Callable[[], float]) -> Iterator[List[float]]:
    """The value every SAMPLE_S, until the block is left."""
    samples: List[float] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            samples.append(value())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def growth(samples: Sequence[float], requests: int) -> Optional[float]:
    """How much the samples grow with each 1000 requests, by a line through all but the first quarter: until then
    networks are compiled for the shapes that come again and again."""
    settled = samples[len(samples) // 4 :]
    if len(settled) < MIN_SAMPLES or not requests:
        return None
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0]
    return float(slope * len(samples) * 1000 / requests)


def gain(speeds: Sequence[ServiceSpeed]) -> str:
    """How many times as many pictures are answered as one by one, where both were measured in turns."""
    lines = []
    for load in dict.fromkeys(replace(speed.load, one_by_one=False) for speed in speeds if speed.load.one_by_one):
        together = [speed.pictures_per_s for speed in speeds if speed.load == load]
        alone = [speed.pictures_per_s for speed in speeds if speed.load == replace(load, one_by_one=True)]
        ratios = np.divide(together[: len(alone)], alone)
        lines.append(
            f"{counted(load.clients, 'client')}, {load.batch} in a request, {load.encoding}, {load.work}: "
            f"{np.median(ratios):.2f} times as many pictures as one request after the other (median of "
            f"{counted(len(ratios), 'turn')}, {ratios.min():.2f} to {ratios.max():.2f})"
        )
    return "\n".join(lines)


def own_share(settings: Settings, portrait: bytes, speeds: Sequence[ServiceSpeed]) -> Optional[str]:
    """The part of a request that is the networks' own time, where one client sent one picture for both works."""
    alone = [speed for speed in speeds if speed.load == Load(1, size=speed.load.size, encoding=speed.load.encoding)]
    if not alone:
        return None
    with Recognizer.from_settings(settings) as recognizer:
        lines = []
        for load in dict.fromkeys(speed.load for speed in alone):
            own = own_time(recognizer, face_picture(portrait, load.size))
            latencies = [speed.latency for speed in alone if speed.load == load]
            p50 = float(np.median([latency.p50 for latency in latencies]))
            both, fastest = own.detector + own.embedder, min(latency.min for latency in latencies)
            lines.append(
                f"one client, {_sizes(load)}, {load.encoding}: the networks need {both:.1f} of {p50:.1f} ms "
                f"({percentage(both / p50, 0)}): detector {own.detector:.1f}, embedder {own.embedder:.1f}; "
                f"the fastest times, which other work disturbs less: {own.fastest:.1f} of {fastest:.1f} ms "
                f"({percentage(own.fastest / fastest, 0)})"
            )
    return "\n".join(lines)


def own_time(recognizer: Recognizer, picture: np.ndarray) -> OwnTime:
    """What the networks alone need for a picture with one face, both looks of the detector included."""
    (faces,) = recognizer.find([picture])
    crops = recognizer.crops(picture, faces[:1])
    found, embedded = [], []
    # In turns and after a pause, as in requests: without pauses, a processor has everything in its caches.
    for _ in range(OWN_TIME_RUNS):
        time.sleep(PAUSE_S)
        timer = StageTimer()
        recognizer.find([picture], timer)
        found.append(timer.milliseconds["detect"])
        with timer.stage("embed"):
            recognizer.embedder.embed(crops)
        embedded.append(timer.milliseconds["embed"])
    fastest = float(np.add(found, embedded).min())
    return OwnTime(float(np.median(found)), float(np.median(embedded)), fastest)


def speed_table(speeds: Sequence[ServiceSpeed]) -> str:
    times = "pictures/s,p50 ms,p95 ms,p99 ms,CPU ms"
    words = f"work,size,format,answered,clients,batch,{times},MB,grew MB,MB per 1000,other than 200"
    rows = []
    for speed in speeds:
        load, latency = speed.load, speed.latency
        others = ", ".join(f"{count} x {status}" for status, count in speed.statuses.items() if status != "200")
        rows.append(
            (
                load.work,
                _sizes(load),
                load.encoding,
                "one by one" if load.one_by_one else "together",
                str(load.clients),
                str(load.batch),
                f"{speed.pictures_per_s:.1f}",
                *(f"{value:.1f}" for value in (latency.p50, latency.p95, latency.p99)),
                "-" if speed.cpu_ms is None else f"{speed.cpu_ms:.1f}",
                "-" if speed.memory_mb is None else f"{speed.memory_mb:.0f}",
                "-" if speed.memory_grew_mb is None else f"{speed.memory_grew_mb:+.1f}",
                "-" if speed.memory_per_1000_mb is None else f"{speed.memory_per_1000_mb:+.2f}",
                others or "-",
            )
        )
    return table(words.split(","), rows)


def _sizes(load: Load) -> str:
    width, height = (TEMPLATE_SIZE, TEMPLATE_SIZE) if load.work == "embed_only" else load.size
    return f"{width}x{height}" + (" and less" if load.mixed else "")
