"""Events for another program: on standard output, or through a named pipe or device."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Optional

from app.errors import OutputError
from app.events.event import Event
from app.events.history import History, encoded
from app.events.sinks import SinkGoneError

_STDOUT = {Path(name) for name in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")}


def is_stdout(path: Optional[Path]) -> bool:
    return path in _STDOUT


def is_pipe(path: Path) -> bool:
    """Standard output, or anything else to which events are written as they come, without a log of earlier runs."""
    return is_stdout(path) or (path.exists() and not path.is_file() and not path.is_dir())


class EventPipe:
    """A sink. Every reader gets a header and then whole lines.

    While no program reads a named pipe, events wait in the queue. When the reader of standard output has gone, no
    other can come.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"events {path}"
        self._path = path
        self._descriptor: Optional[int] = None
        self._history = History()
        self._event: Optional[Event] = None
        """The one that was begun, with what is still to be written."""
        self._unwritten = b""

    def write(self, event: Event) -> None:
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
                self._event, self._unwritten = None, encoded(self._history.header(time.time()))
            if event is not self._event:
                self._event = event
                self._unwritten += encoded(event.as_json())
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._descriptor, self._unwritten) :]
        except BrokenPipeError as error:
            self.close()
            if is_stdout(self._path):
                raise SinkGoneError("the program that read it has ended") from error
            raise OutputError(f"the program that read {self._path} has ended") from error
        self._history.add(event.as_json())

    def close(self) -> None:
        if self._descriptor is not None and not is_stdout(self._path):
            os.close(self._descriptor)
        self._descriptor = None

    def _open(self) -> int:
        if is_stdout(self._path):
            return 1
        try:
            # Without O_NONBLOCK, it would wait here for a program that reads.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise OutputError(f"no program reads {self._path}") from error
            raise
        os.set_blocking(descriptor, True)
        return descriptor
