"""Runs the real program against cameras that fail, measures it, and judges what it has done."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from app.assembly import run
from app.capture.capture_thread import JITTER
from app.capture.opening import PROBE_TIMEOUT_S
from app.capture.uri import parse_source
from app.errors import AppError
from app.output.progress import Progress
from app.settings import (
    CaptureSettings,
    DeliverySettings,
    FleetSettings,
    KafkaSettings,
    MqttSettings,
    NatsSettings,
    OnEventSettings,
    OutputSettings,
    RunSettings,
    Settings,
    WebhookSettings,
)
from app.text import duration
from app.tools.demo.portraits import load_portraits, write_enrolment_photos
from app.tools.soak.camera_process import CameraProcess
from app.tools.soak.faults import Faults, SmallDisk
from app.tools.soak.recordings import check_video, read_events
from app.tools.soak.scene import write_scenery
from app.tools.soak.schedule import Fault, make_schedule
from app.tools.soak.usage import Usage, can_measure, measure
from app.tools.soak.verdicts import Evidence, Verdict, broken_promise, judge
from app.tools.soak.watch import FrameWatch

logger = logging.getLogger(__name__)

CAMERAS = {"door": (0,), "yard": (1, 2)}
"""Who is seen by each camera, as numbers of the demo's portraits."""
EVENTS = "events.jsonl"
SAMPLES = 600
"""Of what the program holds, in a run; more often than once a second is not useful."""
STEP_S = 0.2
RESTART_S = 5.0
"""How long a process may take to start on a busy machine."""


