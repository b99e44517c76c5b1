"""What all processes of a server know of their visitors, in a file next to that of the tokens."""

from __future__ import annotations

import contextlib
import logging
import secrets
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple, TypeVar

import msgspec

from app.errors import AppError
from app.files import locked, write_whole
from app.service.http import HttpError
from app.service.tokens import Token

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

LOCK_WAIT_S = 2.0


class BusyStateError(HttpError, AppError):
    """Another process has not ended its change; it would undo this one."""

    def __init__(self) -> None:
        super().__init__(503, "another process is changing the log-ins; try again", headers={"Retry-After": "2"})


class Session(msgspec.Struct):
    token: Token
    used_at: float


class Known(msgspec.Struct):
    key: str
    """With which tickets are signed."""
    sessions: Dict[str, Session] = {}
    """By the hash of the cookie."""
    codes: Dict[str, float] = {}
    """By the hash of a login code: when it expires."""
    failures: Dict[str, List[float]] = {}
    """By address: when it sent a wrong token or code. What is older than a minute does not count, and is removed when
    another is noted."""
    used: Dict[str, float] = {}
    """By the hash of a token: when it was used last."""


class SharedState:
    """Read again when another process has changed it. Deleting the file ends all sessions and tickets.

    Where the file cannot be written, each process has a state of its own, until it ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = Known(secrets.token_hex(32))
        self._stamp: Optional[Tuple[int, int, int]] = None
        self._failed = False

    @classmethod
    def next_to(cls, tokens: Path) -> SharedState:
        return cls(tokens.with_name(f".{tokens.stem}.sessions.json"))

    def read(self) -> Known:
        try:
            stamp = self._file_stamp()
            if stamp is None and self._stamp is not None:
                self._known = Known(secrets.token_hex(32))
            if stamp is not None and stamp != self._stamp:
                self._known = msgspec.json.decode(self._path.read_bytes(), type=Known)
            self._stamp = stamp
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._known, self._stamp = Known(secrets.token_hex(32)), stamp
            self._warn("read", error)
        except OSError as error:
            self._warn("read", error)
        return self._known

    def change(self, how: Callable[[Known], Result], wait_s: Optional[float] = None) -> Result:
        """Changes the state as no other process does at the same time, and gives what `how` returns.

        Raises BusyStateError if other processes take longer than `wait_s` (None: LOCK_WAIT_S).
        """
        with contextlib.ExitStack() as stack:
            try:
                lock = locked(self._path.with_suffix(".lock"), LOCK_WAIT_S if wait_s is None else wait_s)
                if stack.enter_context(lock) is None:
                    raise BusyStateError
            except OSError as error:
                self._warn("locked", error)
            known = self.read()
            result = how(known)
            try:
                write_whole(self._path, msgspec.json.encode(known), mode=0o600)
                self._stamp = self._file_stamp()
                self._failed = False
            except OSError as error:
                self._warn("written", error)
            return result

    def key(self) -> bytes:
        """That other processes have as well."""
        known = self.read()
        if self._stamp is None:
            return bytes.fromhex(self.change(lambda now: now.key))
        return bytes.fromhex(known.key)

    def _file_stamp(self) -> Optional[Tuple[int, int, int]]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _warn(self, what: str, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            logger.warning("%s cannot be %s; log-ins count for one process, until it ends: %s", self._path, what, error)
