"""The frames of a single source, for a program that has a loop of its own."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Iterator, Optional, Type, Union

from app.capture.capture import Channels
from app.capture.opening import check_present
from app.capture.uri import parse_source
from app.errors import SourceError
from app.settings import CaptureSettings
from app.types import ChannelState, Frame

POLL_S = 0.5


class FrameSource:
    """Iterates over the frames of a camera, recording or folder of pictures. See `open_source`."""

    def __init__(self, address: str, name: Optional[str], settings: CaptureSettings) -> None:
        source = parse_source(address, name)
        check_present(source)
        self.name = source.name
        self._channels = Channels([source], settings)

    def __iter__(self) -> Iterator[Frame]:
        while not self._channels.finished:
            frame = self._channels.take(POLL_S)
            if frame is not None:
                yield frame
        (status,) = self._channels.status()
        if status.state is ChannelState.FAILED:
            raise SourceError(status.last_error or f"{self.name} cannot be read")

    def close(self) -> None:
        self._channels.close()

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


def open_source(
    address: Union[str, Path], name: Optional[str] = None, settings: Optional[CaptureSettings] = None
) -> FrameSource:
    """Opens a source and reads it in a separate thread; iterate over the result to get its frames.

    `address` is what the program takes as well: `rtsp://…`, `camera:0`, `csi:0`, a video file, `images:DIR`. A live
    source gives its newest frame and is reopened whenever it breaks, so its frames never end; a recording gives every
    frame. Raises SourceError if the source cannot be opened.

    Example:
        >>> with open_source("visit.mp4") as frames:  # doctest: +SKIP
        ...     for frame in frames:
        ...         print(frame.index, frame.image.shape)
    """
    return FrameSource(str(address), name, settings or CaptureSettings())
