"""A recording's events by the clock of the recording, so that two runs give the same log."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Iterator

from app.errors import OutputError, SourceError
from app.events.history import History, encoded
from app.events.pipe import is_stdout
from app.events.stream import EventStream
from app.settings import OutputSettings, Settings
from app.types import FrameResult


def alone(settings: Settings) -> Settings:
    """The settings that decide about faces. Nothing is shown, saved or sent. The gallery does not change, and
    strangers get no numbers: those of earlier runs would make a difference. Faces that are to be ignored, or are not a
    person, count as in a run."""
    return Settings(
        channels=settings.channels,
        capture=settings.capture,
        models=settings.models,
        view=settings.view,
        detection=settings.detection,
        attention=settings.attention,
        gallery=dataclasses.replace(settings.gallery, reload_every_s=0.0),
        quality=settings.quality,
        recognition=settings.recognition,
        attributes=settings.attributes,
        tracking=settings.tracking,
        strangers=dataclasses.replace(settings.strangers, enabled=False),
        output=OutputSettings(window=False),
        run=dataclasses.replace(settings.run, duration_s=None),
    )


def began(recording: Path) -> float:
    """When the file was last modified: of most recordings, the time at which they ended. Raises SourceError."""
    try:
        return recording.stat().st_mtime
    except OSError as error:
        raise SourceError(f"{recording} cannot be read: {error.strerror}") from error


class ReplayLog:
    """An output that writes events, with times that count from the beginning of the recording.

    They are written at once and by one thread, without the queue of a live run.
    """

    name = "events"

    def __init__(self, file: BinaryIO, stream: EventStream, source: str, start: float) -> None:
        """`source` names the log, together with `start`, the time in seconds since the epoch."""
        self._file = file
        self._stream = stream
        self._start = start
        self.events = 0
        log = hashlib.sha256(f"{source} {start}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
        file.write(encoded(History(log=log).header(start)))

    def handle(self, result: FrameResult) -> None:
        frame = dataclasses.replace(result.frame, captured_at=self._start + result.frame.source_time)
        for event in self._stream.handle(dataclasses.replace(result, frame=frame)):
            self._file.write(encoded(event.as_json()))
            self.events += 1

    def close(self) -> None:
        for event in self._stream.close():
            self._file.write(encoded(event.as_json()))
            self.events += 1
        self._file.flush()


@contextmanager
def opened_log(path: Path) -> Iterator[BinaryIO]:
    """The file of a new log, or standard output. An existing file is never touched."""
    if is_stdout(path):
        yield sys.stdout.buffer
        return
    try:
        file = path.open("xb")
    except FileExistsError:
        raise OutputError(f"{path} exists already; a replay writes a log of its own: choose another name") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    with file:
        yield file
