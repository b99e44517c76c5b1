"""The annotated film of one channel: MP4 that a browser plays and that survives a kill -9."""

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

_LEAST_SIDE_PX = 16
"""Encoders refuse smaller pictures."""


class VideoOutput:
    """Writes every result that it is given, so it is given those of one channel only.

    Whether the file may be written is found out at once, before a run has begun; the film itself is opened with the
    first frame, whose size it takes.
    """

    def __init__(
        self, path: Path, annotator: Annotator, *, crf: int = 23, overwrite: bool = False, fps: Optional[float] = None
    ) -> None:
        """`fps` is the source's rate as far as known; only writers without timestamps need it."""
        claim_file(path, overwrite)
        self.name = f"film {path}"
        self._path = path
        self._annotator = annotator
        self._crf = crf
        self._fps = fps
        self._clock = VideoClock()
        self._writer: Optional[VideoWriter] = None
        self._size: Size = (0, 0)
        self._is_complete = False

    def handle(self, result: FrameResult) -> None:
        frame = result.frame
        image = self._annotator.annotate(result)
        if self._writer is None:
            self._size = video_size(image.shape[1], image.shape[0])
            self._writer = open_video_writer(self._path, self._size, self._crf, self._fps)
        self._writer.write(fit_into(image, self._size), self._clock.seconds(frame))

    @property
    def written(self) -> Sequence[Path]:
        return [self._path] if self._is_complete else []

    @property
    def lost(self) -> Sequence[str]:
        return []

    def close(self) -> None:
        if self._writer is None:
            logger.warning("%s was not written: no frame came", self.name)
            return
        writer, self._writer = self._writer, None
        writer.close(self._clock.step_s)
        self._is_complete = True


def video_size(width: int, height: int) -> Size:
    """The size of a film of such pictures: even, because its colours have half the resolution."""
    return max(_LEAST_SIDE_PX, width - width % 2), max(_LEAST_SIDE_PX, height - height % 2)
