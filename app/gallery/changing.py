"""One change of the gallery's folder at a time, also among several programs: a server, its workers, and commands."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from pathlib import Path
from typing import Iterator, Set

from app.errors import GalleryError
from app.files import locked

LOCK_FILE = ".changes.lock"
WAIT_S = 20.0
"""How long a change waits for those of other programs."""

_threads = threading.RLock()
_held: Set[str] = set()
"""Folders that the thread which has the lock is changing."""
_program = uuid.uuid4().hex


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[bool]:
    """Held while the files of a gallery change. Whether another program may have changed them since this one did.

    A change may be a part of another one, of the same thread. Raises GalleryError if another program takes too long.
    Where no lock file can be written, there is no lock.
    """
    place = os.path.realpath(str(folder))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_threads)
        if place in _held:
            yield False
            return
        try:
            lock = stack.enter_context(locked(folder / LOCK_FILE, WAIT_S))
        except OSError:
            yield True
            return
        if lock is None:
            raise GalleryError(f"{folder} is being changed by another program for more than {WAIT_S:g} s; try again")
        lock.seek(0)
        changed_by = lock.read(64).decode("ascii", "replace")
        if changed_by != _program:
            lock.truncate(0)
            lock.write(_program.encode("ascii"))
            lock.flush()
        _held.add(place)
        stack.callback(_held.discard, place)
        yield changed_by != _program
