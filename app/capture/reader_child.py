"""The process at the other end of a `ProcessReader`: opens one source and reads it.

    python -m app.capture.reader_child PIPE MEMORY

Both are numbers of inherited files, so that no address and no password is in the list of processes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Union, cast

import cv2
import numpy as np

from app.capture.decoder_errors import DecoderErrors
from app.capture.lag import LagMeter, waits_of_this_thread
from app.capture.opening import open_reader
from app.capture.reader_process import SharedMemory
from app.capture.readers import STALL_SHARE, RawFrame, Reader, StallError, StreamReader
from app.capture.uri import Source, SourceKind
from app.errors import SourceError
from app.settings import CaptureSettings

_CHECK_PARENT_EVERY_S = 0.2
"""How often a process without frames checks that its parent is alive."""

MAX_LAG_S = 2.0
"""A stream whose frames are later than this is reopened."""
WARN_EVERY_S = 60.0
DAMAGED_WITHIN_S = 2.0
"""A stream without frames is damaged if the decoder complained at most so long ago, and silent otherwise."""

log = logging.getLogger(__name__)


class End:
    """The source has ended."""


Outcome = Union[RawFrame, End, SourceError]
"""Of reading a source."""


class Line:
    """The connection to the parent."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()

    def send(self, message: Dict[str, Any]) -> None:
        with self._sending:
            self._pipe.send_bytes(json.dumps(message).encode())

    def receive(self) -> Dict[str, Any]:
        """Raises EOFError when the parent has closed the connection or is gone."""
        message: Dict[str, Any] = json.loads(self._pipe.recv_bytes())
        return message

    @property
    def is_closed(self) -> bool:
        """To be asked only while the parent waits for an answer, and therefore sends nothing."""
        return self._pipe.poll(0)


def main(pipe: int, memory: int) -> None:
    errors = DecoderErrors()
    cv2.setNumThreads(1)
    line, shared = Line(Connection(pipe)), SharedMemory(memory)
    _forward_log(line)
    job = line.receive()
    source = Source(**{**job["source"], "kind": SourceKind(job["source"]["kind"])})
    ca_file = job["settings"].pop("ca_file")
    settings = CaptureSettings(**job["settings"], ca_file=None if ca_file is None else Path(ca_file))
    try:
        reader = open_reader(source, settings)
    except SourceError as error:
        line.send({"kind": type(error).__name__, "error": str(error)})
        return
    line.send({"live": reader.live, "fps": reader.fps, "total_frames": reader.total_frames})
    if reader.live:
        reopen, limit = partial(open_reader, source, settings), RateLimit(settings.max_fps)
        live = LiveSource(str(source), reader, reopen, limit, errors.came)
        serve_newest(live, line, shared, STALL_SHARE * settings.read_timeout_s, job["hold_s"])
    else:
        with contextlib.closing(reader):
            serve_all(reader, line, shared)


class RateLimit:
    """Which frames to take: at most so many a second, as evenly as they come. None: all."""

    def __init__(self, max_fps: Optional[float]) -> None:
        self._pause_s = 0.0 if max_fps is None else 1 / max_fps
        self._due_s = -math.inf

    def takes(self, now_s: float) -> bool:
        """Asked for each frame, when it comes."""
        if now_s < self._due_s:
            return False
        # One pause after the last frame was due, not after it came: the mean is exact. Half a pause may be caught up.
        self._due_s = max(self._due_s, now_s - self._pause_s / 2) + self._pause_s
        return True


