"""How late live video is while requests keep the HTTP server busy: a real run on a camera that is played to it."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, ContextManager, Dict, List, Optional, Sequence, Tuple

import numpy as np

from app.assembly import OpenedRun, open_run
from app.capture.uri import Source
from app.output.outputs import Output
from app.output.progress import Progress
from app.pipeline import Limits, run_loop
from app.settings import Settings
from app.text import counted
from app.tools.benchmark.channels import OPEN_WITHIN_S, SETTLE_S
from app.tools.benchmark.service import Load, ServiceSpeed, measure
from app.types import FrameResult

BEGIN_S = 1.5
"""Until the clients of a measurement send at full speed."""


@dataclass(frozen=True)
class LiveTurn:
    """Some seconds without requests, and as many with them."""

    p95_alone_ms: float
    """From the arrival of a frame to its result."""
    p95_busy_ms: float
    p50_alone_ms: float
    p50_busy_ms: float
    fps_alone: float
    fps_busy: float
    requests: ServiceSpeed

    @property
    def ratio(self) -> float:
        return self.p95_busy_ms / self.p95_alone_ms

    def as_json(self) -> Dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}


class Ages:
    """An output that notes when each frame was processed, and how old it was."""

    name = "the measurement"

    def __init__(self) -> None:
        self.noted: List[Tuple[float, float]] = []

    def handle(self, result: FrameResult) -> None:
        self.noted.append((time.monotonic(), result.latency_s))

    def close(self) -> None:
        """Does nothing: an output has to have it."""

    def between(self, begin: float, end: float) -> np.ndarray:
        """In milliseconds."""
        return 1000 * np.array([age for moment, age in list(self.noted) if begin <= moment < end] or [np.nan])


def measure_live(
    settings: Settings,
    camera: Source,
    server: Tuple[Sequence[Output], Callable[[OpenedRun], ContextManager[object]]],
    load: Load,
    portrait: bytes,
    seconds: float,
    turns: int,
    progress: Progress,
) -> List[LiveTurn]:
    """Runs the program on a camera, with the HTTP server next to it. Fewer turns, if the camera ends.

    `server` is what the run needs for it: outputs, and what runs alongside.
    """
    outputs, alongside = server
    address = f"http://{settings.serve.host}:{settings.serve.port}"
    ages, stop = Ages(), threading.Event()
    measured: List[LiveTurn] = []
    count = progress.counter("measuring live video")

    def measure_turns() -> None:
        try:
            _until_settled(ages, stop)
            for done in range(turns):
                count(done, turns)
                turn = _turn(ages, address, load, portrait, seconds, stop)
                if turn is None:
                    return
                measured.append(turn)
        finally:
            stop.set()

    at_most_s = OPEN_WITHIN_S + SETTLE_S + turns * (4 * seconds + 10 * BEGIN_S)
    with open_run(settings, [camera], progress, [*outputs, ages]) as opened, alongside(opened):
        measuring = threading.Thread(target=measure_turns, daemon=True)
        measuring.start()
        try:
            run_loop(opened.channels, opened.pipeline, opened.outputs, Limits(None, at_most_s, stop))
        finally:
            stop.set()
        measuring.join()
    return measured


def _until_settled(ages: Ages, stop: threading.Event) -> None:
    """Waits for the first frame, and until networks and reader are warm."""
    while not ages.noted and not stop.wait(0.05):
        pass
    stop.wait(SETTLE_S)


def _turn(
    ages: Ages, address: str, load: Load, portrait: bytes, seconds: float, stop: threading.Event
) -> Optional[LiveTurn]:
    begin = time.monotonic()
    if stop.wait(seconds):
        return None
    end = time.monotonic()
    alone = ages.between(begin, end)
    speed = measure(address, load, portrait, seconds + BEGIN_S)
    busy_begin, busy_end = end + BEGIN_S, time.monotonic()
    busy = ages.between(busy_begin, busy_end)
    return LiveTurn(
        float(np.percentile(alone, 95)),
        float(np.percentile(busy, 95)),
        float(np.percentile(alone, 50)),
        float(np.percentile(busy, 50)),
        len(alone) / (end - begin),
        len(busy) / (busy_end - busy_begin),
        speed,
    )


def live_text(turns: Sequence[LiveTurn]) -> str:
    ratios = [turn.ratio for turn in turns]

    def middle(field: str) -> float:
        return float(np.median([getattr(turn, field) for turn in turns]))

    load = turns[0].requests.load
    rate = float(np.median([turn.requests.pictures_per_s for turn in turns]))
    lines = (
        f"live video, 1280x720, from the arrival of a frame to its result; medians of {counted(len(turns), 'turn')}:",
        f"  no requests: p50 {middle('p50_alone_ms'):.0f} ms, p95 {middle('p95_alone_ms'):.0f} ms, "
        f"{middle('fps_alone'):.1f} frames/s",
        f"  {counted(load.clients, 'client')}, {rate:.0f} pictures/s: p50 {middle('p50_busy_ms'):.0f} ms, "
        f"p95 {middle('p95_busy_ms'):.0f} ms, {middle('fps_busy'):.1f} frames/s",
        f"  p95 is {np.median(ratios):.2f} times that without requests ({min(ratios):.2f} to {max(ratios):.2f})",
    )
    return "\n".join(lines)
