"""Findings of the gallery's photos on disk, so that a restart examines only new photos."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping

import numpy as np

from app.files import write_whole
from app.gallery.people import PhotoFinding
from app.types import Reason

CACHE_FILE = ".embeddings.cache"

_MAGIC = b"face gallery cache, version 2\n"

log = logging.getLogger(__name__)


class EmbeddingCache:
    """One file: findings by the SHA-256 of their photo.

    A line with the format's version, a line with the SHA-256 of the rest, a line of JSON, and the embeddings as a NumPy
    array. A file that is incomplete, damaged or made with other models is ignored as a whole.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        """`fingerprint` identifies everything that a finding depends on: networks and quality limits."""
        self._path = path
        self._fingerprint = fingerprint
        self._reported_unwritable = False

    def exists(self) -> bool:
        return self._path.is_file()

    def load(self) -> Dict[str, PhotoFinding]:
        """Findings by content hash; empty when there are none for this fingerprint."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            log.warning("%s: cannot be read (%s); all photos are examined again", self._path, error.strerror)
            return {}
        if not data.startswith(_MAGIC):
            log.info("%s: not a cache of this version; all photos are examined again", self._path)
            return {}
        checksum, _, payload = data[len(_MAGIC) :].partition(b"\n")
        if checksum != _checksum(payload):
            log.warning("%s: damaged; all photos are examined again", self._path)
            return {}
        return self._unpack(payload)

    def save(self, findings: Mapping[str, PhotoFinding]) -> None:
        """Replaces the file. When it cannot be written, that is logged once."""
        payload = _pack(self._fingerprint, findings)
        try:
            # Readable by the owner only: embeddings of faces are personal data.
            write_whole(self._path, _MAGIC + _checksum(payload) + b"\n" + payload, mode=0o600)
        except OSError as error:
            if not self._reported_unwritable:
                log.warning("%s: cannot be written (%s); every start examines all photos", self._path, error.strerror)
            self._reported_unwritable = True

    def _unpack(self, payload: bytes) -> Dict[str, PhotoFinding]:
        stream = io.BytesIO(payload)
        try:
            head = json.loads(stream.readline())
            if head["fingerprint"] != self._fingerprint:
                log.info("%s: made with other models or quality limits; all photos are examined again", self._path)
                return {}
            embeddings = np.load(stream, allow_pickle=False)
            return {entry["hash"]: _finding(entry, embeddings) for entry in head["photos"]}
        except (KeyError, TypeError, ValueError, IndexError) as error:
            log.warning("%s: invalid (%s); all photos are examined again", self._path, error)
            return {}


def _pack(fingerprint: str, findings: Mapping[str, PhotoFinding]) -> bytes:
    rows: List[np.ndarray] = []
    photos: List[Dict[str, Any]] = []
    for content_hash in sorted(findings):
        finding = findings[content_hash]
        entry = {
            "hash": content_hash,
            "reason": finding.reason.value,
            "faces_found": int(finding.faces_found),
            "face_px": float(finding.face_px),
            "sharpness": float(finding.sharpness),
            "rotation_fixed": bool(finding.rotation_fixed),
            "message": finding.message,
            "row": None if finding.embedding is None else len(rows),
        }
        photos.append(entry)
        if finding.embedding is not None:
            rows.append(finding.embedding)
    stream = io.BytesIO()
    stream.write(json.dumps({"fingerprint": fingerprint, "photos": photos}).encode("ascii") + b"\n")
    np.save(stream, np.stack(rows).astype(np.float32) if rows else np.empty((0, 0), np.float32), allow_pickle=False)
    return stream.getvalue()


def _finding(entry: Mapping[str, Any], embeddings: np.ndarray) -> PhotoFinding:
    return PhotoFinding(
        reason=Reason(entry["reason"]),
        embedding=None if entry["row"] is None else embeddings[entry["row"]],
        faces_found=entry["faces_found"],
        face_px=entry["face_px"],
        sharpness=entry["sharpness"],
        rotation_fixed=entry["rotation_fixed"],
        message=entry["message"],
    )


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode("ascii")
