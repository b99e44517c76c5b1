"""THE loop: frame -> faces -> people -> result."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Protocol, Sequence

import numpy as np

from app.enrolment import KnownPeople
from app.identity.decision import decide
from app.identity.tracker import ChannelTracker
from app.settings import Settings
from app.types import Faces, Frame, FrameResult, Match, Reason
from app.vision.align import align_faces
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder
from app.vision.quality import face_sizes_px


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

    def __init__(self, detector: FaceDetector, embedder: FaceEmbedder, people: KnownPeopleHolder, settings: Settings):
        self._detector = detector
        self._embedder = embedder
        self._people = people
        self._settings = settings
        self._trackers: Dict[str, ChannelTracker] = defaultdict(
            lambda: ChannelTracker(settings.tracking, settings.recognition)
        )

    def process(self, frames: Sequence[Frame]) -> List[FrameResult]:
        """One result a frame, in the same order. All frames go through the detector together."""
        if not frames:
            return []
        watch = Stopwatch()
        with watch.stage("preprocess"):
            prepared = self._detector.prepare([frame.image for frame in frames])
        with watch.stage("detect"):
            outputs = self._detector.infer(prepared)
        with watch.stage("decode"):
            found = self._detector.decode(outputs, prepared)
        share = {stage: spent / len(frames) for stage, spent in watch.milliseconds.items()}
        return [self._recognise(frame, faces, share) for frame, faces in zip(frames, found)]

    def _recognise(self, frame: Frame, faces: Faces, detection_ms: Dict[str, float]) -> FrameResult:
        watch = Stopwatch()
        known = self._people.known
        tracker = self._trackers[frame.source]
        now = frame.captured_at if frame.position is None else frame.position
        with watch.stage("track"):
            tracker.update(faces.boxes, faces.scores, now, frame.continues)
            rows = tracker.faces_to_look_at(now, known.generation)
        faces, matches = self._look(frame, faces, rows, known, watch)
        with watch.stage("track"):
            for row, match in zip(rows, matches):
                tracker.record_look(row, match, now, known.generation)
        return FrameResult(
            frame=frame,
            faces=faces,
            matches=tracker.matches(),
            track_ids=tracker.track_ids(),
            tracks=tracker.tracks(),
            timings_ms={**detection_ms, **watch.milliseconds},
            latency_s=max(0.0, time.time() - frame.captured_at),
        )

    def _look(
        self, frame: Frame, faces: Faces, rows: Sequence[int], known: KnownPeople, watch: Stopwatch
    ) -> tuple[Faces, List[Match]]:
        """Compares these faces with everybody enrolled; faces too small to tell are not compared."""
        large_enough = face_sizes_px(faces) >= self._settings.recognition.min_face_px
        looked_at = [row for row in rows if large_enough[row]]
        matches = {row: Match(None, Reason.TOO_SMALL) for row in rows}
        if looked_at:
            with watch.stage("align"):
                crops = align_faces(frame.image, faces.landmarks[looked_at], self._embedder.crop_size)
            with watch.stage("embed"):
                vectors = self._embedder.embed(crops)
            with watch.stage("match"):
                candidates = known.index.search(vectors)
                for row, candidate in zip(looked_at, candidates):
                    matches[row] = decide(candidate, known.threshold, self._settings.recognition.margin)
            embeddings = np.full((len(faces), vectors.shape[1]), np.nan, np.float32)
            embeddings[looked_at] = vectors
            faces = dataclasses.replace(faces, embeddings=embeddings)
        return faces, [matches[row] for row in rows]
