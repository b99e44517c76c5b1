"""Records one channel in segments, always or only while someone is there."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from pathlib import Path
from typing import Callable, Deque, Iterator, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.errors import OutputError
from app.output.annotate import Annotator
from app.output.layout import Size, fit_into
from app.output.paths import file_names
from app.output.recordings import Recordings
from app.output.video import video_size
from app.output.video_encoders import open_video_writer
from app.output.video_writers import FRAGMENT_S, VideoClock, VideoWriter
from app.settings import RecordSettings, Settings
from app.text import counted
from app.types import FrameResult

logger = logging.getLogger(__name__)

PRE_ROLL_FPS = 5.0
"""Frames are kept at this rate while no one is there: each is compressed, which is work."""
_EARLY = 0.8
"""Part of the time between two of them after which the next is kept: those of a camera of 5 frames/s come a little
early or late."""
PRE_ROLL_BYTES = 32_000_000
"""Of one channel."""
RETRY_S = 10.0
"""After something could not be written."""
_CHECK_FILE_EVERY_S = 5.0
_LAST_SHOWN_S = 1.0
"""At most, the last picture of a segment: the camera may have been silent for hours since."""
_SHORTEST = 0.1
"""Of a segment's length; what is shorter becomes a part of the next one, as when the clock was corrected a little."""
_JPEG_QUALITY = 90


class _Kept(NamedTuple):
    """A frame from before someone came."""

    shown_s: float
    captured_at: float
    picture: np.ndarray
    """JPEG."""


class _Segment:
    """A segment that is being written."""

    def __init__(self, path: Path, writer: VideoWriter, size: Size, began_s: float, cut_at_s: float) -> None:
        self.path = path
        self.writer = writer
        self.size = size
        self.began_s = began_s
        self.cut_at_s = cut_at_s
        self.shown_s = 0.0

    def write(self, image: np.ndarray, shown_s: float) -> None:
        self.shown_s = shown_s - self.began_s
        self.writer.write(fit_into(image, self.size), self.shown_s)


