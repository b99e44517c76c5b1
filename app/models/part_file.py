"""The part of a file that has arrived so far, which survives the program and is never taken for the whole."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Optional, Type

from app.errors import ModelError

try:
    import fcntl

    CAN_LOCK = True
except ImportError:  # Windows: two downloads of one model at once are not kept apart there
    CAN_LOCK = False


class PartFile:
    """`.NAME.part` beside its target, held open and locked; and `.NAME.part.origin`, which tells where it came from."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f".{target.name}.part")
        self._target = target
        self._origin = target.with_name(f".{target.name}.part.origin")
        self._file: Optional[BinaryIO] = None

    def __enter__(self) -> PartFile:
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        except OSError as error:
            raise self._cannot_write(error) from error
        if not self._lock():
            self._file.close()
            raise ModelError(f"{self._target} is being installed by another program right now; wait until it is done")
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._open_file.closed:
            return
        is_empty = not self.size
        self._close_where_names_are_locked()
        if is_empty:
            for path in (self.path, self._origin):
                if path.exists():
                    path.unlink()
        self._open_file.close()

    @property
    def size(self) -> int:
        return os.fstat(self._open_file.fileno()).st_size

    def version(self, address: str) -> str:
        """What the server at this address called the version that the part is of; empty if it is not known."""
        try:
            noted_address, _, version = self._origin.read_text(encoding="utf-8").partition("\n")
        except (FileNotFoundError, UnicodeDecodeError):
            return ""
        return version if noted_address == address else ""

    def start(self, address: str, version: str) -> None:
        """Empties it for the first byte of this version from this address."""
        self.clear()
        try:
            self._origin.write_text(f"{address}\n{version}", encoding="utf-8")
        except OSError as error:
            raise self._cannot_write(error) from error

    def append(self, block: bytes) -> None:
        try:
            self._open_file.write(block)
            self._open_file.flush()
        except OSError as error:
            raise self._cannot_write(error) from error

    def clear(self) -> None:
        self._open_file.truncate(0)
        if self._origin.exists():
            self._origin.unlink()

    def become_target(self) -> None:
        """Gives the complete file its final name, at once and for good, even if the power fails right after."""
        try:
            os.fsync(self._open_file.fileno())
            self._close_where_names_are_locked()
            self.path.replace(self._target)
            self._open_file.close()
            if self._origin.exists():
                self._origin.unlink()
        except OSError as error:
            raise self._cannot_write(error) from error

    @property
    def _open_file(self) -> BinaryIO:
        assert self._file is not None, "a PartFile is used within `with`"
        return self._file

    def _lock(self) -> bool:
        """False if another program works on it."""
        if not CAN_LOCK:
            return True
        try:
            fcntl.flock(self._open_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        # The other one may have finished in this moment: then this is already the target under its old name.
        return self.path.exists() and os.path.samestat(os.fstat(self._open_file.fileno()), self.path.stat())

    def _close_where_names_are_locked(self) -> None:
        """Windows neither renames nor removes an open file; elsewhere the lock is held until that is done."""
        if not CAN_LOCK:
            self._open_file.close()

    def _cannot_write(self, error: OSError) -> ModelError:
        return ModelError(f"{self._target} cannot be written: {error.strerror}")
