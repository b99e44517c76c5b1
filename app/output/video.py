"""The annotated video of one channel: MP4 that browsers play and that survives a kill -9."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import time
from pathlib import Path
from typing import BinaryIO, Callable, List, Optional, Sequence

from app.errors import OutputError
from app.files import claim_file, open_claimed
from app.output.annotate import Annotator
from app.output.layout import Size, fit_into
from app.output.video_encoders import open_video_writer
from app.output.video_writers import FRAGMENT_S, VideoClock, VideoWriter
from app.types import FrameResult

logger = logging.getLogger(__name__)

_MIN_SIDE_PX = 16
"""Encoders refuse smaller pictures."""
RETRY_S = 10.0
"""A video that failed is continued in another file this long after the last one was begun, or later."""
RETRY_MAX_S = 600.0
"""The same, after several parts in a row of which nothing was left, as with a quota that is used up."""
MIN_FREE_BYTES = 64_000_000
"""On the disk, to continue a video."""
_CHECK_FILE_EVERY_S = 5.0
_MAX_LOST = 10
"""Failures that are repeated at the end of the run, which may have lasted for months."""


class VideoOutput:
    """Writes every result that it gets, so it must get those of one channel only.

    Checks at once, before a run starts, that the file may be written; the video is opened with the first frame, whose
    size it takes. When it cannot be written any more (a full disk, a folder that is gone, a file that is too large for
    the disk's format), it is continued in `NAME-2.mp4` as soon as that is possible.
    """

    def __init__(
        self,
        path: Path,
        annotator: Annotator,
        *,
        crf: int = 23,
        overwrite: bool = False,
        fps: Optional[float] = None,
        encoder: str = "auto",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fps` is the frame rate of the source if known; `encoder` is `output.video_encoder`."""
        claim_file(path, overwrite)
        self.name = f"video {path}"
        self._path = self._first = path
        self._part = 1
        self._annotator = annotator
        self._crf = crf
        self._fps = fps
        self._encoder = encoder
        self._now = clock
        self._clock = VideoClock()
        self._writer: Optional[VideoWriter] = None
        self._claim: Optional[BinaryIO] = None
        """Keeps other runs from the file."""
        self._size: Size = (0, 0)
        self._begun_at = -math.inf
        self._checked_at = -math.inf
        self._failed = False
        """Whether the last part failed, and no new one was begun since."""
        self._shown_s = 0.0
        """The length of the part that is being written."""
        self._useless_parts = 0
        """In a row: they failed before their first fragment was complete."""
        self._lost_frames = 0
        self._written: List[Path] = []
        self._lost: List[str] = []

    def handle(self, result: FrameResult) -> None:
        if self._failed and not self._can_continue():
            self._lost_frames += 1
            return
        image = self._annotator.annotate(result)
        try:
            if self._writer is None:
                self._size = video_size(image.shape[1], image.shape[0])
                self._clock = VideoClock()
                self._begun_at = self._checked_at = self._now()
                self._claim = open_claimed(self._path)
                self._writer = open_video_writer(self._path, self._size, self._crf, self._fps, self._encoder)
                if self._failed:
                    logger.warning("the video continues in %s; %d frames are missing", self._path, self._lost_frames)
                    self._lost_frames = 0
                self._failed = False
            self._shown_s = self._clock.seconds(result.frame)
            self._writer.write(fit_into(image, self._size), self._shown_s)
            if self._now() - self._checked_at >= _CHECK_FILE_EVERY_S:
                self._checked_at = self._now()
                if not self._path.exists():
                    raise OutputError(f"{self._path} was removed")
        except (OutputError, OSError) as error:
            self._fail(error)

    def close(self) -> None:
        if self._lost_frames:
            self._lost.append(f"{self.name}: {self._lost_frames} frames at the end are missing")
        if self._writer is None:
            if not self._lost:
                logger.warning("%s was not written: there were no frames", self._path)
            return
        writer, self._writer = self._writer, None
        try:
            writer.close(self._clock.step_s)
        except (OutputError, OSError) as error:
            writer.abandon()
            self._lost.append(f"{self.name}: {error}")
        else:
            if self._path.exists():
                self._written.append(self._path)
            else:
                self._lost.append(f"{self.name}: {self._path} was removed")
        self._release()

    @property
    def is_working(self) -> bool:
        return not self._failed

    @property
    def written(self) -> Sequence[Path]:
        return self._written

    @property
    def lost(self) -> Sequence[str]:
        return self._lost

    def _fail(self, error: Exception) -> None:
        """Leaves the part as it is on the disk, where all but its last second can be played; without that it is
        deleted."""
        writer, self._writer = self._writer, None
        is_useless = writer is None or self._shown_s <= FRAGMENT_S + 2 * self._clock.step_s
        if writer is not None:
            with contextlib.suppress(OutputError, OSError):
                writer.abandon()
                is_useless = is_useless or self._path.stat().st_size == 0
        if self._claim is not None and is_useless:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._release()
        self._useless_parts = self._useless_parts + 1 if is_useless else 0
        self._lost_frames += 1
        if not self._failed:
            lost = f"{self.name}: {error}"
            if lost not in self._lost and len(self._lost) < _MAX_LOST:
                self._lost.append(lost)
            level = logging.ERROR if self._useless_parts < 2 else logging.DEBUG
            logger.log(level, "%s; the video continues in another file when it can be written", error)
        self._failed = True

    def _release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.close()

    def _can_continue(self) -> bool:
        """Whether another part can be begun, with a name of its own."""
        if self._now() - self._begun_at < min(RETRY_MAX_S, RETRY_S * 2.0 ** max(0, self._useless_parts - 1)):
            return False
        self._begun_at = self._now()
        try:
            if shutil.disk_usage(self._path.parent).free < MIN_FREE_BYTES:
                return False
        except OSError:  # the folder is gone
            return False
        while self._path.exists():
            self._part += 1
            self._path = self._first.with_name(f"{self._first.stem}-{self._part}{self._first.suffix}")
        return True


def video_size(width: int, height: int) -> Size:
    """The size of a video for such pictures: even, because colours are stored at half the resolution."""
    return max(_MIN_SIDE_PX, width - width % 2), max(_MIN_SIDE_PX, height - height % 2)
