"""Frames of a recording at regular moments, each the same however the recording is divided."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from app.errors import SourceError

SEEK_AHEAD_S = 10.0
"""A moment that is farther ahead is sought; otherwise all frames up to it are decoded."""
END_TOLERANCE_S = 2.0
"""How much shorter than its header says a video may be, as with sound that is longer than the pictures."""
MIN_BYTES_PER_S = 100
"""A header that says that a video has fewer is not believed: its packets are counted."""
_EARLY_S = 0.001
"""Time stamps are rounded to the time base."""


class Sample(NamedTuple):
    """The frame of one moment, or why there is none."""

    position_s: float
    """Of the frame, from the beginning of the recording; of the moment if there is no frame."""
    image: Optional[np.ndarray]
    error: str = ""


def sample_count(path: Path, every_s: float) -> int:
    """How many moments, `every_s` apart, a recording has: 1 if it cannot be read."""
    try:
        with _opened(path) as (container, stream):
            duration_s, frames = _duration_s(container, stream), math.inf
            # Recordings that were broken off often have no duration, or any number.
            if not 0 < duration_s * MIN_BYTES_PER_S <= path.stat().st_size:
                duration_s, frames = _duration_of_packets(container, stream)
            return int(max(1, min(math.ceil(duration_s / every_s - 1e-6), frames)))
    except (SourceError, OSError):
        return 1


def samples(path: Path, indices: range, every_s: float) -> Iterator[Sample]:
    """The first frame from `index * every_s` on, for each index. Moments after the end of the pictures are left out if
    they are within `END_TOLERANCE_S` of it; otherwise the first of them is an error, and the last sample."""
    try:
        with _opened(path) as (container, stream):
            duration_s = _duration_s(container, stream)
            frames: Optional[Iterator[Any]] = None
            frame, position = None, -math.inf
            for index in indices:
                moment = index * every_s
                if frames is None or moment - position > SEEK_AHEAD_S:
                    frames = _frames_before(container, stream, moment)
                    frame, position = None, -math.inf
                while position < moment - _EARLY_S:
                    frame = next(frames, None)
                    position = math.inf if frame is None else _position_s(frame, stream)
                if frame is not None:
                    yield Sample(position, _upright(frame, stream))
                elif moment < duration_s - END_TOLERANCE_S or index == 0:
                    length = f"; its header says {duration_s:.1f} s" if duration_s > 0 else ""
                    yield Sample(moment, None, f"{path}: has no frame here or later{length}")
                    return
    except SourceError as error:
        yield Sample(indices.start * every_s, None, str(error))


def frame_at(path: Path, position_s: float) -> np.ndarray:
    """The frame at the position of a `Sample`. Raises SourceError."""
    with _opened(path) as (container, stream):
        for frame in _frames_before(container, stream, position_s):
            if _position_s(frame, stream) >= position_s - _EARLY_S:
                return _upright(frame, stream)
    raise SourceError(f"{path}: has no frame at {position_s:.1f} s")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import av

    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read as a video: {getattr(error, 'strerror', None) or error}") from error
    with container:
        if not container.streams.video:
            raise SourceError(f"{path}: has no video stream")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        yield container, stream


def _duration_s(container: Any, stream: Any) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return 0.0 if container.duration is None else container.duration / 1e6


def _duration_of_packets(container: Any, stream: Any) -> Tuple[float, int]:
    """From the beginning to the last packet, and how many there are. Reads the whole file, but decodes nothing."""
    import av

    last, count = 0, 0
    start = stream.start_time or 0
    with contextlib.suppress(av.error.FFmpegError, OSError):
        for packet in container.demux(stream):
            if packet.pts is not None:
                last, count = max(last, packet.pts - start), count + 1
    # Each packet lasts a little.
    return float(last * stream.time_base) + _EARLY_S, count


def _position_s(frame: Any, stream: Any) -> float:
    return float((frame.pts - (stream.start_time or 0)) * stream.time_base)


def _frames_before(container: Any, stream: Any, moment_s: float) -> Iterator[Any]:
    """Frames in their order, from one that is not after the moment, if there is any."""
    import av

    for start_s in (moment_s, 0.0):
        try:
            offset = round(start_s / stream.time_base) + (stream.start_time or 0)
            container.seek(offset, stream=stream, backward=True)
        except (av.error.FFmpegError, OSError):
            continue
        frames = _decoded(container, stream)
        frame = next(frames, None)
        # Some files have no usable index; then everything before the moment is decoded.
        if start_s == 0.0 or (frame is not None and _position_s(frame, stream) <= moment_s):
            if frame is not None:
                yield frame
            yield from frames
            return


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """What can be decoded: damaged parts are left out."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError):
            return
        if packet is None:
            return
        decoded: List[Any] = []
        with contextlib.suppress(av.error.FFmpegError, OSError):
            decoded = packet.decode()
        yield from (frame for frame in decoded if frame.pts is not None)


def _upright(frame: Any, stream: Any) -> np.ndarray:
    """BGR. Phones record sideways and note by how much."""
    image = frame.to_ndarray(format="bgr24")
    # PyAV 12 knows it of the stream only.
    of_stream = getattr(stream, "side_data", {}).get("DISPLAYMATRIX", 0)
    rotation = getattr(frame, "rotation", of_stream)
    turns = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else np.asarray(image)
