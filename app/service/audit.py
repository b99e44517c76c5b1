"""Who changed what over HTTP, one JSON object per line."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

from starlette.requests import Request

from app.text import iso_time

logger = logging.getLogger(__name__)


class AuditLog:
    """Appends to a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._failed = False

    def note(self, request: Request, action: str, **facts: Any) -> None:
        """What a client has done. A log that cannot be written is reported once, and undoes nothing."""
        entry = {
            "time": iso_time(time.time()),
            "client": getattr(request.state, "client", None),
            "address": request.client.host if request.client else None,
            "action": action,
            **facts,
        }
        try:
            with self._lock:
                if not self._path.exists():
                    self._path.touch(mode=0o600)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._failed = True
                logger.error("%s cannot be written (serve.audit_log): %s", self._path, error.strerror)
