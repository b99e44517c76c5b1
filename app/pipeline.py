"""THE loop: frame -> faces -> people -> result."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from app.capture.capture import Channels
from app.capture.motion import Motion, MotionDetector
from app.degrade import DegradeController, DegradeLevel
from app.errors import NotNowError
from app.gallery.gallery import Gallery
from app.gallery.strangers import LiveStrangers
from app.identity.face_tracker import FaceTracker
from app.identity.frame_faces import TrackedFaces
from app.identity.index import PersonIndex
from app.network_thread import NetworkThread
from app.output.outputs import Control, Outputs
from app.recognizer import Recognizer, StageTimer
from app.settings import DegradeSettings, Settings
from app.supervision.supervisor import Supervisor
from app.types import NOT_COMPARED_YET, Continuity, FaceAttributes, Faces, Frame, FrameResult, Look, Match
from app.vision.attention import AttentionState, Plan, Scene, everything, plan_look
from app.vision.close_ups import CloseUpWatch
from app.vision.continuity import CutDetector, face_thumbnails
from app.vision.watched import WatchedArea

logger = logging.getLogger(__name__)

MOTION_EVERY_S = 0.07
"""Motion is looked for in every second frame of a video with 25 frames/s, and in each one at 10 frames/s."""

FRAME_WAIT_S = 0.05
"""How long the loop waits for a frame before it checks keys, the gallery and the limits again."""
FEWER_EMBEDDINGS = 4.0
"""Times `recognition.reembed_after_s`, from level 1 on."""
NEVER_FOUND_AGAIN = 30
"""Looks for faces in the main stream after which it is wrong if none was found."""


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


def run_loop(
    channels: Channels,
    pipeline: Pipeline,
    outputs: Outputs,
    limits: Limits,
    supervisor: Optional[Supervisor] = None,
) -> None:
    """Until the sources have ended, a limit is reached or an output wants to stop.

    Raises FatalError when a worker of the run dies again and again.
    """
    supervisor = supervisor or Supervisor()
    frames, started = 0, time.monotonic()
    frame: Optional[Frame] = None
    while not limits.reached(frames, time.monotonic() - started):
        supervisor.check()
        jobs_wait, frame = pipeline.run_pending(frame is not None), None
        control = outputs.poll()
        if control is Control.STOP:
            return
        if control is Control.PAUSE:
            continue
        frame = channels.take(0 if jobs_wait else FRAME_WAIT_S)
        if frame is None:
            if channels.finished:
                return
            continue
        result = pipeline.process(frame)
        channels.set_need(frame.source, something_happens(result))
        outputs.handle(result)
        frames += 1


def something_happens(result: FrameResult) -> bool:
    """Whether somebody is in the picture, or something moves in a part of it."""
    return len(result.faces) > 0 or bool(result.tracks) or result.look is Look.REGIONS


def _patience(level: DegradeLevel) -> float:
    return FEWER_EMBEDDINGS if level >= DegradeLevel.FEWER_EMBEDDINGS else 1.0


def no_main_stream(frame: Frame) -> None:
    """The large frames of a channel that has only one stream."""


class _Channel:
    """What the loop keeps of a channel, with the channel's own settings."""

    def __init__(self, name: str, recognizer: Recognizer, all_settings: Settings) -> None:
        settings = all_settings.for_channel(name)
        self.recognizer = recognizer if settings is all_settings else recognizer.with_settings(settings)
        self.limits = settings.quality.video_limits()
        self.tracker = FaceTracker(settings.tracking, settings.recognition, self.recognizer.threshold)
        self.watched = WatchedArea.from_settings(settings.view)
        self.cuts = CutDetector()
        self.close_ups = CloseUpWatch()
        self._attention = settings.attention
        self._scan_px = settings.detection.input_size
        self._motion = MotionDetector(self.watched.ignored_mask())
        self._moving = Motion(np.empty((0, 4), np.int32))
        self._moved_at = -math.inf
        """When motion was last looked for."""
        self._seen = AttentionState()
        self._found_again, self._not_found_again = 0, 0

    def plan(self, frame: Frame, generation: int, cut: bool, level: DegradeLevel) -> Optional[Plan]:
        """Where to look in a frame; None: at the whole frame, as if no other had been there before."""
        if self._attention.mode == "off" or not (frame.continues or self._attention.mode == "always"):
            return None
        time, image = frame.source_time, frame.image
        size = (image.shape[1], image.shape[0])
        if not frame.continues:
            return everything(size, self._attention, self._scan_px)
        since_s = time - self._moved_at
        if not 0 <= since_s < MOTION_EVERY_S:
            self._moved_at, self._moving = time, self._motion.update(image, max(0.0, since_s))
        expected = self.tracker.expected(
            time,
            generation,
            self._attention.max_interval_s,
            lambda boxes: face_thumbnails(image, boxes),
            _patience(level),
        )
        scene = Scene(size, time, self._moving.areas, self._moving.everywhere, cut, expected)
        plan, self._seen = plan_look(self._seen, scene, self._attention, self._scan_px, level)
        return plan

    def find(self, frame: Frame, plan: Optional[Plan], timer: StageTimer) -> Faces:
        """The faces that are looked for in a frame."""
        image = frame.image
        if plan is not None:
            faces = self.recognizer.find_as_planned(image, plan, timer)
        else:
            (faces,) = self.recognizer.find([image], timer, close_ups=self.close_ups.due())
            self.close_ups.saw(faces, image.shape)
        return faces[self.watched.watches(faces.boxes, (image.shape[1], image.shape[0]))]

    def count_found_again(self, name: str, found: int, looked_for: int) -> None:
        """Warns, once, if no face of the sub-stream is ever found in the main stream."""
        self._found_again += found
        before, self._not_found_again = self._not_found_again, self._not_found_again + looked_for - found
        if not self._found_again and before < NEVER_FOUND_AGAIN <= self._not_found_again:
            logger.warning(
                "%s: none of %d faces of the sub-stream was found in the main stream, so they are compared as the "
                "sub-stream shows them. Do both show the same view, at most half a second apart?",
                name,
                self._not_found_again,
            )


