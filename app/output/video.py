"""The annotated video of one channel: MP4 that browsers play and that survives a kill -9."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Optional, Sequence

from app.files import claim_file
from app.output.annotate import Annotator
from app.output.layout import Size, fit_into
from app.output.video_encoders import open_video_writer
from app.output.video_writers import VideoClock, VideoWriter
from app.types import FrameResult

logger = logging.getLogger(__name__)

_MIN_SIDE_PX = 16
"""Encoders refuse smaller pictures."""


class VideoOutput:
    """Writes every result that it gets, so it must get those of one channel only.

    Checks at once, before a run starts, that the file may be written; the video is opened with the first frame, whose
    size it takes.
    """

    def __init__(
        self, path: Path, annotator: Annotator, *, crf: int = 23, overwrite: bool = False, fps: Optional[float] = None
    ) -> None:
        """`fps` is the frame rate of the source if known; only writers without timestamps need it."""
        claim_file(path, overwrite)
        self.name = f"video {path}"
        self._path = path
        self._annotator = annotator
        self._crf = crf
        self._fps = fps
        self._clock = VideoClock()
        self._writer: Optional[VideoWriter] = None
        self._size: Size = (0, 0)
        self._is_complete = False

    def handle(self, result: FrameResult) -> None:
        image = self._annotator.annotate(result)
        if self._writer is None:
            self._size = video_size(image.shape[1], image.shape[0])
            self._writer = open_video_writer(self._path, self._size, self._crf, self._fps)
        self._writer.write(fit_into(image, self._size), self._clock.seconds(result.frame))

    def close(self) -> None:
        if self._writer is None:
            logger.warning("%s was not written: there were no frames", self._path)
            return
        writer, self._writer = self._writer, None
        writer.close(self._clock.step_s)
        self._is_complete = True

    @property
    def written(self) -> Sequence[Path]:
        return [self._path] if self._is_complete else []

    @property
    def lost(self) -> Sequence[str]:
        return []


def video_size(width: int, height: int) -> Size:
    """The size of a video for such pictures: even, because colours are stored at half the resolution."""
    return max(_MIN_SIDE_PX, width - width % 2), max(_MIN_SIDE_PX, height - height % 2)