class WarningCount(logging.Handler):
    """Counts what the program complains about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


class FaultThread:
    """Causes the faults at their times, and samples what the program holds."""

    def __init__(
        self,
        faults: Faults,
        schedule: Sequence[Fault],
        watch: FrameWatch,
        cameras: Sequence[CameraProcess],
        minutes: float,
    ) -> None:
        self.usage: List[Usage] = []
        self.begun: List[Fault] = []
        self.error: Optional[BaseException] = None
        self._faults = faults
        self._schedule = schedule
        self._watch = watch
        self._cameras = cameras
        self._every_s = max(1.0, minutes * 60 / SAMPLES)
        self._ends_s = minutes * 60 - STEP_S
        self._closing = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="soak", daemon=True)

    def start(self, stop: threading.Event) -> None:
        """`stop` ends the run, and is set here if the soak itself fails."""
        self._stop = stop
        self._watch.start()
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        try:
            self._run()
        except Exception as error:  # the root of a thread
            logger.error("the soak itself failed", exc_info=error)
            self.error = error
            self._stop.set()

    def _run(self) -> None:
        coming = list(self._schedule)
        active: Optional[Fault] = None
        try:
            while not (self._closing.wait(STEP_S) or self._stop.is_set()):
                now_s = self._watch.now_s
                if active is not None and now_s >= active.ends_s:
                    self._end(active)
                    active = None
                if active is None and coming and now_s >= coming[0].begins_s:
                    active = coming.pop(0)
                    self._begin(active, now_s)
                is_over = now_s > self._ends_s  # the program is closing everything
                if not is_over and (not self.usage or now_s >= self.usage[-1].seconds + self._every_s):
                    self.usage.append(measure(now_s, {camera.pid for camera in self._cameras}))
        finally:
            if active is not None:
                self._end(active)

    def _begin(self, fault: Fault, now_s: float) -> None:
        logger.info("fault %d of %d: %s", len(self.begun) + 1, len(self._schedule), fault)
        self.begun.append(replace(fault, begins_s=now_s))
        if fault.hits_cameras:
            self._watch.expect_nothing_of(fault)
        self._faults.begin(fault)

    def _end(self, fault: Fault) -> None:
        self._faults.end(fault)
        begun = self.begun[-1]
        self.begun[-1] = replace(begun, lasts_s=self._watch.now_s - begun.begins_s)
        if fault.hits_cameras:
            self._watch.await_recovery(fault)


def soak(
    settings: Settings,
    minutes: float,
    seed: int,
    folder: Path,
    listen: Callable[[], threading.Event],
    progress: Progress,
    announce: Callable[[str], None],
    keep: bool = False,
) -> Tuple[Evidence, List[Verdict]]:
    """Runs for so many minutes, or until the event of `listen` is set, and says what that has shown.

    `announce` gets the schedule before the run. `folder`, which is empty, has all files of the run afterwards if `keep`
    is set or a promise was broken.
    """
    if not can_measure():
        raise AppError("the soak measures the program with /proc, so it needs Linux")
    portraits = load_portraits()
    gallery, outputs = folder / "gallery", folder / "disk" / "outputs"
    write_enrolment_photos(gallery, portraits)
    wall, heads = write_scenery(folder, portraits)
    warnings = WarningCount()
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(contextlib.closing(SmallDisk(folder / "disk", minutes)))
        cameras: Dict[str, CameraProcess] = {}
        for name, people in CAMERAS.items():
            camera = CameraProcess(name, wall, [heads[number] for number in people])
            cameras[name] = stack.enter_context(contextlib.closing(camera))
        faults = Faults(cameras, disk, outputs, gallery, seed)
        schedule = make_schedule(minutes, seed, list(cameras), faults.kinds)
        announce(_listing(schedule, seed))
        watch = FrameWatch(list(cameras))
        thread = FaultThread(faults, schedule, watch, list(cameras.values()), minutes)
        stack.enter_context(contextlib.closing(thread))
        progress.prefix = lambda: _about(watch.now_s, minutes, len(thread.begun), len(schedule))
        logging.getLogger().addHandler(warnings)
        stack.callback(logging.getLogger().removeHandler, warnings)

        def begin() -> threading.Event:
            stop = listen()
            thread.start(stop)
            return stop

        sources = [parse_source(camera.address, name) for name, camera in cameras.items()]
        own = _settings(settings, minutes, gallery, outputs)
        report = run(own, sources, begin, progress, extra_outputs=[watch])
        ran_s = watch.now_s
        thread.close()
        problem = None
        if not report.stopped and ran_s < minutes * 60 - 1:
            problem = "it ended by itself"
        if thread.error is not None:
            problem = f"the soak itself failed: {thread.error!r}"
        progress.prefix = lambda: ""
        events, broken = read_events(faults.folders, EVENTS)
        found = [path for place in faults.folders for path in sorted(place.glob("*.mp4"))]
        count = progress.counter("checking videos")
        videos = []
        for number, path in enumerate(found):
            count(number, len(found))
            videos.append(check_video(path))
        progress.clear()
        evidence = Evidence(
            planned_s=minutes * 60,
            ran_s=ran_s,
            problem=problem,
            stopped=report.stopped and problem is None,
            faults=thread.begun,
            usage=thread.usage,
            seen=watch.seen,
            recoveries=watch.recoveries,
            recovery_limit_s=recovery_limit_s(own.capture),
            events=events,
            broken_lines=broken,
            names={name: _names(people, portraits) for name, people in CAMERAS.items()},
            videos=videos,
            warnings=warnings.count,
        )
        verdicts = judge(evidence)
        if disk.is_mounted and (keep or broken_promise(verdicts)):
            disk.save(folder / "outputs")
    return evidence, verdicts


def recovery_limit_s(capture: CaptureSettings) -> float:
    """The longest pause, an attempt to open that fails just before the camera is back, and one that succeeds."""
    attempt_s = capture.open_timeout_s + PROBE_TIMEOUT_S
    return capture.retry_max_s * JITTER + attempt_s + capture.read_timeout_s + RESTART_S


def _settings(own: Settings, minutes: float, gallery: Path, outputs: Path) -> Settings:
    """The user's own models and thresholds; everything that other programs would notice is off."""
    return replace(
        own,
        sources=(),
        capture=CaptureSettings(wait=False),
        run=RunSettings(duration_s=minutes * 60, log_level=own.run.log_level),
        gallery=replace(own.gallery, folder=gallery),
        strangers=replace(own.strangers, folder=None),
        output=OutputSettings(save=outputs / "video.mp4", events=outputs / EVENTS, window=False),
        delivery=DeliverySettings(),
        webhook=WebhookSettings(),
        mqtt=MqttSettings(),
        kafka=KafkaSettings(),
        nats=NatsSettings(),
        fleet=FleetSettings(),
        on_event=OnEventSettings(),
    )


def _names(people: Sequence[int], portraits: Sequence[object]) -> Tuple[str, ...]:
    return tuple(portraits[number].name for number in people if portraits[number].enrolled)  # type: ignore[attr-defined]


def _listing(schedule: Sequence[Fault], seed: int) -> str:
    lines = [f"{len(schedule)} faults, which follow from seed {seed}:"]
    lines += [f"  {duration(fault.begins_s):>8}  {fault}" for fault in schedule]
    return "\n".join(lines)


def _about(now_s: float, minutes: float, begun: int, faults: int) -> str:
    return f"{now_s / 60:.1f} of {minutes:g} min, {begun} of {faults} faults | "