class Pipeline:
    """Finds and names the faces of frames. One for all channels; used from one thread."""

    def __init__(
        self,
        recognizer: Recognizer,
        gallery: Gallery,
        settings: Optional[Settings] = None,
        networks: Optional[NetworkThread] = None,
        strangers: Optional[LiveStrangers] = None,
        degrade: Optional[DegradeController] = None,
        main_frames: Callable[[Frame], Optional[Sequence[Frame]]] = no_main_stream,
    ) -> None:
        """`networks` holds the jobs of other threads, which are done between frames. Without `strangers`, unknown
        people get no numbers. `degrade` says what is left out; without it nothing is.
        `main_frames` are as in `Channels`."""
        self._settings = settings or Settings()
        self._recognizer = recognizer.for_video()
        self._gallery = gallery
        self._networks = networks or NetworkThread()
        self._strangers = strangers
        self._degrade = degrade or DegradeController(DegradeSettings(level="off"))
        self._main_frames = main_frames
        self._channels: Dict[str, _Channel] = {}
        self._slow_channels: Set[str] = set()
        """Those that were warned about."""

    def run_pending(self, after_frame: bool = False) -> bool:
        """Between two frames: one job that other threads have for the networks, such as a photo to enrol.

        Returns whether more are waiting. `after_frame` is as in `NetworkThread.run_pending`.
        """
        return self._networks.run_pending(after_frame)

    def process(self, frame: Frame) -> FrameResult:
        """Everything that is known of a frame."""
        channel, timer = self._channel(frame.source), StageTimer()
        level = self._degrade.level_of(frame.live)
        if self._strangers is not None:
            self._gallery.anchors = self._strangers.anchors
        people = self._gallery.index
        with timer.stage("attention"):
            cut = channel.cuts.is_cut(frame.image)
            plan = channel.plan(frame, people.generation, cut, level)
        if plan is None or plan.look.detected:
            faces, tracked = self._examine(frame, channel, people, plan, cut, level, timer)
        else:
            faces, tracked = Faces.empty(), TrackedFaces((), (), (), ())
        if plan is not None:
            with timer.stage("track"):
                expected, predicted = channel.tracker.predicted(frame.source_time)
                faces, tracked = faces.followed_by(expected), tracked.followed_by(predicted)
        tracks = tracked.tracks
        if self._strangers is not None:
            with timer.stage("strangers"):
                tracks = self._strangers.observe(frame, faces, tracks, tracked.track_ids)
        self._warn_if_slow(frame.source, channel.tracker)
        return FrameResult(
            frame=frame,
            faces=faces,
            matches=tracked.matches,
            track_ids=tracked.track_ids,
            tracks=tracks,
            attributes=tracked.attributes,
            clarities=tracked.clarities,
            look=Look.SCAN if plan is None else plan.look,
            timings_ms=timer.milliseconds,
            latency_s=max(0.0, time.monotonic() - frame.clock_s),
            degrade_level=int(level),
        )

    def _examine(
        self,
        frame: Frame,
        channel: _Channel,
        people: PersonIndex,
        plan: Optional[Plan],
        cut: bool,
        level: DegradeLevel,
        timer: StageTimer,
    ) -> Tuple[Faces, TrackedFaces]:
        """Looks at the frame, or at the parts of it that are planned, and finds out who the faces are."""
        recognizer, tracker = channel.recognizer, channel.tracker
        faces = channel.find(frame, plan, timer)
        with timer.stage("track"):
            continuity = Continuity(cut, face_thumbnails(frame.image, faces.boxes))
            pending = tracker.update(
                faces,
                frame.source_time,
                people.generation,
                frame.continues,
                continuity,
                patience=_patience(level),
                looked_at=None if plan is None else plan.looked_at,
            )
        matches: Dict[int, Match] = {}
        rows: List[int] = []
        large = self._main_frames(frame) if pending.rows else None
        if pending.rows and large == ():
            matches = dict.fromkeys(pending.rows, NOT_COMPARED_YET)
        elif pending.rows:
            pixels = [one.image for one in large or ()]
            try:
                (faces, rejected, quality), found = recognizer.embed_good_from(
                    pixels, frame.image, faces, pending.rows, channel.limits, timer, pending.unverified
                )
            except NotNowError:
                matches = dict.fromkeys(pending.rows, NOT_COMPARED_YET)
            else:
                if large is not None:
                    channel.count_found_again(frame.source, found, len(pending.rows))
                rows = [row for row in pending.rows if row not in rejected]
                for row, (reason, measured, limit) in rejected.items():
                    matches[row] = Match(None, reason, measured=measured, limit=limit, quality=quality[row])
                answers = recognizer.identify(faces, people, rows, timer, pending.settled) if rows else []
                for row, match in zip(rows, answers):
                    matches[row] = replace(match, quality=quality[row])
        attributes: List[FaceAttributes] = []
        if recognizer.attribute_models is not None and len(faces):
            with timer.stage("attributes"):
                attributes = recognizer.attributes(frame.image, faces, rows, pending.attributes)
        with timer.stage("track"):
            compared = [matches[row] for row in pending.rows]
            return faces, tracker.record(pending, compared, faces.embeddings, attributes)

    def _channel(self, name: str) -> _Channel:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel(name, self._recognizer, self._settings)
        return channel

    def _warn_if_slow(self, channel: str, tracker: FaceTracker) -> None:
        rate = tracker.frame_rate
        if channel not in self._slow_channels and rate is not None and rate < tracker.min_frame_rate:
            self._slow_channels.add(channel)
            logger.warning(
                "%s: %.1f frames/s are too few to follow people who walk past; %.1f are needed with these settings. "
                "Use fewer channels, a smaller detection.input_size, or a higher capture.max_fps if one is set",
                channel,
                rate,
                tracker.min_frame_rate,
            )
