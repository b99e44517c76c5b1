"""Who changed what over HTTP, one JSON object per line."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request

from app.files import locked
from app.text import iso_time

LOCK_WAIT_S = 2.0
logger = logging.getLogger(__name__)


class AuditLog:
    """Appends to a file that only its owner can read."""

    def __init__(self, path: Path, max_mb: float) -> None:
        """A file that would be larger is renamed first, and replaces the one that was renamed before it."""
        self._path = path
        self._max_bytes = int(max_mb * 1e6)
        self._lock = threading.Lock()
        self._failed = False

    def note(self, request: Request, action: str, **facts: Any) -> None:
        """What a client has done. A log that cannot be written is reported once, and undoes nothing."""
        entry = {
            "time": iso_time(time.time()),
            "client": getattr(request.state, "client", None),
            "address": request.client.host if request.client else None,
            "request": getattr(request.state, "request_id", None),
            "action": action,
            **facts,
        }
        try:
            with self._lock:
                line = (json.dumps(entry, ensure_ascii=False) + "\n").encode()
                self._make_room(len(line))
                with open(self._path, "ab", opener=partial(os.open, mode=0o600)) as file:
                    file.write(line)
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._failed = True
                logger.error("%s cannot be written (serve.audit_log): %s", self._path, error.strerror)

    def _make_room(self, line_bytes: int) -> None:
        """Other processes write the same file: the one that has the lock renames it. If another keeps the lock, the
        file becomes larger meanwhile."""
        if self._is_full(line_bytes):
            with locked(self._path.with_name(f".{self._path.name}.lock"), LOCK_WAIT_S) as lock:
                if lock is not None and self._is_full(line_bytes):
                    self._path.replace(self._path.with_name(f"{self._path.name}.1"))

    def _is_full(self, line_bytes: int) -> bool:
        try:
            return self._path.stat().st_size + line_bytes > self._max_bytes
        except FileNotFoundError:  # another process has just renamed it
            return False
