"""How many live channels this machine carries: real readers, decoders and networks, on cameras that it plays itself."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from app.assembly import open_run
from app.capture.uri import parse_source
from app.errors import AppError
from app.files import CODE_FOLDER
from app.look import Look
from app.output.progress import Progress
from app.output.video_encoders import open_video_writer
from app.pipeline import Limits, run_loop
from app.recognizer import Recognizer
from app.settings import DegradeSettings, Settings
from app.text import counted, percentage, table
from app.tools.demo.portraits import Portrait, load_backdrops
from app.tools.demo.visitors import Head, SensorNoise, Visitor, cut_out, draw
from app.tools.machine import read_system_file
from app.tools.replay import alone
from app.tools.soak.usage import readers
from app.types import FrameResult
from app.vision.quality import main_face

WIDTH, HEIGHT, FPS = 1280, 720, 10
CYCLE_S = 20
"""Each camera shows the same again after this time."""
FACE_PX = 72
NOISE = 3.0
CRF = 26

OPEN_WITHIN_S = 60.0
SETTLE_S = 3.0
"""After the first frame of the last channel: readers catch up, backgrounds are learned."""
MIN_SHARE = 0.9
"""A channel of which fewer frames are processed starves."""
FIRST_CHANNELS, MAX_CHANNELS = 2, 256


@dataclass(frozen=True)
class ChannelLoad:
    """The program with a number of channels, for some seconds."""

    channels: int
    present: float
    """Share of the time in which somebody is in the picture."""
    p50_age_s: float
    p95_age_s: float
    """From the arrival of a frame to its result."""
    slowest_fps: float
    """Of the channel of which the fewest frames were processed."""
    loop_ms: float
    """CPU per frame of the program without its readers."""
    reader_ms: float
    """CPU per frame of the processes that read and decode."""
    cores: float
    """That the program and its readers used together."""
    camera_cores: float
    """That the cameras used, which are not part of the program."""
    looks: Dict[str, float]
    """Where the detector looked: shares of the frames."""
    max_age_s: float

    @property
    def carried(self) -> bool:
        return self.p95_age_s <= self.max_age_s and self.slowest_fps >= MIN_SHARE * FPS

    def row(self) -> Tuple[str, ...]:
        looked = self.looks[str(Look.SCAN)] + self.looks[str(Look.REGIONS)]
        return (
            percentage(self.present, 0),
            str(self.channels),
            "yes" if self.carried else "no",
            f"{1000 * self.p50_age_s:.0f}",
            f"{1000 * self.p95_age_s:.0f}",
            f"{self.slowest_fps:.1f}",
            f"{self.loop_ms:.2f}",
            f"{self.reader_ms:.2f}",
            f"{self.cores:.2f}",
            percentage(looked, 0),
        )

    def as_json(self) -> Dict[str, Any]:
        return {**dataclasses.asdict(self), "carried": self.carried}


Measured = Optional[ChannelLoad]
"""None: the program did not get pictures of all channels in time."""

COLUMNS = (
    "somebody there",
    "channels",
    "carried",
    "p50 age ms",
    "p95 age ms",
    "slowest frames/s",
    "loop ms/frame",
    "reader ms/frame",
    "cores",
    "detector ran",
)


def text(loads: Sequence[ChannelLoad]) -> str:
    best: List[str] = []
    for present in sorted({load.present for load in loads}):
        some = [load for load in loads if load.present == present]
        carried = max((load.channels for load in some if load.carried), default=0)
        over = min((load.channels for load in some if not load.carried and load.channels > carried), default=None)
        limit = "more were not tried" if over is None else f"{over} were too many"
        best.append(
            f"somebody there {percentage(present, 0)} of the time: {counted(carried, 'channel')} carried, {limit}"
        )
    idle = next((load for load in loads if load.present == 0), None)
    if idle is not None:
        loop, reader = (FPS * milliseconds / 10 for milliseconds in (idle.loop_ms, idle.reader_ms))
        best.append(f"an idle channel: {loop:.1f} % of a core for the program, {reader:.1f} % for its reader")
    return "\n\n".join([table(COLUMNS, [load.row() for load in loads]), "\n".join(best)])


class Watch:
    """An output that measures for some seconds once all channels run, and then ends the run."""

    name = "the measurement"

    def __init__(self, channels: Sequence[str], seconds: float, cameras: int, stop: threading.Event) -> None:
        """`cameras` is the process that plays them."""
        self._waiting = set(channels)
        self._seconds = seconds
        self._cameras = cameras
        self._stop = stop
        self._begin_at: Optional[float] = None
        self._before: Optional[np.ndarray] = None
        self.used: Optional[np.ndarray] = None
        """Seconds that passed, and CPU seconds of the program, its readers and the cameras; None: too short."""
        self.ages_s: List[float] = []
        self.frames: Counter[str] = Counter()
        self.looks: Counter[Look] = Counter()

    def handle(self, result: FrameResult) -> None:
        now = time.monotonic()
        self._waiting.discard(result.frame.source)
        if self._waiting or self._stop.is_set():
            return
        if self._begin_at is None:
            self._begin_at = now + SETTLE_S
        if now < self._begin_at:
            return
        if self._before is None:
            self._before = self._usage(now)
        elif now - self._begin_at >= self._seconds:
            self.used = self._usage(now) - self._before
            self._stop.set()
            return
        self.ages_s.append(result.latency_s)
        self.frames[result.frame.source] += 1
        self.looks[result.look] += 1

    def close(self) -> None:
        """Does nothing: an output has to have it."""

    def _usage(self, now: float) -> np.ndarray:
        return np.array([now, time.process_time(), sum(map(cpu_s, readers(os.getpid()))), cpu_s(self._cameras)])


def cpu_s(pid: int) -> float:
    """The processor time of another process so far; 0 if it is gone."""
    fields = read_system_file(Path("/proc") / str(pid) / "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def measure(
    settings: Settings,
    addresses: Sequence[str],
    present: float,
    seconds: float,
    max_age_s: float,
    cameras: int,
    progress: Progress,
) -> Measured:
    """Runs the whole program on these cameras for some seconds. None if it gets no picture of some of them in time."""
    sources = [parse_source(address, f"channel-{number + 1}") for number, address in enumerate(addresses)]
    stop = threading.Event()
    watch = Watch([source.name for source in sources], seconds, cameras, stop)
    with open_run(settings, sources, progress, [watch]) as opened:
        limits = Limits(None, OPEN_WITHIN_S + SETTLE_S + 2 * seconds, stop)
        run_loop(opened.channels, opened.pipeline, opened.outputs, limits)
    if watch.used is None:
        return None
    passed, loop, reading, playing = watch.used.tolist()
    frames = sum(watch.frames.values())
    return ChannelLoad(
        channels=len(sources),
        present=present,
        p50_age_s=float(np.percentile(watch.ages_s, 50)),
        p95_age_s=float(np.percentile(watch.ages_s, 95)),
        slowest_fps=min(watch.frames[source.name] for source in sources) / passed,
        loop_ms=1000 * loop / frames,
        reader_ms=1000 * reading / frames,
        cores=(loop + reading) / passed,
        camera_cores=playing / passed,
        looks={str(look): watch.looks[look] / frames for look in Look},
        max_age_s=max_age_s,
    )


def settings_for(settings: Settings, gallery: Path) -> Settings:
    """Nothing is written but to the temporary gallery, and the machine gets no help from leaving out work."""
    own = alone(settings)
    return dataclasses.replace(
        own,
        gallery=dataclasses.replace(own.gallery, folder=gallery),
        strangers=dataclasses.replace(settings.strangers, folder=None),
        degrade=DegradeSettings(level="off"),
    )


def search(load_of: Callable[[int], Measured], cores: int) -> List[ChannelLoad]:
    """Measures until the greatest number that is carried is known to within a tenth.

    `load_of` says None for a number with which the program does not even start.
    """
    loads: Dict[int, ChannelLoad] = {}
    over = MAX_CHANNELS + 1
    carried, count = 0, FIRST_CHANNELS
    while count < over and count not in loads:
        load = load_of(count)
        if load is not None:
            loads[count] = load
        if load is None or not load.carried:
            over = count
            count = max(1, (carried + over) // 2)
            continue
        carried = count
        if over <= MAX_CHANNELS:
            count = (carried + over) // 2 if over - carried > max(1, carried // 10) else carried
        else:
            # What the processors would carry, had they nothing else to do.
            count = min(MAX_CHANNELS, max(carried + 1, int(carried * 1.25), int(0.8 * carried * cores / load.cores)))
    return sorted(loads.values(), key=lambda one: one.channels)


def write_clips(
    folder: Path, portraits: Sequence[Portrait], recognizer: Recognizer, shares: Sequence[float]
) -> List[Path]:
    """A video for each share of the time in which somebody is in the picture: `present-30.mp4`."""
    wall = np.tile(load_backdrops()[0], (2, 3))[:HEIGHT, :WIDTH, None]
    background = np.asarray(wall * np.array([0.5, 0.6, 0.7]) + 50, np.uint8)
    heads = [_head(recognizer, portrait) for portrait in portraits]
    paths = []
    for share in shares:
        path = folder / f"present-{round(100 * share)}.mp4"
        noise = SensorNoise(background.shape, NOISE, np.random.default_rng(1))
        writer = open_video_writer(path, (WIDTH, HEIGHT), CRF, FPS)
        try:
            for frame in range(CYCLE_S * FPS):
                visitors = _visitors(heads, frame / FPS, share)
                writer.write(noise.add(draw(background, visitors)), frame / FPS)
        finally:
            writer.close(1 / FPS)
        paths.append(path)
    return paths


def _head(recognizer: Recognizer, portrait: Portrait) -> Head:
    (faces,) = recognizer.find([portrait.image])
    face = main_face(faces, portrait.image.shape[1::-1])
    return cut_out(portrait.image, faces.boxes[face])


def _visitors(heads: Sequence[Head], second: float, share: float) -> List[Visitor]:
    """Somebody walks in from the left, stops, and walks out again; with a share of 1, two people stay."""
    sway = 0.3 * FACE_PX * float(np.sin(second * 1.7))
    if share >= 1:
        return [Visitor(heads[at], 400 + 450 * at + sway, 250, FACE_PX, second * 5.5) for at in (0, 1)]
    visit_s = share * CYCLE_S
    if second >= visit_s:
        return []
    reach = min(1.0, 2.5 * min(second, visit_s - second) / visit_s)
    return [Visitor(heads[0], -FACE_PX + reach * (WIDTH / 2 + FACE_PX) + sway, 250, FACE_PX, second * 5.5)]


@contextlib.contextmanager
def cameras(clips: Sequence[Path]) -> Iterator[Tuple[int, int]]:
    """Plays the clips as RTSP cameras in another process: its id, and its port."""
    path = os.pathsep.join(filter(None, [str(CODE_FOLDER), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-m", "app.tools.benchmark.rtsp_cameras", *map(str, clips)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        # Ctrl-C is for the benchmark, which ends its cameras.
        start_new_session=True,
    )
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line.strip().isdigit():
            raise AppError("the cameras of the benchmark do not start")
        yield process.pid, int(line)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def addresses(port: int, clip: Path, count: int) -> List[str]:
    """Cameras that show the clip, each from another second on, so that people come at different times."""
    return [f"rtsp://127.0.0.1:{port}/{clip.stem}/{number * CYCLE_S / count:.0f}" for number in range(count)]