class Recorder:
    """Writes every result that it gets, so it must get those of one channel only.

    A segment begins with a key frame and ends at a multiple of its length, as at 14:10, 14:20; it can be played while
    it is written, and after a kill. What cannot be written is left out, until it can.
    """

    def __init__(
        self,
        recordings: Recordings,
        channel: str,
        settings: RecordSettings,
        annotator: Optional[Annotator],
        post_roll_s: float,
        crf: int = 23,
        encoder: str = "auto",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`channel` is a part of names of files. Without `annotator`, the pictures are those of the camera."""
        self.name = f"recording of {channel}"
        self._recordings = recordings
        self._channel = channel
        self._always = settings.when == "always"
        self._segment_s = settings.segment_minutes * 60
        self._pre_roll_s = settings.pre_roll_s
        self._post_roll_s = post_roll_s
        self._annotator = annotator
        self._crf = crf
        self._encoder = encoder
        self._now = clock
        self._timeline = VideoClock()
        self._segment: Optional[_Segment] = None
        self._wanted_until_s = -math.inf
        self._kept: Deque[_Kept] = deque()
        self._kept_bytes = 0
        self._retry_at = -math.inf
        self._checked_at = -math.inf
        self._missing = 0
        """Frames in a row that could not be written."""
        self._lost_frames = 0
        """Those of earlier gaps."""
        self._failures = 0
        """In a row: segments that failed before they had a picture that can be played."""

    def handle(self, result: FrameResult) -> None:
        shown_s = self._timeline.seconds(result.frame)
        if result.tracks:
            self._wanted_until_s = shown_s + self._post_roll_s
        try:
            if not self._always and shown_s > self._wanted_until_s:
                self._end()
                self._keep(result, shown_s)
                return
            if self._recordings.paused is not None and self._segment is not None:
                self._end()
                self._recordings.check_soon()  # now it can be deleted as well, to make room
            if self._segment is not None and shown_s >= self._segment.cut_at_s:
                self._end()
            if self._segment is None and (self._recordings.paused is not None or self._now() < self._retry_at):
                self._missing += 1
                return
            self._write(self._segment or self._begin(result, shown_s), self._picture(result), shown_s)
        except (OutputError, OSError) as error:
            self._fail(error)

    def close(self) -> None:
        try:
            self._end()
        except (OutputError, OSError) as error:
            self._fail(error)

    @property
    def is_working(self) -> bool:
        return not self._missing

    @property
    def written(self) -> Sequence[Path]:
        return ()  # The folder is named once for all channels.

    @property
    def lost(self) -> Sequence[str]:
        missing = self._lost_frames + self._missing
        return [f"{self.name}: {counted(missing, 'frame')} could not be written"] if missing else []

    def _picture(self, result: FrameResult) -> np.ndarray:
        return result.frame.image if self._annotator is None else self._annotator.annotate(result)

    def _keep(self, result: FrameResult, shown_s: float) -> None:
        """Remembers the frame for the case that someone comes; forgets what is too old or too much."""
        if self._pre_roll_s <= 0 or (self._kept and shown_s - self._kept[-1].shown_s < _EARLY / PRE_ROLL_FPS):
            return
        _, picture = cv2.imencode(".jpg", self._picture(result), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        self._kept.append(_Kept(shown_s, result.frame.captured_at, picture))
        self._kept_bytes += picture.nbytes
        while self._kept and (self._kept[0].shown_s < shown_s - self._pre_roll_s or self._kept_bytes > PRE_ROLL_BYTES):
            self._kept_bytes -= self._kept.popleft().picture.nbytes

    def _begin(self, result: FrameResult, shown_s: float) -> _Segment:
        kept, self._kept, self._kept_bytes = self._kept, deque(), 0
        while kept and kept[0].shown_s < shown_s - self._pre_roll_s:
            kept.popleft()
        began_s, moment = (kept[0].shown_s, kept[0].captured_at) if kept else (shown_s, result.frame.captured_at)
        path = self._recordings.begin(self._channel, moment)
        height, width = result.frame.image.shape[:2]
        size = video_size(width, height)
        try:
            writer = open_video_writer(path, size, self._crf, encoder=self._encoder)
        except BaseException:
            self._recordings.end(path, is_complete=False)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        left_s = self._segment_s - moment % self._segment_s
        if left_s < self._segment_s * _SHORTEST:
            left_s += self._segment_s
        segment = self._segment = _Segment(path, writer, size, began_s, began_s + left_s)
        self._checked_at = self._now()
        if self._missing:
            logger.warning("%s resumes; %d frames are missing", self.name, self._missing)
            self._lost_frames, self._missing = self._lost_frames + self._missing, 0
        for one in kept:
            self._write(segment, np.asarray(cv2.imdecode(one.picture, cv2.IMREAD_COLOR)), one.shown_s)
        return segment

    def _write(self, segment: _Segment, image: np.ndarray, shown_s: float) -> None:
        segment.write(image, shown_s)
        if segment.shown_s > FRAGMENT_S:
            self._failures = 0
        if self._now() - self._checked_at >= _CHECK_FILE_EVERY_S:
            self._checked_at = self._now()
            if not segment.path.exists():
                raise OutputError(f"{segment.path} was removed")

    def _end(self) -> None:
        """Completes the segment, if there is one."""
        if self._segment is not None:
            self._segment.writer.close(min(self._timeline.step_s, _LAST_SHOWN_S))
            self._recordings.end(self._segment.path)
            self._segment = None

    def _fail(self, error: Exception) -> None:
        """Leaves the segment as it is on the disk, where all but its last second can be played; without that it is
        deleted."""
        segment, self._segment = self._segment, None
        self._missing += 1
        self._failures += 1
        self._retry_at = self._now() + RETRY_S
        level = logging.ERROR if self._failures == 1 else logging.DEBUG
        logger.log(level, "%s: %s; it continues in another segment when it can", self.name, error)
        if segment is not None:
            with contextlib.suppress(OutputError, OSError):
                segment.writer.abandon()
            is_playable = segment.shown_s > FRAGMENT_S + 2 * self._timeline.step_s
            with contextlib.suppress(OSError):
                is_playable = is_playable and segment.path.stat().st_size > 0
            self._recordings.end(segment.path, is_playable)
            if not is_playable:
                with contextlib.suppress(OSError):
                    segment.path.unlink()
        self._recordings.check_soon()


def recorders(
    recordings: Recordings, settings: Settings, channels: Sequence[str], annotator: Annotator
) -> Iterator[Tuple[str, Recorder]]:
    """One for each channel that is to be recorded."""
    for channel, name in file_names(channels).items():
        own = settings.for_channel(channel)
        if own.record.when != "never":
            drawn = annotator if own.record.annotated else None
            yield (
                channel,
                Recorder(
                    recordings,
                    name,
                    own.record,
                    drawn,
                    own.tracking.visit_gap_s,
                    own.output.video_crf,
                    own.output.video_encoder,
                ),
            )
