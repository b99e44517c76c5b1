"""THE loop: frame -> faces -> people -> result."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from app.capture.capture import Channels
from app.gallery.enrolment import Enrolment, KnownPeople
from app.identity.face_tracker import FaceTracker
from app.identity.index import decide
from app.output.outputs import Control, Outputs
from app.settings import Settings
from app.types import FaceAttributes, Faces, Frame, FrameResult, Match, Reason
from app.vision.align import align_faces
from app.vision.attribute_models import AttributeModels
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder
from app.vision.quality import face_sizes_px

TOO_SMALL = Match(name=None, reason=Reason.TOO_SMALL)

FRAME_WAIT_S = 0.05
"""How long the loop waits for a frame before it looks after keys, the gallery and the limits again."""


@dataclass(frozen=True)
class Limits:
    """When a run ends, besides by its sources."""

    max_frames: Optional[int]
    duration_s: Optional[float]
    stop: threading.Event
    """Set by Ctrl-C."""

    def reached(self, frames: int, seconds: float) -> bool:
        """Whether to stop after so many frames and seconds."""
        return (
            self.stop.is_set()
            or (self.max_frames is not None and frames >= self.max_frames)
            or (self.duration_s is not None and seconds >= self.duration_s)
        )


def run_loop(channels: Channels, pipeline: Pipeline, outputs: Outputs, limits: Limits) -> None:
    """Until the sources have ended, a limit is reached or an output wants to stop."""
    frames, started = 0, time.monotonic()
    while not limits.reached(frames, time.monotonic() - started):
        pipeline.run_pending()
        control = outputs.poll()
        if control is Control.STOP:
            return
        if control is Control.PAUSE:
            continue
        frame = channels.take(FRAME_WAIT_S)
        if frame is None:
            if channels.finished:
                return
            continue
        for result in pipeline.process([frame]):
            frames += 1
            outputs.handle(result)


class Stopwatch:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self.milliseconds: Dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        spent = (time.perf_counter() - start) * 1000
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + spent


class Pipeline:
    """Finds and names the faces of frames. One for all channels; used from one thread."""

    def __init__(
        self,
        detector: FaceDetector,
        embedder: FaceEmbedder,
        people: Enrolment,
        settings: Settings,
        attributes: Optional[AttributeModels] = None,
    ) -> None:
        self._detector = detector
        self._embedder = embedder
        self._attributes = attributes
        self._people = people
        self._settings = settings
        self._trackers: Dict[str, FaceTracker] = defaultdict(
            lambda: FaceTracker(settings.tracking, settings.recognition)
        )

    def run_pending(self) -> None:
        """Between two frames: the photos that wait to be enrolled."""
        self._people.keep_up()

    def process(self, frames: Sequence[Frame]) -> List[FrameResult]:
        """One result a frame, in the same order. All frames go through the detector together."""
        if not frames:
            return []
        watch = Stopwatch()
        with watch.stage("preprocess"):
            prepared = self._detector.prepare([frame.image for frame in frames])
        with watch.stage("detect"):
            outputs = self._detector.infer(prepared)
        with watch.stage("boxes"):
            found = self._detector.decode(outputs, prepared)
        share = {stage: spent / len(frames) for stage, spent in watch.milliseconds.items()}
        return [self._recognise(frame, faces, share) for frame, faces in zip(frames, found)]

    def _recognise(self, frame: Frame, faces: Faces, detection_ms: Dict[str, float]) -> FrameResult:
        watch = Stopwatch()
        known = self._people.known
        tracker = self._trackers[frame.source]
        with watch.stage("track"):
            pending = tracker.update(faces.boxes, frame.source_time, known.generation, frame.continues)
            large = face_sizes_px(faces) >= self._settings.recognition.min_face_px
            rows = [row for row in pending.rows if large[row]]
        matches = [TOO_SMALL] * len(pending.rows)
        if rows:
            faces, compared = self._compare(frame, faces, rows, known, watch)
            matches = [compared.pop(0) if large[row] else TOO_SMALL for row in pending.rows]
        attributes: List[FaceAttributes] = []
        if self._attributes is not None and len(faces):
            with watch.stage("attributes"):
                attributes = self._attributes.predict(frame.image, faces, rows, pending.attributes)
        with watch.stage("track"):
            tracked = tracker.record(pending, matches, attributes)
        return FrameResult(
            frame=frame,
            faces=faces,
            matches=tracked.matches,
            track_ids=tracked.track_ids,
            tracks=tracked.tracks,
            attributes=tracked.attributes,
            timings_ms={**detection_ms, **watch.milliseconds},
            latency_s=max(0.0, time.time() - frame.captured_at),
        )

    def _compare(
        self, frame: Frame, faces: Faces, rows: List[int], known: KnownPeople, watch: Stopwatch
    ) -> Tuple[Faces, List[Match]]:
        """Compares the faces of these rows with everybody enrolled; the faces come back with what was embedded."""
        with watch.stage("align"):
            crops = align_faces(frame.image, faces.landmarks[rows], self._embedder.crop_size)
        with watch.stage("embed"):
            vectors = self._embedder.embed(crops)
        with watch.stage("match"):
            margin = self._settings.recognition.margin
            matches = [decide(candidates, known.threshold, margin) for candidates in known.index.search(vectors)]
        embeddings = np.full((len(faces), vectors.shape[1]), np.nan, np.float32)
        embeddings[rows] = vectors
        return dataclasses.replace(faces, embeddings=embeddings), matches
