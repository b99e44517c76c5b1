"""A GStreamer pipeline in a process of its own, for programs whose OpenCV has no GStreamer.

The process can be killed whatever it hangs in, and leaves nothing behind. Frames come and go over pipes.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple, Union

from app.errors import AppError
from app.gstreamer import child

CLOSE_WITHIN_S = 0.3
"""How long a pipeline may take to say goodbye to its camera before it is killed."""
_START_TIMEOUT_S = 120.0
"""The first start of GStreamer on a machine looks at each plugin."""
_FIND_TIMEOUT_S = 30.0
_MAX_SAID = 4096


class PipelineError(AppError):
    """A pipeline that cannot be started, or that failed."""

    def __init__(self, text: str, is_missing: bool = False) -> None:
        super().__init__(text)
        self.is_missing = is_missing
        """Whether GStreamer, or an element of the pipeline, is not installed."""


class PipelineTimeoutError(PipelineError):
    """The pipeline runs, and nothing comes."""


class Message(NamedTuple):
    """What the process sent. The content of a frame is valid until the next message is received."""

    kind: bytes
    content: memoryview
    time_ns: int
    duration_ns: int


class Found(NamedTuple):
    """The GStreamer of this machine."""

    version: str
    missing: Tuple[str, ...]
    """The elements that it lacks."""


def find_elements(elements: Sequence[str]) -> Found:
    """Asks GStreamer for these elements. Raises PipelineError if it is not installed."""
    process = PipelineProcess({"do": "find", "elements": list(elements)})
    try:
        found = json.loads(bytes(process.receive(_FIND_TIMEOUT_S).content))
    finally:
        process.close(0.0)
    return Found(found["version"], tuple(found["missing"]))


class PipelineProcess:
    """Runs child.py, and exchanges messages with it."""

    def __init__(self, job: Dict[str, Any], files: Sequence[int] = ()) -> None:
        """`files` are inherited under the same numbers."""
        self._messages, other_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", child.__file__, str(other_end)],
                pass_fds=(other_end, *files),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the program, which ends this process.
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._messages)
            raise PipelineError(f"no process can be started for GStreamer: {error}") from error
        finally:
            os.close(other_end)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to_child, self._printed = self._process.stdin, self._process.stdout
        os.set_blocking(self._to_child.fileno(), False)
        os.set_blocking(self._messages, False)
        self._said = b""
        """The end of what GStreamer printed."""
        self._frame = bytearray()
        try:
            self.send(child.JOB, json.dumps(job).encode(), timeout_s=_START_TIMEOUT_S)
            self.receive(_START_TIMEOUT_S)
        except PipelineError:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_message(self) -> bool:
        return bool(_ready(self._messages, select.POLLIN, 0.0))

    def receive(self, timeout_s: float) -> Message:
        """The next message. Raises PipelineError if that is an error, or if the process has died."""
        deadline = time.monotonic() + timeout_s
        kind, length, time_ns, duration_ns = child.HEADER.unpack(
            self._received(memoryview(bytearray(child.HEADER.size)), deadline)
        )
        if len(self._frame) < length:
            self._frame = bytearray(length)
        content = self._received(memoryview(self._frame)[:length], deadline)
        if kind == child.ERROR:
            error = json.loads(bytes(content))
            raise PipelineError(f"GStreamer: {error['text']}", error["is_missing"])
        return Message(kind, content, time_ns, duration_ns)

    def send(
        self,
        kind: bytes,
        content: Union[bytes, memoryview] = b"",
        *,
        time_ns: int = child.UNKNOWN,
        duration_ns: int = child.UNKNOWN,
        timeout_s: float,
    ) -> None:
        """Raises PipelineError if the process does not take it."""
        deadline = time.monotonic() + timeout_s
        for part in (child.HEADER.pack(kind, len(content), time_ns, duration_ns), content):
            rest = memoryview(part)
            while rest:
                self._wait_for(self._to_child.fileno(), select.POLLOUT, deadline)
                try:
                    rest = rest[os.write(self._to_child.fileno(), rest) :]
                except BrokenPipeError:
                    # The reason comes first, if there is one.
                    self.receive(timeout_s)
                    raise self._died() from None

    def close(self, within_s: float = CLOSE_WITHIN_S) -> None:
        """Ends the process: at once if it does not end by itself within this time."""
        self._to_child.close()
        os.close(self._messages)
        try:
            if within_s <= 0:
                self._process.kill()
            self._process.wait(within_s or None)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._printed.close()

    def _received(self, room: memoryview, deadline: float) -> memoryview:
        rest = room
        while rest:
            self._wait_for(self._messages, select.POLLIN, deadline)
            count = os.readv(self._messages, [rest])
            if count == 0:
                raise self._died()
            rest = rest[count:]
        return room

    def _wait_for(self, file: int, event: int, deadline: float) -> None:
        """Until the file is ready. What GStreamer prints is taken meanwhile, so that it can go on."""
        ready = select.poll()
        ready.register(file, event)
        ready.register(self._printed.fileno(), select.POLLIN)
        while True:
            events = dict(ready.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if self._printed.fileno() in events:
                printed = os.read(self._printed.fileno(), _MAX_SAID)
                if printed:
                    self._said = (self._said + printed)[-_MAX_SAID:]
                else:
                    ready.unregister(self._printed.fileno())
            if file in events:
                return
            if time.monotonic() >= deadline:
                raise PipelineTimeoutError(f"GStreamer does not answer{self._last_words()}")

    def _died(self) -> PipelineError:
        code = self._process.wait()
        cause = f"signal {-code}" if code < 0 else f"exit code {code}"
        return PipelineError(f"the process that runs GStreamer ended ({cause}){self._last_words()}")

    def _last_words(self) -> str:
        lines = self._said.decode("utf-8", "replace").strip().splitlines()
        return f"; it printed last: {' | '.join(line.strip() for line in lines[-3:])}" if lines else ""


def _ready(file: int, event: int, timeout_s: float) -> Optional[int]:
    poll = select.poll()
    poll.register(file, event)
    events = poll.poll(timeout_s * 1000)
    return events[0][1] if events else None


def path_of_child() -> Path:
    """For those who look for the process in the list of processes."""
    return Path(child.__file__)
