"""Finds faces through a server: this program's, or a core of CompreFace."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import uuid
from pathlib import Path
from typing import Dict, Optional
from urllib.parse import urlsplit

import numpy as np

from app.errors import AppError
from app.types import Faces

TIMEOUT_S = 120.0
NO_FACE = "No face is found"
BOX_KEYS = ("x_min", "y_min", "x_max", "y_max", "probability")


class RemoteScanner:
    """Posts pictures to `URL/scan_faces`."""

    def __init__(self, url: str, token: Optional[str] = None, min_score: Optional[float] = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AppError(f"{url!r}: expected the address of a server such as http://127.0.0.1:8080")
        self._is_encrypted = parts.scheme == "https"
        self._address = (parts.hostname, parts.port)
        self._path = f"{parts.path.rstrip('/')}/scan_faces"
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{self._path}"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._fields: Dict[str, str] = {} if min_score is None else {"det_prob_threshold": str(min_score)}

    def find(self, data: bytes) -> Faces:
        """The faces of a picture, from the bytes of its file, without landmarks."""
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in self._fields.items()
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\n'
        parts += [f"{head}Content-Type: application/octet-stream\r\n\r\n".encode(), data]
        body = b"".join([*parts, f"\r\n--{boundary}--\r\n".encode()])
        headers = {**self._headers, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        host, port = self._address
        connection = (
            http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
            if self._is_encrypted
            else http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        )
        try:
            with contextlib.closing(connection):
                connection.request("POST", self._path, body, headers)
                reply = connection.getresponse()
                return self._faces(reply.status, reply.read())
        except (OSError, http.client.HTTPException) as error:
            raise AppError(f"{self.shown} does not answer: {error or type(error).__name__}") from error

    def _faces(self, status: int, body: bytes) -> Faces:
        try:
            content = json.loads(body)
            if status == 400 and NO_FACE in content["message"]:
                return Faces.empty()
            if status == 200:
                rows = [[float(face["box"][key]) for key in BOX_KEYS] for face in content["result"]]
                values = np.array(rows, np.float32).reshape(-1, len(BOX_KEYS))
                return Faces(values[:, :4], values[:, 4], np.zeros((len(rows), 5, 2), np.float32))
        except (ValueError, TypeError, KeyError):
            pass
        shown = body[:200].decode("utf-8", "replace")
        raise AppError(f"{self.shown}: expected the reply of CompreFace's core, not {status}: {shown}")


def read_token(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AppError(f"{path}: the token cannot be read: {error}") from error
