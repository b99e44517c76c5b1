"""The memory and the start of a whole run on live cameras, which the benchmark plays itself."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set, Tuple

from app.errors import AppError
from app.files import CODE_FOLDER
from app.settings import DegradeSettings, Settings
from app.text import counted, table
from app.tools.machine import describe_machine, memory_mb, read_system_file
from app.tools.soak.usage import descendants, readers
from app.types import FrameResult

SAMPLE_EVERY_S = 0.2
PEOPLE, CLIP_FRAMES = 3, 100
START_WITHIN_S = 120.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ProcessMemory:
    """Of one process, when all of them together had the most."""

    name: str
    resident_mb: float
    shared_mb: float
    """Of it libraries, files and frames that other processes may have as well."""


@dataclass(frozen=True)
class Footprint:
    """A run with a number of channels, for some seconds."""

    channels: int
    seconds: float
    limit_mb: float
    processes: Tuple[ProcessMemory, ...]
    imported_mb: float
    """Of the program, once its libraries are loaded."""
    opened_mb: float
    """Of the program, once networks, gallery and outputs are open."""
    start_s: Dict[str, float]
    """When each part was ready, since the start of the process."""
    frames: int
    machine: str

    @property
    def resident_mb(self) -> float:
        """Memory that processes share counts in each."""
        return sum(process.resident_mb for process in self.processes)

    @property
    def fits(self) -> bool:
        return self.resident_mb <= self.limit_mb

    def text(self) -> str:
        rows = [(one.name, f"{one.resident_mb:.0f}", f"{one.shared_mb:.0f}") for one in self.processes]
        return "\n\n".join(
            [
                self.machine,
                table(("process", "resident MB", "of it shared"), [*rows, ("together", f"{self.resident_mb:.0f}", "")]),
                f"the program: {self.imported_mb:.0f} MB with its libraries, {self.opened_mb:.0f} MB with networks, "
                "gallery and outputs",
                "ready after: " + ", ".join(f"{what} {second:.1f} s" for what, second in self.start_s.items()),
                f"{'OK  ' if self.fits else 'FAIL'}  {counted(self.channels, 'channel')} of 1280x720, videos written, "
                f"{counted(self.frames, 'frame')} in {self.seconds:.0f} s: {self.resident_mb:.0f} of "
                f"{self.limit_mb:.0f} MB",
            ]
        )

    def as_json(self) -> Dict[str, Any]:
        return {**dataclasses.asdict(self), "resident_mb": self.resident_mb, "fits": self.fits}


def measure_run(settings: Settings, folder: Path, channels: int, seconds: float, limit: int) -> Footprint:
    """Runs the program on `channels` cameras in another process. `folder` is for pictures, videos and events."""
    if sys.platform != "linux":
        raise AppError("the memory of processes can be measured on Linux only")
    from app.tools.benchmark.channels import addresses, cameras
    from app.tools.demo.portraits import load_portraits, write_crowd_video, write_enrolment_photos

    portraits = load_portraits()
    write_enrolment_photos(folder / "gallery", portraits)
    write_crowd_video(folder / "people.mp4", portraits, PEOPLE, CLIP_FRAMES)
    with cameras([folder / "people.mp4"]) as (_, port):
        chosen = _settings_for(settings, folder)
        with _started((chosen, addresses(port, folder / "people.mp4", channels), seconds, time.time())) as process:
            sample = _largest_sample(process, seconds)
            out = process.stdout.read().decode() if process.stdout else ""
    if process.returncode != 0 or not sample:
        raise AppError(f"the run that was measured failed ({process.returncode}); see its messages above")
    facts = json.loads(out.splitlines()[-1])
    return Footprint(channels, seconds, limit / 1e6, tuple(sample), **facts)


def _settings_for(settings: Settings, folder: Path) -> Settings:
    """What is written goes to the folder, and the machine gets no help from leaving out work."""
    return dataclasses.replace(
        settings,
        gallery=dataclasses.replace(settings.gallery, folder=folder / "gallery"),
        strangers=dataclasses.replace(settings.strangers, folder=folder / "strangers"),
        output=dataclasses.replace(
            settings.output, save=folder / "video.mp4", events=folder / "events.jsonl", window=False, overwrite=True
        ),
        degrade=DegradeSettings(level="off"),
    )


@contextlib.contextmanager
def _started(job: Tuple[Settings, List[str], float, float]) -> Iterator[subprocess.Popen[bytes]]:
    paths = [str(CODE_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-c", "from app.tools.benchmark.footprint import child; child()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    try:
        if process.stdin is not None:
            process.stdin.write(pickle.dumps(job))
            process.stdin.close()
        yield process
        process.wait()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _largest_sample(process: subprocess.Popen[bytes], seconds: float) -> List[ProcessMemory]:
    """Samples all processes of the run until it ends."""
    largest: List[ProcessMemory] = []
    end = time.monotonic() + START_WITHIN_S + seconds
    while process.poll() is None:
        if time.monotonic() > end:
            raise AppError(f"the run that was measured did not end within {START_WITHIN_S + seconds:.0f} s")
        reading = set(readers(process.pid))
        sample = [_memory("the program", process.pid)]
        for pid in descendants(process.pid):
            sample.append(_memory("a reader" if pid in reading else "another", pid))
        if sum(one.resident_mb for one in sample) > sum(one.resident_mb for one in largest):
            largest = sample
        time.sleep(SAMPLE_EVERY_S)
    return largest


def _memory(name: str, pid: int) -> ProcessMemory:
    fields = read_system_file(Path("/proc") / str(pid) / "statm").split()
    resident, shared = (int(field) * _PAGE_BYTES / 1e6 for field in fields[1:3]) if len(fields) > 2 else (0.0, 0.0)
    return ProcessMemory(name, resident, shared)


class Start:
    """When the parts of a run were ready, in seconds since the start of the process; it is an output of the run."""

    name = "the measurement"

    def __init__(self, began_at: float) -> None:
        self._began_at = began_at
        self._channels: Set[str] = set()
        self.seconds: Dict[str, float] = {}

    def note(self, what: str) -> None:
        """The last time counts."""
        self.seconds[what] = time.time() - self._began_at

    def handle(self, result: FrameResult) -> None:
        if result.frame.source not in self._channels:
            self._channels.add(result.frame.source)
            self.note("first frames")

    def close(self) -> None:
        """Does nothing: an output has to have it."""


class LogReader(logging.Handler):
    """Notes what the log of a run says."""

    def __init__(self, start: Start) -> None:
        super().__init__(logging.INFO)
        self._start = start

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if " runs on " in text:
            self._start.note("networks")
        elif text.startswith("gallery: "):
            self._start.note("gallery")
        elif text.endswith(": open"):
            self._start.note("cameras")


def child() -> None:
    """In the process that is measured: the run, with what `python -m app` would import."""
    settings, addresses, seconds, began_at = pickle.load(sys.stdin.buffer)
    from app.assembly import run
    from app.capture.uri import parse_source
    from app.output.progress import Progress

    start = Start(began_at)
    start.note("libraries")
    logging.basicConfig(level=logging.INFO, handlers=[LogReader(start)])
    imported_mb, opened_mb = memory_mb(), 0.0
    settings = dataclasses.replace(settings, run=dataclasses.replace(settings.run, duration_s=seconds))
    sources = [parse_source(address, f"channel-{number + 1}") for number, address in enumerate(addresses)]

    def listen() -> threading.Event:
        nonlocal opened_mb
        opened_mb = memory_mb()
        return threading.Event()

    report = run(settings, sources, listen, Progress(sys.stderr), [start])
    facts = {
        "imported_mb": imported_mb,
        "opened_mb": opened_mb,
        "start_s": start.seconds,
        "frames": report.summary.frames,
        "machine": describe_machine(),
    }
    sys.stdout.write(json.dumps(facts) + "\n")
