"""One run from end to end: opens what the settings ask for, runs the loop, closes everything in reverse order."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from app import __version__
from app.capture.capture import Channels
from app.capture.main_stream import opened_source, small_source
from app.capture.opening import check_present, runs_unattended
from app.capture.reader_process import EarlyReaders
from app.capture.uri import Source, SourceKind
from app.database.connection import require_usable
from app.degrade import DegradeController
from app.errors import DeathCallback, OutputError, SourceError, check_all
from app.events.event import Event, EventKind, FaceEvent
from app.events.opening import no_people_known, open_events
from app.events.pipe import is_pipe
from app.events.sinks import EventPublisher
from app.events.stream import EventStream
from app.files import check_writable, dated
from app.fleet.thread import FleetThread
from app.gallery.folder import require_folder
from app.gallery.forgetting import finish_forgetting, without_forgotten
from app.gallery.gallery import Gallery
from app.gallery.strangers import LiveStrangers, stored_anchors, strangers_folder
from app.models.loading import ModelLoader
from app.monitoring.endpoints import Endpoints
from app.monitoring.monitor import RunMonitor, WatchedRun
from app.monitoring.server import MonitoringServer
from app.network_thread import NetworkThread
from app.output.annotate import Annotator
from app.output.areas import outlines
from app.output.cover import ALL, STRANGERS, FaceCover
from app.output.outputs import Output, Outputs, OutputThread
from app.output.paths import channel_path, refuse_collisions
from app.output.progress import Progress, RunProgress
from app.output.recorder import recorders
from app.output.recordings import Recordings
from app.output.summary import RunSummary, Sighting
from app.output.text_renderer import TextRenderer
from app.output.video import VideoOutput
from app.output.visit_pictures import VisitPictures
from app.output.window import open_window
from app.pipeline import Limits, Pipeline, run_loop
from app.recognizer import Recognizer
from app.settings import CaptureSettings, MonitoringSettings, Settings
from app.supervision.supervisor import Supervisor
from app.supervision.systemd import notify
from app.supervision.watchdog import Watchdog
from app.text import counted, iso_time, program, suggestion
from app.types import ChannelState, ChannelStatus
from app.vision.face_network import RemoteStatus
from app.watches import LoadWatch, SourceWatch, StrangerWatch

logger = logging.getLogger(__name__)

SUMMARY_SCHEMA = 1
"""Grows when a field of `--summary-json` changes its meaning or disappears."""


@dataclass(frozen=True)
class RunReport:
    """What is left of a run when it has ended."""

    summary: RunSummary
    channels: Tuple[ChannelStatus, ...]
    lost: Tuple[str, ...]
    """Outputs that are not complete, and why."""
    written: Tuple[Path, ...]
    """Videos and event logs that are complete and not empty."""
    stopped: bool
    """By a signal, before the end."""
    remotes: Mapping[str, RemoteStatus]

    @property
    def failed(self) -> Tuple[ChannelStatus, ...]:
        """The sources that could not be opened."""
        return tuple(channel for channel in self.channels if channel.state is ChannelState.FAILED)

    def as_json(self) -> Dict[str, Any]:
        return {
            "schema": SUMMARY_SCHEMA,
            "program": __version__,
            "time": iso_time(time.time()),
            **self.summary.as_json(self.channels),
            "remotes": {name: remote._asdict() for name, remote in self.remotes.items()},
            "written": list(map(str, self.written)),
            "not_complete": list(self.lost),
            "stopped": self.stopped,
        }

    def text(self) -> str:
        remotes = (f"{name} on {remote}" for name, remote in self.remotes.items())
        blocks = [self.summary.text(self.channels), *remotes, "\n".join(f"written: {path}" for path in self.written)]
        return "\n\n".join([*filter(None, blocks), *(f"NOT COMPLETE: {lost}" for lost in self.lost)])


@dataclass(frozen=True)
class OpenedRun:
    """The parts of a run, opened and ready."""

    recognizer: Recognizer
    networks: NetworkThread
    """Owned by the thread that opened the run."""
    gallery: Gallery
    outputs: Outputs
    events: EventPublisher
    summary: RunSummary
    channels: Channels
    pipeline: Pipeline
    supervisor: Supervisor
    monitor: RunMonitor

    def status(self) -> str:
        """How the run is, in a line."""
        channels, frames = self.channels.status(), counted(self.summary.frames, "frame")
        running = sum(channel.state is ChannelState.RUNNING for channel in channels)
        return f"{running} of {counted(len(channels), 'source')} running, {frames} processed"


def run(
    settings: Settings,
    sources: Sequence[Source],
    listen: Callable[[], threading.Event],
    progress: Progress,
    extra_outputs: Sequence[Output] = (),
    alongside: Callable[[OpenedRun], ContextManager[object]] = contextlib.nullcontext,
) -> RunReport:
    """Runs until the sources end, a limit is reached, the window is closed or the event is set.

    The event is asked for when everything is open: until then, Ctrl-C has nothing to finish. `alongside` is what
    uses the parts of the run while it lasts, such as an HTTP server.
    """
    with open_run(settings, sources, progress, extra_outputs) as opened, alongside(opened):
        limits = Limits(settings.run.max_frames, settings.run.duration_s, listen())
        with Watchdog(opened.supervisor, settings.run.end_if_stuck_s, opened.status, opened.outputs.close):
            run_loop(opened.channels, opened.pipeline, opened.outputs, limits, opened.supervisor)
        opened.networks.close()  # requests that wait for them are refused at once
        opened.summary.close()
        channels, remotes, stopped = opened.channels.status(), opened.recognizer.remotes, limits.stop.is_set()
    finish_forgetting(settings)
    return RunReport(opened.summary, channels, opened.outputs.lost, opened.outputs.written, stopped, remotes)


@contextlib.contextmanager
def open_run(
    settings: Settings, sources: Sequence[Source], progress: Progress, extra_outputs: Sequence[Output] = ()
) -> Iterator[OpenedRun]:
    """Opens networks, gallery, outputs and sources, and closes them in reverse order."""
    if settings.capture.wait is None:
        settings = replace(settings, capture=replace(settings.capture, wait=runs_unattended()))
    loader = ModelLoader(settings)
    # What fails quickly comes first: a mistyped path is reported before networks and cameras are opened.
    check_all(
        *loader.checks(),
        partial(require_folder, settings.gallery.folder),
        partial(require_usable, settings.fleet),
        partial(_require_a_source, sources, settings),
        *(partial(small_source, source, settings.for_channel(source.name).capture) for source in sources),
        partial(check_writable, settings.output.summary_json),
    )
    _warn_of_a_fixed_video_name(settings, sources)
    channel_names = [source.name for source in sources]
    annotator = Annotator(settings.output.landmarks, settings.output.why, outlines=outlines(settings, channel_names))
    window = open_window(settings.output, annotator)
    supervisor = Supervisor()
    notify("STATUS=opening networks, gallery and sources")
    with contextlib.ExitStack() as stack:
        read = [opened_source(source, settings.for_channel(source.name).capture) for source in sources]
        early = stack.enter_context(contextlib.closing(EarlyReaders(read)))
        monitor = RunMonitor(settings.monitoring.stuck_after_s)
        stack.enter_context(_serving(settings.monitoring, monitor))
        recordings = [Path(source.address) for source in sources if source.kind is SourceKind.VIDEO]
        enrolled: List[Gallery] = []
        outputs, events = open_outputs(
            settings,
            channel_names,
            recordings,
            time.time(),
            lambda: enrolled[0].people.names if enrolled else None,
            supervisor.died,
        )
        stack.enter_context(outputs)
        recognizer = stack.enter_context(Recognizer.from_loader(loader))
        networks = NetworkThread(settings.serve.frames_before_job)
        gallery = stack.enter_context(contextlib.closing(Gallery(settings, recognizer, networks)))
        deliveries = None if events is None else events.deliveries
        fleet = stack.enter_context(contextlib.closing(FleetThread(settings, gallery, deliveries)))
        # Closed before the gallery and the fleet, whose threads may wait for an answer.
        stack.callback(networks.close)
        gallery.load(progress.counter("examining photos"))
        enrolled.append(gallery)
        _require_covered_person(settings.output.cover, gallery.people.names)
        gallery.watch()
        fleet.start()
        if events is None:
            events = EventPublisher((), EventStream.from_settings(settings))
            outputs.add(events)
        summary = open_summary(events)
        for output in (window, *extra_outputs, summary, monitor.counts):
            if output is not None:
                outputs.add(output)
        own, queue_bytes = _own_capture(settings), _queue_bytes(settings, len(sources))
        wiring = (sources, settings.capture, early.start_reader)
        channels = stack.enter_context(Channels(*wiring, own=own, queue_bytes=queue_bytes, on_death=supervisor.died))
        networks.on_submit(channels.wake)
        outputs.add(RunProgress(progress, channels.status))
        outputs.add(SourceWatch(events, channels.status))
        degrade = DegradeController(settings.degrade)
        outputs.add(LoadWatch(settings.degrade, degrade, channels, events))
        strangers = _open_strangers(settings, recognizer)
        if strangers is None:
            gallery.anchors = stored_anchors(settings, recognizer)
        else:
            stack.callback(strangers.close)
            outputs.add(StrangerWatch(events, strangers))
        pipeline = Pipeline(recognizer, gallery, settings, networks, strangers, degrade, channels.main_frames)
        monitor.watch(WatchedRun(channels, outputs, events, degrade, recognizer))
        yield OpenedRun(
            recognizer, networks, gallery, outputs, events, summary, channels, pipeline, supervisor, monitor
        )


@contextlib.contextmanager
def open_gallery(settings: Settings) -> Iterator[Gallery]:
    """The gallery without a camera, for commands that work on photos."""
    loader = ModelLoader(settings)
    check_all(*loader.checks(), partial(require_folder, settings.gallery.folder))
    with contextlib.ExitStack() as stack:
        recognizer = stack.enter_context(Recognizer.from_loader(loader, with_attributes=False))
        gallery = stack.enter_context(contextlib.closing(Gallery(settings, recognizer)))
        gallery.anchors = stored_anchors(settings, recognizer)
        yield gallery


def open_outputs(
    everything: Settings,
    channels: Sequence[str],
    reading: Sequence[Path] = (),
    moment: float = 0.0,
    people: Callable[[], Optional[Sequence[str]]] = no_people_known,
    on_death: Optional[DeathCallback] = None,
) -> Tuple[Outputs, Optional[EventPublisher]]:
    """The events and the videos that the settings ask for; what cannot be written is refused here.

    The publisher of the events is one of the outputs.

    `reading` are the recordings that the run reads, which are never overwritten; `moment` is the time for `{date}` and
    `{time}` in a name; `people` are all that are enrolled now, None while that is not known. Raises OutputError when
    one of the files may not be written; nothing is left open then, since videos are opened with their first
    frame, and the event log comes last.
    """
    settings = everything.output
    video_paths = []
    if settings.save is not None:
        path = dated(settings.save, moment)
        if path.suffix.lower() != ".mp4":
            raise OutputError(f"{path}: videos are written as MP4; choose a name that ends in .mp4")
        video_paths = [channel_path(path, channel, channels) for channel in channels]
    events = settings.events
    event_paths = [] if events is None or is_pipe(events) else [dated(events, moment)]
    refuse_collisions([*video_paths, *event_paths], reading)
    queue_bytes = _queue_bytes(everything, len(channels))
    cover = FaceCover.from_settings(settings)
    annotator = Annotator(settings.landmarks, settings.why, TextRenderer(), outlines(everything, channels))
    videos = [
        VideoOutput(path, annotator, crf=own.video_crf, overwrite=own.overwrite, encoder=own.video_encoder)
        for path, own in zip(video_paths, (everything.for_channel(channel).output for channel in channels))
    ]
    with contextlib.ExitStack() as stack:
        record = everything.record
        recordings = None if record.folder is None else Recordings(record.folder, record)
        if recordings is not None:
            stack.callback(recordings.close)
        finish_forgetting(everything)
        pictures, without = VisitPictures.from_settings(settings), partial(without_forgotten, everything)
        publisher = open_events(everything, channels, people, pictures, on_death, without)
        stack.pop_all()
    # Events first: a slow video may block the loop, and by then everything that happened is recorded.
    outputs: List[Output] = [] if publisher is None else [publisher]
    outputs += [
        OutputThread(video, settings.queue_frames, queue_bytes=queue_bytes, channel=channel, on_death=on_death)
        for video, channel in zip(videos, channels)
    ]
    if recordings is not None:
        outputs += [
            OutputThread(recorder, settings.queue_frames, queue_bytes=queue_bytes, channel=channel, on_death=on_death)
            for channel, recorder in recorders(recordings, everything, channels, annotator)
        ]
        outputs.append(recordings)  # closed after the recorders
        recordings.start()
    return Outputs(outputs, None if cover is None else cover.apply), publisher


def open_summary(events: EventPublisher) -> RunSummary:
    """A summary that counts the visits of the events. It has to get each result after `events`."""
    summary = RunSummary(events.visit_of)

    def add(event: Event) -> None:
        if isinstance(event, FaceEvent) and event.kind is EventKind.LEFT and event.last_seen is not None:
            live = event.position is None and event.file is None
            first, last = (Sighting(at, live, event.file) for at in (event.first_seen, event.last_seen))
            summary.add_visit(event.visit, event.match.name or event.stranger, event.match.name is None, first, last)

    events.listeners.append(add)
    return summary


def _open_strangers(settings: Settings, recognizer: Recognizer) -> Optional[LiveStrangers]:
    # Where faces are covered, no pictures of them may be on the disk; without it, numbers would be used again.
    if not settings.strangers.enabled or settings.output.cover in (ALL, STRANGERS):
        return None
    folder = strangers_folder(settings)
    strangers = LiveStrangers(
        settings.strangers,
        folder,
        recognizer.embedder_id,
        recognizer.threshold,
        settings.gallery.reload_every_s,
        # An unknown face may be the person's whose face is to be covered, or have that person next to it.
        keep_pictures=settings.output.cover is None,
    )
    try:
        strangers.open(time.time())
    except OSError as error:
        logger.warning("%s: cannot be written (%s); unknown people get no numbers", folder, error.strerror)
        return None
    return strangers


def _require_a_source(sources: Sequence[Source], settings: Settings) -> None:
    """Raises if none of the sources can be opened. If only some are missing, the others run.

    With `capture.wait`, a camera may appear later.
    """
    problems: List[str] = []
    for source in sources:
        try:
            if not (source.live and settings.for_channel(source.name).capture.wait):
                check_present(source)
        except SourceError as error:
            problems.append(str(error))
    if problems and len(problems) == len(sources):
        raise SourceError("\n".join(problems))


def _warn_of_a_fixed_video_name(settings: Settings, sources: Sequence[Source]) -> None:
    """A service that is started again after a crash is refused a video that exists, and then stays off."""
    save = settings.output.save
    if save is None or settings.output.overwrite or not any(source.live for source in sources):
        return
    if not ("{date}" in save.name and "{time}" in save.name) and runs_unattended():
        logger.warning(
            "output.save: %s will exist when this service is started again, which is then refused: write {date}-{time} "
            "in its name, or use record.folder instead",
            save,
        )


def _queue_bytes(settings: Settings, channels: int) -> int:
    """What each queue of frames may hold: one for capture, and one for each video, per channel."""
    videos = (settings.output.save is not None) + (settings.record.folder is not None)
    return int(settings.run.queue_max_mb * 1e6 / max(1, channels * (1 + videos)))


def _own_capture(settings: Settings) -> Dict[str, CaptureSettings]:
    return {name: settings.for_channel(name).capture for name, _ in settings.channels}


def _require_covered_person(who: Optional[str], names: Sequence[str]) -> None:
    """Raises OutputError for a name that is not enrolled: a mistyped one would leave the face visible."""
    if who not in (None, ALL, STRANGERS, *names):
        raise OutputError(
            f"no one is enrolled as {who!r} (output.cover, --cover){suggestion(who or '', names)}; "
            f"expected {STRANGERS}, {ALL} or a name from `{program()} people list`"
        )


@contextlib.contextmanager
def _serving(settings: MonitoringSettings, monitor: RunMonitor) -> Iterator[None]:
    """Serves metrics and health meanwhile, if a port is set."""
    if settings.port is None:
        yield
        return
    with contextlib.closing(MonitoringServer(settings.host, settings.port, Endpoints(monitor))) as server:
        logger.info("metrics: %s/metrics, and /health", server.url)
        yield
