"""Reads a live or remote source in a separate process, which can be ended whatever it hangs in.

Opening one camera does not delay the others either: OpenCV opens one source at a time in each process.

The two processes talk over a pipe in JSON; frames are in a piece of shared memory without a name, so that nothing is
left behind when either process is killed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import mmap
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from multiprocessing.connection import Pipe
from typing import Any, Dict, Iterable, Optional, Tuple

import numpy as np

from app.capture.opening import open_reader
from app.capture.readers import RawFrame, Reader, ReaderDiedError, StallError
from app.capture.uri import Source
from app.errors import AccessDeniedError, SourceError
from app.files import CODE_FOLDER
from app.settings import CaptureSettings

END_WITHIN_S = 0.5
"""How long the process may take to close its camera before it is killed."""
HOLD_S = 10.0
"""How long a source that was opened early is read while nobody wants a frame. Networks are loaded in less time; while
engines are built, which takes minutes, decoding would only take the processor from that."""
_FOREVER_S = 3600.0
ERRORS = {error.__name__: error for error in (SourceError, StallError, ReaderDiedError, AccessDeniedError)}
"""What the other process may raise, or its death."""


def start_reader(source: Source, settings: CaptureSettings) -> Reader:
    """The reader of a source. Only what cannot hang is read in this process: local recordings and pictures."""
    if source.live or source.remote:
        return ProcessReader(source, settings)
    return open_reader(source, settings)


class EarlyReaders:
    """Readers of live sources that open them while the networks are loaded, which takes as long.

    The first time that a source is to be read, its reader is here; then `start_reader` starts others. If that is not
    within `hold_s`, the source is closed again until then. Recordings from the web are opened when they are read.
    """

    def __init__(self, sources: Iterable[Tuple[Source, CaptureSettings]], hold_s: float = HOLD_S) -> None:
        self._lock = threading.Lock()
        self._readers: Dict[Source, ProcessReader] = {}
        with contextlib.suppress(SourceError):  # whoever finds none tries again, and reports it
            for source, settings in sources:
                if source.live:
                    self._readers[source] = ProcessReader(source, settings, hold_s)

    def start_reader(self, source: Source, settings: CaptureSettings) -> Reader:
        with self._lock:
            early = self._readers.pop(source, None)
        if early is not None and early.was_killed:
            early.close()
            early = None
        return early or start_reader(source, settings)

    def close(self) -> None:
        """Closes those that nobody wanted."""
        with self._lock:
            while self._readers:
                self._readers.popitem()[1].close()


class ProcessReader:
    """A reader in another process, which is started without waiting for it: `finish_opening` says if it failed."""

    live = True
    fps: Optional[float] = None
    total_frames: Optional[int] = None
    unreadable = 0

    def __init__(self, source: Source, settings: CaptureSettings, hold_s: Optional[float] = None) -> None:
        """With `hold_s` it is started before anybody reads: the frames until then are not counted as lost, and after
        so long a live source is closed until somebody does."""
        self._is_early = hold_s is not None
        with contextlib.ExitStack() as stack:
            try:
                self._memory = SharedMemory(_anonymous_file())
                stack.callback(self._memory.close)
                self._line, other_end = Pipe()
                stack.callback(self._line.close)
                with other_end:
                    self._process = self._started(other_end.fileno())
            except OSError as error:  # too many open files, or processes
                raise SourceError(f"{source}: no process can be started to read it: {error}") from error
            stack.pop_all()
        self._message: Optional[Dict[str, Any]] = None
        self._ask({"source": asdict(source), "settings": asdict(settings), "hold_s": hold_s})

    def _started(self, line: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "app.capture.reader_child", str(line), str(self._memory.file)],
            pass_fds=(line, self._memory.file),
            stdin=subprocess.DEVNULL,
            env=_environment(),
            # Ctrl-C is for this process, which ends the other one.
            start_new_session=True,
        )

    def wait(self, timeout_s: float) -> bool:
        """Log messages of the process are passed on meanwhile."""
        while self._message is None and self._line.poll(timeout_s):
            try:
                message = json.loads(self._line.recv_bytes())
            except (EOFError, OSError):
                message = {
                    "kind": ReaderDiedError.__name__,
                    "error": f"the process that reads it ended ({_cause(self._process.wait())})",
                }
            if "log" in message:
                logging.getLogger(message["log"]).log(message["level"], "%s", message["text"])
            else:
                self._message = message
        return self._message is not None

    def finish_opening(self) -> None:
        opened = self._answer()
        self.live, self.fps, self.total_frames = opened["live"], opened["fps"], opened["total_frames"]
        self._ask({})

    def read(self) -> Optional[RawFrame]:
        frame = self._answer()
        shape = frame.pop("shape")
        if shape is None:
            return None
        image = np.array(self._memory.array(shape))
        self._ask({})
        if self._is_early:
            self._is_early = False
            frame.update(replaced=0, beyond_max_fps=0, damaged=0)
        return RawFrame(image, **frame)

    def close(self) -> None:
        """Ends the process, at once if it does not end by itself."""
        self._line.close()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._memory.close()

    @property
    def was_killed(self) -> bool:
        return bool(self._process.poll())

    def _ask(self, message: Dict[str, Any]) -> None:
        """The process may have died; then the answer says so."""
        with contextlib.suppress(OSError):
            self._line.send_bytes(json.dumps(message, default=str).encode())

    def _answer(self) -> Dict[str, Any]:
        """What the process sent, however long it takes. Raises a SourceError if that is an error."""
        while not self.wait(_FOREVER_S):
            pass
        message, self._message = self._message or {}, None
        if "error" in message:
            raise ERRORS[message["kind"]](message["error"])
        return message


class SharedMemory:
    """A growing piece of memory that two processes have mapped, through a file without a name."""

    def __init__(self, file: int) -> None:
        """Takes over the file descriptor."""
        self.file = file
        self._map: Optional[mmap.mmap] = None

    def array(self, shape: Any) -> np.ndarray:
        """The memory as an image; valid until a larger one is asked for."""
        size = int(np.prod(shape))
        if self._map is None or len(self._map) < size:
            if os.fstat(self.file).st_size < size:
                os.ftruncate(self.file, size)
            self._map = mmap.mmap(self.file, size)
        array: np.ndarray = np.frombuffer(self._map, np.uint8, size).reshape(shape)
        return array

    def close(self) -> None:
        os.close(self.file)
        self._map = None


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _environment() -> Dict[str, str]:
    path = os.pathsep.join(filter(None, [str(CODE_FOLDER), os.environ.get("PYTHONPATH")]))
    # Threads for linear algebra would only take memory there.
    return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
