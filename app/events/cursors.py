"""How far each destination has received a log, in one small file next to the log."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Dict, Mapping

from app.errors import OutputError
from app.events.log import EventLog
from app.events.tail import log_parts
from app.files import write_whole

logger = logging.getLogger(__name__)

CORRECTED = ("postgres",)
"""Destinations that replace an event when it comes again and says less than before."""


class Cursors:
    """The file. It is replaced as a whole, so that after a crash it holds either the old or the new numbers."""

    def __init__(self, log: EventLog, *, from_oldest: bool = False) -> None:
        """A destination that is not in the file begins with the events of this run, or with `from_oldest` with the
        oldest one that is still in a file of the log. Raises OutputError."""
        self.path = _path(log.path.parent, log.id)
        self._log = log
        self._from_oldest = from_oldest
        self._lock = threading.Lock()
        self._delivered = _read(self.path)

    def of(self, destination: str) -> Cursor:
        """Raises OutputError when the file cannot be written."""
        log, saved = self._log, self._delivered.get(destination)
        if saved is not None and saved > log.sequence:
            logger.warning(
                "%s: the log ends at event %d, but %d were delivered to %s; continuing with the next event",
                self.path,
                log.sequence,
                saved,
                destination,
            )
        sequence = self._first() if saved is None else min(saved, log.sequence)
        cursor = Cursor(self, destination, sequence, -1 if saved is None else saved)
        try:
            cursor.save()
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error
        return cursor

    def save(self, destination: str, sequence: int) -> None:
        """Raises OSError. Called from any thread."""
        with self._lock:
            delivered = {**self._delivered, destination: sequence}
            _write(self.path, self._log.id, delivered)
            self._delivered = delivered

    def _first(self) -> int:
        if not self._from_oldest:
            return self._log.sequence
        try:
            parts = log_parts(self._log.template, self._log.id)
        except OSError as error:
            raise OutputError(f"the files of {self._log.template} cannot be read: {error.strerror}") from error
        return parts[0].after if parts else self._log.sequence


class Cursor:
    """The entry of one destination, moved by its thread alone."""

    def __init__(self, cursors: Cursors, destination: str, sequence: int, saved: int) -> None:
        self.path = cursors.path
        self.sequence = sequence
        """The last event that was acknowledged."""
        self.saved = saved
        self._cursors = cursors
        self._destination = destination

    def save(self) -> None:
        """Raises OSError."""
        sequence = self.sequence
        if self.saved != sequence:
            self._cursors.save(self._destination, sequence)
            self.saved = sequence


def rewind(folder: Path, log: str, sequence: int) -> None:
    """The log was redacted from this event on: destinations that can correct what they have get it again.

    Raises OutputError or OSError.
    """
    path = _path(folder, log)
    delivered = _read(path)
    behind = {name: min(at, sequence - 1) if name in CORRECTED else at for name, at in delivered.items()}
    if behind != delivered:
        _write(path, log, behind)


def _path(folder: Path, log: str) -> Path:
    return folder / f"cursors-{log}.json"


def _write(path: Path, log: str, delivered: Mapping[str, int]) -> None:
    write_whole(path, json.dumps({"log": log, "delivered": delivered}).encode() + b"\n")


def _read(path: Path) -> Dict[str, int]:
    try:
        delivered = json.loads(path.read_bytes())["delivered"]
        for destination, sequence in delivered.items():
            if not isinstance(sequence, int) or sequence < 0:
                raise ValueError(f"{destination} = {sequence!r}")
        return dict(delivered)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{path} says how far events were delivered, but cannot be read ({error}); if you delete it, "
            "delivery begins with new events"
        ) from error
