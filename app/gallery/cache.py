"""Findings of the gallery's photos on disk, so that a restart reads and examines only new photos."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import tokenize
from functools import cached_property
from pathlib import Path
from typing import Any, Collection, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

import numpy as np

from app.files import write_whole
from app.gallery.people import PhotoFinding
from app.types import Reason

CACHE_FILE = ".embeddings.cache"

_OTHERS = ".embeddings-*.cache"
MAX_OTHERS = 3
"""Caches of other settings that are kept."""

_MAGIC = b"face gallery cache, version 3\n"

_DAMAGE = (KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError, MemoryError, SyntaxError)
"""What JSON and NumPy raise for a cache that was made to do harm, whose checksum may be right. NumPy parses the head of
an array as Python source."""

_PLAIN_FIELDS = ("faces_found", "face_px", "sharpness", "rotation_fixed", "message", "measured", "limit")
"""Those of `PhotoFinding` that JSON can hold as they are."""

log = logging.getLogger(__name__)


class FileStamp(NamedTuple):
    """Changes whenever the file does; known without opening it."""

    size: int
    modified_ns: int
    changed_ns: int
    """Also changes when the file was only renamed, made readable, or copied together with its modification time."""


class KnownFile(NamedTuple):
    """A file that was read when it had this stamp."""

    stamp: FileStamp
    content_hash: str


class Cached(NamedTuple):
    """What the cache holds."""

    findings: Mapping[str, PhotoFinding]
    """By content hash, the SHA-256 of the photo's bytes."""
    files: Mapping[str, KnownFile]
    """By path inside the gallery. Of a file whose stamp is the same, the content hash is known without reading it."""


NOTHING_CACHED = Cached({}, {})


class EmbeddingCache:
    """One file: findings by content hash, and which files they are of.

    Programs with other networks or quality limits on the same gallery do not overwrite each other's: the first has the
    file with the plain name, each other one `.embeddings-HASH.cache`.

    A line with the format's version, a line with the SHA-256 of the rest, a line of JSON, and the embeddings as a NumPy
    array. A file that is incomplete, damaged or made with other models is ignored as a whole.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        """`fingerprint` identifies everything that a finding depends on: networks and quality limits."""
        self._main = path
        self._fingerprint = fingerprint
        self._reported_unwritable = False

    @cached_property
    def _path(self) -> Path:
        """Chosen once, when it is needed first."""
        digest = hashlib.sha256(self._fingerprint.encode()).hexdigest()[:12]
        other = self._main.with_name(_OTHERS.replace("*", digest))
        owner, _ = _owner(self._main)
        if owner in (None, self._fingerprint) and not other.exists():
            return self._main
        log.info("%s belongs to runs with other models or quality limits; this run keeps %s", self._main, other.name)
        return other

    def forget_others(self, hashes: Collection[str]) -> None:
        """Deletes caches of other settings that hold photos which are not in the gallery any more, and those that were
        not used for longest. Their programs make them again."""
        others = [path for path in (self._main, *self._main.parent.glob(_OTHERS)) if path != self._path]
        with contextlib.suppress(OSError):
            others = sorted(filter(Path.is_file, others), key=lambda path: path.stat().st_mtime, reverse=True)
            for place, path in enumerate(others):
                if place >= MAX_OTHERS or not _owner(path)[1] <= set(hashes):
                    path.unlink()
                    log.info("%s: deleted, it holds photos that are gone, or was not used for long", path)

    def exists(self) -> bool:
        return self._path.is_file()

    def load(self) -> Cached:
        """Nothing, unless it was saved with this fingerprint."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return NOTHING_CACHED
        except OSError as error:
            log.warning("%s: cannot be read (%s); all photos are examined again", self._path, error.strerror)
            return NOTHING_CACHED
        if not data.startswith(_MAGIC):
            log.info("%s: not a cache of this version; all photos are examined again", self._path)
            return NOTHING_CACHED
        checksum, _, payload = data[len(_MAGIC) :].partition(b"\n")
        if checksum != _checksum(payload):
            log.warning("%s: damaged; all photos are examined again", self._path)
            return NOTHING_CACHED
        stream = io.BytesIO(payload)
        try:
            head = json.loads(stream.readline())
            if head["fingerprint"] != self._fingerprint:
                log.info("%s: made with other models or quality limits; all photos are examined again", self._path)
                return NOTHING_CACHED
            embeddings = np.load(stream, allow_pickle=False)
            with contextlib.suppress(OSError):  # used now
                os.utime(self._path)
            findings = {
                photo["hash"]: PhotoFinding(
                    reason=Reason(photo["reason"]),
                    embedding=None if photo["row"] is None else embeddings[photo["row"]],
                    **{field: photo[field] for field in _PLAIN_FIELDS},
                )
                for photo in head["photos"]
            }
            files = {
                path: KnownFile(FileStamp(*map(int, stamp)), str(content_hash))
                for path, (*stamp, content_hash) in dict(head.get("files", {})).items()
            }
            return Cached(findings, files)
        except (*_DAMAGE, tokenize.TokenError) as error:
            log.warning("%s: invalid (%s); all photos are examined again", self._path, error)
            return NOTHING_CACHED

    def save(self, cached: Cached) -> None:
        """Replaces the file. When it cannot be written, that is logged once."""
        photos: List[Dict[str, Any]] = []
        rows: List[np.ndarray] = []
        for content_hash, finding in sorted(cached.findings.items()):
            row = None if finding.embedding is None else len(rows)
            plain = {field: getattr(finding, field) for field in _PLAIN_FIELDS}
            photos.append({"hash": content_hash, "reason": str(finding.reason), "row": row, **plain})
            if finding.embedding is not None:
                rows.append(finding.embedding)
        files = {path: [*known.stamp, known.content_hash] for path, known in sorted(cached.files.items())}
        head = {"fingerprint": self._fingerprint, "photos": photos, "files": files}
        stream = io.BytesIO()
        stream.write(json.dumps(head).encode("ascii") + b"\n")
        embeddings = np.stack(rows).astype(np.float32) if rows else np.empty((0, 0), np.float32)
        np.save(stream, embeddings, allow_pickle=False)
        payload = stream.getvalue()
        try:
            # Readable by the owner only: embeddings of faces are personal data.
            write_whole(self._path, _MAGIC + _checksum(payload) + b"\n" + payload, mode=0o600)
        except OSError as error:
            if not self._reported_unwritable:
                log.warning("%s: cannot be written (%s); every start examines all photos", self._path, error.strerror)
            self._reported_unwritable = True


def _owner(path: Path) -> Tuple[Optional[str], Set[str]]:
    """The fingerprint of a cache and the hashes of its photos; None if it is no cache, or damaged."""
    try:
        with path.open("rb") as file:
            if file.readline() != _MAGIC:
                return None, set()
            file.readline()
            head = json.loads(file.readline())
        return str(head["fingerprint"]), {str(photo["hash"]) for photo in head["photos"]}
    except (OSError, *_DAMAGE):
        return None, set()


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode("ascii")
