"""The event log: events as JSON Lines, one object a line, in UTF-8, on the disk at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

from app.errors import OutputError
from app.events.event import Event
from app.files import claim_file


class EventFile:
    """A sink. Opens the file at once, so that one that cannot be written is refused before the run begins."""

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        self.path = path
        self.name = f"events {path}"
        self._event: Optional[Event] = None
        self._unwritten = b""
        claim_file(path, overwrite)
        try:
            self._file = path.open("wb" if overwrite else "xb", buffering=0)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def write(self, event: Event) -> None:
        # A full disk may take half a line. The same event comes again then, and the line goes on where it broke off.
        if event is not self._event:
            line = json.dumps(event.as_json(), ensure_ascii=False) + "\n"
            # A name from a file's name may hold bytes that are not text: they become visible as \udcXX.
            self._unwritten += line.encode("utf-8", "backslashreplace")
            self._event = event
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[self._file.write(self._unwritten) :]
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error

    def close(self) -> None:
        self._file.close()
