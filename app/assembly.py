"""One run from end to end: opens what the settings ask for, runs the loop, closes everything in reverse order."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from app.capture.capture import Channels
from app.capture.channel import ChannelState, ChannelStatus
from app.capture.opening import check_present
from app.capture.uri import Source, SourceKind
from app.errors import OutputError, SourceError, check_all
from app.gallery.enrolment import Enrolment
from app.gallery.folder import require_folder
from app.models.int8_pictures import inputs_for_int8
from app.models.loading import (
    MOST_FACES_AT_ONCE,
    detector_entry,
    embedder_entry,
    leave_cores_to_networks,
    load_attributes,
    load_detector,
    load_embedder,
    model_checks,
)
from app.output.annotate import Annotator
from app.output.display import display_available
from app.output.opening import open_outputs
from app.output.outputs import Output
from app.output.progress import Progress, RunProgress
from app.output.summary import RunSummary
from app.output.window import Window
from app.pipeline import Limits, Pipeline, run_loop
from app.settings import CaptureSettings, OutputSettings, Settings
from app.types import NO_ATTRIBUTES, Faces
from app.vision.align import template
from app.vision.attribute_models import AttributeModels
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder

logger = logging.getLogger(__name__)


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

    @property
    def failed(self) -> Tuple[ChannelStatus, ...]:
        """The sources that could not be opened."""
        return tuple(channel for channel in self.channels if channel.state is ChannelState.FAILED)

    def text(self) -> str:
        blocks = [self.summary.text(self.channels), "\n".join(f"written: {path}" for path in self.written)]
        return "\n\n".join([*filter(None, blocks), *(f"NOT COMPLETE: {lost}" for lost in self.lost)])


def run(
    settings: Settings,
    sources: Sequence[Source],
    listen: Callable[[], threading.Event],
    progress: Progress,
    extra_outputs: Sequence[Output] = (),
) -> RunReport:
    """Runs until the sources end, a limit is reached, the window is closed or the event is set.

    That event is asked for when everything is open: before, there is nothing that Ctrl-C has to end in an orderly way.
    """
    # What can fail cheaply comes first: a film that exists already is told before a camera is opened.
    check_all(
        *model_checks(settings.models, settings.attributes),
        partial(require_folder, settings.gallery.folder),
        partial(_require_a_source, sources),
    )
    window = _window(settings.output)
    with contextlib.ExitStack() as stack:
        recordings = [Path(source.address) for source in sources if source.kind is SourceKind.VIDEO]
        outputs = stack.enter_context(
            open_outputs(settings.output, [source.name for source in sources], recordings, time.time())
        )
        detector, embedder = stack.enter_context(networks(settings))
        attributes = stack.enter_context(attribute_reader(settings, detector.predicts_masks))
        enrolment = stack.enter_context(open_enrolment(settings, detector, embedder))
        enrolment.enrol_all(progress.counter("looking at photos"))
        enrolment.watch()
        summary = RunSummary()
        for output in (window, *extra_outputs, summary):
            if output is not None:
                outputs.add(output)
        channels = stack.enter_context(Channels(sources, settings.capture))
        outputs.add(RunProgress(progress, channels.status))
        pipeline = Pipeline(detector, embedder, enrolment, settings, attributes)
        stop = listen()
        limits = Limits(settings.run.max_frames, settings.run.duration_s, stop)
        run_loop(channels, pipeline, outputs, limits)
        ended = channels.status()
    return RunReport(summary, ended, outputs.lost, outputs.written, stop.is_set())


def _require_a_source(sources: Sequence[Source]) -> None:
    """Raises when surely none of them can be opened. With others left, a missing one is told and they go on."""
    problems: List[str] = []
    for source in sources:
        try:
            check_present(source)
        except SourceError as error:
            problems.append(str(error))
    if problems and len(problems) == len(sources):
        raise SourceError("\n".join(problems))


@contextlib.contextmanager
def networks(settings: Settings) -> Iterator[Tuple[FaceDetector, FaceEmbedder]]:
    """The chosen detector and embedder, warmed up."""
    leave_cores_to_networks()
    inputs_for = inputs_for_int8(settings)
    with contextlib.closing(
        load_detector(settings.models, settings.detection, inputs_for)
    ) as detector, contextlib.closing(load_embedder(settings.models, inputs_for)) as embedder:
        warm_up(detector, embedder, settings.capture)
        yield detector, embedder


def warm_up(detector: FaceDetector, embedder: FaceEmbedder, capture: CaptureSettings) -> None:
    """The first run in a shape takes memory and picks algorithms: done before a camera waits for it."""
    width, height = embedder.crop_size
    detector.detect([np.zeros((capture.height, capture.width, 3), np.uint8)])
    for faces in (1, MOST_FACES_AT_ONCE):
        embedder.embed(np.zeros((faces, height, width, 3), np.uint8))
    logger.debug("networks warmed up")


@contextlib.contextmanager
def attribute_reader(settings: Settings, detector_predicts_masks: bool) -> Iterator[Optional[AttributeModels]]:
    """The chosen networks that tell more of a face than who it is, warmed up; None when there is nothing to tell."""
    min_face_px = settings.recognition.min_face_px
    inputs_for = inputs_for_int8(settings)
    reader = load_attributes(settings.models, settings.attributes, min_face_px, detector_predicts_masks, inputs_for)
    if reader is None:
        yield None
        return
    with contextlib.closing(reader):
        picture = np.zeros((settings.capture.height, settings.capture.width, 3), np.uint8)
        for count in (1, MOST_FACES_AT_ONCE):
            box = np.array([[0, 0, settings.capture.width, settings.capture.height]], np.float32)
            landmarks = np.repeat(template()[None], count, axis=0)
            faces = Faces(np.repeat(box, count, axis=0), np.ones(count, np.float32), landmarks)
            reader.predict(picture, faces, list(range(count)), [NO_ATTRIBUTES] * count)
        yield reader


@contextlib.contextmanager
def gallery_enrolment(settings: Settings) -> Iterator[Enrolment]:
    """The gallery alone, for commands that look at photos and at no camera."""
    check_all(*model_checks(settings.models), partial(require_folder, settings.gallery.folder))
    with networks(settings) as (detector, embedder), open_enrolment(settings, detector, embedder) as enrolment:
        yield enrolment


@contextlib.contextmanager
def open_enrolment(settings: Settings, detector: FaceDetector, embedder: FaceEmbedder) -> Iterator[Enrolment]:
    """The gallery of these settings, on these networks."""
    finder, teller = detector_entry(settings.models), embedder_entry(settings.models)
    threshold = settings.recognition.threshold
    if threshold is None:
        threshold = teller.threshold
    # Everything besides the gallery's own limits that a verdict on a photo depends on.
    decoding = (finder.min_sizes, finder.landmark_scale, finder.min_score)
    finding = (settings.detection, finder.sha256, finder.preprocessing, decoding)
    telling = (teller.sha256, teller.preprocessing, teller.crop)
    examiner = repr((finding, telling))
    with contextlib.closing(Enrolment(settings.gallery, detector, embedder, threshold, examiner)) as enrolment:
        yield enrolment


def _window(settings: OutputSettings) -> Optional[Window]:
    if settings.window is False:
        return None
    available, reason = display_available()
    if available:
        return Window(Annotator(settings.landmarks, settings.why), settings.snapshots)
    if settings.window:
        raise OutputError(f"the window that --window asks for cannot be opened: {reason}")
    logger.info("no window: %s", reason)
    return None