class LiveSource:
    """Reads a live stream; one whose frames come too late is reopened, which jumps to the present."""

    def __init__(
        self,
        name: str,
        reader: Reader,
        reopen: Callable[[], Reader],
        limit: RateLimit,
        errors_came: Callable[[], bool] = lambda: False,
    ) -> None:
        """`errors_came`: whether the decoder has complained since it was asked last."""
        errors_came()  # those of opening
        self._name = name
        self._errors_came = errors_came
        self._damaged = 0
        """Frames that were not reported in the log yet."""
        self._damaged_at = -math.inf
        self._has_complained = False
        """The decoder, about the frame that is being grabbed."""
        self._has_read = False
        self._damage_logged_at = -math.inf
        self._reader = cast(StreamReader, reader)
        self._reopen = reopen
        self._limit = limit
        self._meter = LagMeter()
        self._warned_at = -math.inf
        self._is_paused = False

    def pause(self) -> None:
        """Closes the stream until the next `read`."""
        self._reader.close()
        self._is_paused = True

    def read(self) -> Outcome:
        """The next frame that the limit takes, with the time at which it should have come."""
        left_out = damaged = 0
        try:
            if self._is_paused:
                self._open_again()
            while True:
                waits = waits_of_this_thread()
                if not self._reader.grab():
                    return End()
                is_damaged = self._is_damaged()
                damaged += is_damaged
                if is_damaged and not self._reader.uses_damaged:
                    continue
                arrived_at, now, lag_s = time.time(), time.monotonic(), 0.0
                stamp_s = self._reader.time_stamp_s
                if stamp_s is not None:
                    lag_s = self._meter.lag_s(stamp_s, now, waited=waits_of_this_thread() > waits)
                takes = self._limit.takes(now)
                following = self._reader.retrieve() if takes else None
                if lag_s > MAX_LAG_S:
                    self._catch_up(lag_s, now)
                if not takes:
                    left_out += 1
                elif following is None:
                    return End()
                else:
                    self._has_read = True
                    return replace(
                        following,
                        captured_at=arrived_at - lag_s,
                        clock_s=now - lag_s,
                        beyond_max_fps=left_out,
                        damaged=damaged,
                    )
        except SourceError as error:
            return (self.only_damage() if isinstance(error, StallError) else None) or error

    def note_complaints(self) -> None:
        """To be called now and then while another thread waits for a frame: there may be none that is whole enough."""
        if self._errors_came():
            self._has_complained, self._damaged_at = True, time.monotonic()

    def only_damage(self) -> Optional[SourceError]:
        """Why no frame comes, if only damaged ones did just now."""
        if time.monotonic() - self._damaged_at > DAMAGED_WITHIN_S and not self._reader.is_damaged:
            return None
        return SourceError("all frames that come are damaged (is the network or the camera overloaded?)")

    def _is_damaged(self) -> bool:
        """Whether the frame that was just grabbed is, as far as the decoder says. Reported now and then."""
        complained, self._has_complained = self._has_complained, False
        if not (self._errors_came() or complained or self._reader.is_damaged):
            return False
        self._damaged += 1
        self._damaged_at = now = time.monotonic()
        # Without any whole one, the stream fails, which is reported.
        if self._has_read and now - self._damage_logged_at > WARN_EVERY_S:
            log.warning(
                "%s: frames arrive damaged (%d since the last message); is the network or the camera overloaded?",
                self._name,
                self._damaged,
            )
            self._damage_logged_at, self._damaged = now, 0
        return True

    def _catch_up(self, lag_s: float, now: float) -> None:
        if now - self._warned_at > WARN_EVERY_S:
            self._warned_at = now
            log.warning(
                "%s: frames came %.1f s late, and the stream was reopened to catch up; if this happens often, this "
                "machine is too slow to decode it: use a smaller stream of the camera",
                self._name,
                lag_s,
            )
        self._reader.close()
        self._open_again()

    def _open_again(self) -> None:
        self._meter = LagMeter()
        self._reader = cast(StreamReader, self._reopen())
        self._is_paused = False

    def close(self) -> None:
        if not self._is_paused:
            self._reader.close()


def serve_all(reader: Reader, line: Line, shared: SharedMemory) -> None:
    """Reads a frame whenever the parent wants one."""
    while True:
        line.receive()
        if not send_next(_read(reader), line, shared):
            return


def serve_newest(
    source: LiveSource, line: Line, shared: SharedMemory, silence_s: float, hold_s: Optional[float] = None
) -> None:
    """Reads all frames as they come; the parent gets the newest one that it did not have yet.

    If it gets none for `silence_s` because all are damaged, it gets that as an error. If it wants none for `hold_s`,
    the source is closed until then.
    """
    changed = threading.Condition()
    newest: Optional[Outcome] = None
    wanted = closed = False

    def answer() -> None:
        nonlocal newest, wanted, closed
        with contextlib.suppress(EOFError, OSError):
            while True:
                line.receive()
                asked_at = time.monotonic()
                with changed:
                    wanted = True
                    changed.notify_all()
                    while newest is None:
                        changed.wait(_CHECK_PARENT_EVERY_S)
                        if newest is None and line.is_closed:
                            raise EOFError
                        if newest is None:
                            source.note_complaints()
                            if time.monotonic() - asked_at > silence_s:
                                newest = source.only_damage()
                    following, newest = newest, None
                if not send_next(following, line, shared):
                    break
        with changed:
            closed = True
            changed.notify_all()

    answering = threading.Thread(target=answer, daemon=True)
    answering.start()
    with contextlib.closing(source):
        hold_until = math.inf if hold_s is None else time.monotonic() + hold_s
        while True:
            if not wanted and time.monotonic() > hold_until:
                source.pause()
                with changed:
                    newest = None
                    changed.wait_for(lambda: wanted or closed)
                    if closed:
                        return
            following = source.read()
            with changed:
                if closed:
                    return
                if isinstance(following, RawFrame) and isinstance(newest, RawFrame):
                    following = replace(
                        following,
                        replaced=newest.replaced + 1,
                        beyond_max_fps=newest.beyond_max_fps + following.beyond_max_fps,
                        damaged=newest.damaged + following.damaged,
                    )
                newest = following
                changed.notify_all()
            if not isinstance(following, RawFrame):
                answering.join()
                return


def _read(reader: Reader) -> Outcome:
    try:
        raw = reader.read()
    except SourceError as error:
        return error
    return End() if raw is None else raw


def send_next(following: Outcome, line: Line, shared: SharedMemory) -> bool:
    """Sends what was read; whether more can follow."""
    if isinstance(following, SourceError):
        line.send({"kind": type(following).__name__, "error": str(following)})
        return False
    if isinstance(following, End):
        line.send({"shape": None})
        return False
    np.copyto(shared.array(following.image.shape), following.image)
    line.send(
        {
            "shape": following.image.shape,
            "position": following.position,
            "captured_at": following.captured_at,
            "clock_s": following.clock_s,
            "replaced": following.replaced,
            "beyond_max_fps": following.beyond_max_fps,
            "damaged": following.damaged,
        }
    )
    return True


def _forward_log(line: Line) -> None:
    class Forwarder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line.send({"log": record.name, "level": record.levelno, "text": record.getMessage()})

    root = logging.getLogger()
    root.handlers[:] = [Forwarder()]


if __name__ == "__main__":
    # The parent may be gone, or not want to wait for the end.
    with contextlib.suppress(EOFError, OSError):
        main(int(sys.argv[1]), int(sys.argv[2]))
