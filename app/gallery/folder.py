"""The folder in which people drop photos, and the gallery that it makes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from app.errors import GalleryError
from app.gallery.cache import CACHE_FILE, EmbeddingCache
from app.gallery.names import DISPLAY_NAMES_FILE, person_of, read_display_names
from app.gallery.people import FileStamp, Gallery, PhotoFinding, PhotoRecord, PhotoStatus

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
STILL_COPYING_S = 5.0
"""An unreadable photo that changed less than this ago may be half copied, and is looked at again."""
MAX_PHOTO_BYTES = 256 * 1024 * 1024

_PICTURES_NOT_READ = (".heic", ".heif", ".avif", ".gif", ".jp2", ".jxl", ".dng", ".cr2", ".nef")
_FOLDERS_OF_OTHERS = ("@eaDir", "__MACOSX")

Judge = Callable[[bytes], PhotoFinding]
"""Looks at a photo's bytes. A bad photo is a finding, not an exception."""
Progress = Callable[[int, int], None]
"""Called with the number of photos read so far and of all that are to be read."""


@dataclass(frozen=True)
class Scan:
    """What lies in the folder. Two scans are equal when nothing changed in between."""

    photos: Mapping[str, FileStamp]
    """By path inside the folder, with `/`."""
    display_names: Optional[FileStamp] = None
    """Of `people.yaml`."""
    problems: Tuple[str, ...] = ()
    """What looks like a photo or a folder of photos and is not read, and why."""


@dataclass(frozen=True)
class Plan:
    """What a scan asks for, given the photos known before."""

    unchanged: Tuple[PhotoRecord, ...]
    to_read: Tuple[str, ...]
    """New or changed, or to be looked at once more."""
    gone: Tuple[str, ...]


def require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise GalleryError(f"{folder}: no such folder; make it, or name another with --gallery")


def scan(folder: Path) -> Scan:
    """A cheap look at the folder: names, sizes and times, no file is opened.

    Hidden files, README, the cache and other things that are no pictures are passed over.
    """
    require_folder(folder)
    photos: Dict[str, FileStamp] = {}
    problems: List[str] = []
    display_names = None
    visited = set()

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            problems.append(f"{error.filename}: cannot be listed: {error.strerror}")

    for at, folders, files in os.walk(str(folder), onerror=unreadable, followlinks=True):
        if os.path.realpath(at) in visited:
            folders.clear()
            continue
        visited.add(os.path.realpath(at))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _FOLDERS_OF_OTHERS)
        for name in sorted(files):
            path = Path(at, name)
            relative = path.relative_to(folder).as_posix()
            suffix = path.suffix.lower()
            if name.startswith("."):
                continue
            if suffix in _PICTURES_NOT_READ:
                problems.append(f"{relative}: {suffix[1:].upper()} pictures are not read; save it as JPEG or PNG")
            elif relative == DISPLAY_NAMES_FILE:
                display_names = _stamp(path)
            elif suffix in PHOTO_SUFFIXES:
                stamp = _stamp(path)
                if stamp is not None:
                    photos[relative] = stamp
    return Scan(photos, display_names, tuple(problems))


def _stamp(path: Path) -> Optional[FileStamp]:
    try:
        facts = path.stat()
    except OSError:  # gone since it was listed, or a link that leads nowhere
        return None
    return FileStamp(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def plan(found: Scan, known: Mapping[str, PhotoRecord], now: float) -> Plan:
    """Which photos must be read: those that are new, whose stamp changed, or whose verdict is not final yet."""
    unchanged, to_read = [], []
    for path, stamp in found.photos.items():
        record = known.get(path)
        if record is not None and record.stamp == stamp and is_final(record, now):
            unchanged.append(record)
        else:
            to_read.append(path)
    return Plan(tuple(unchanged), tuple(to_read), tuple(path for path in known if path not in found.photos))


def is_final(record: PhotoRecord, now: float) -> bool:
    """Whether the same file would get the same verdict at any later time."""
    age_s = now - record.stamp_seen_at
    return record.finding.status is not PhotoStatus.UNREADABLE or not 0 <= age_s < STILL_COPYING_S


class GalleryFolder:
    """The gallery kept in step with its folder. Used by one thread at a time."""

    def __init__(self, folder: Path, model: str, judge: Judge) -> None:
        """`model` is the fingerprint of everything in `judge` that a finding depends on."""
        self._folder = folder
        self._judge = judge
        self._cache = EmbeddingCache(folder / CACHE_FILE, model)
        self._scan: Optional[Scan] = None
        self._records: Dict[str, PhotoRecord] = {}
        self._cached: Optional[Dict[str, PhotoFinding]] = None
        self._generation = 0

    @property
    def problems(self) -> Tuple[str, ...]:
        """What the last look found in the folder and could not use; nothing that is in the gallery's own records."""
        return () if self._scan is None else self._scan.problems

    def refresh(self, now: float, progress: Optional[Progress] = None) -> Optional[Gallery]:
        """The gallery as it is now, or None when it has not changed since the last call.

        Only photos whose bytes were never seen before are judged. An error leaves everything as it was, and comes
        again with the next call until its cause is mended.
        """
        found = scan(self._folder)
        todo = plan(found, self._records, now)
        if found == self._scan and not todo.to_read:
            return None
        display_names = read_display_names(self._folder / DISPLAY_NAMES_FILE)
        records = {record.path: record for record in todo.unchanged}
        records.update(self._read(found, todo, now, progress))
        for path, record in records.items():
            records[path] = replace(record, person=person_of(PurePosixPath(path), display_names))
        first, self._scan = self._scan is None, found
        changed = first or _essence(records) != _essence(self._records)
        self._records = records
        if not changed:
            return None
        self._keep(_final_findings(records.values()))
        self._generation += 1
        return Gallery(tuple(records.values()), self._generation)

    def _read(self, found: Scan, todo: Plan, now: float, progress: Optional[Progress]) -> Dict[str, PhotoRecord]:
        if self._cached is None:
            self._cached = self._cache.load()
        findings = dict(self._cached)
        records: Dict[str, PhotoRecord] = {}
        try:
            for count, path in enumerate(todo.to_read, start=1):
                record = self._record(path, found.photos[path], findings, now)
                if record is not None:
                    records[path] = record
                    findings.update(_final_findings([record]))
                if progress is not None:
                    progress(count, len(todo.to_read))
        except BaseException:  # Ctrl-C in the midst of a thousand photos: what was done is not done again
            self._keep(findings)
            raise
        return records

    def _record(
        self, path: str, stamp: FileStamp, findings: Mapping[str, PhotoFinding], now: float
    ) -> Optional[PhotoRecord]:
        """None when the photo has gone since the scan."""
        before = self._records.get(path)
        same = before is not None and before.stamp == stamp
        seen_at = before.stamp_seen_at if before is not None and same else now
        try:
            content_hash, finding = self._find(path, stamp, findings)
        except FileNotFoundError:
            return None
        except OSError as error:
            content_hash, finding = "", _unreadable(f"cannot be read: {error.strerror}")
        return PhotoRecord(path, "", content_hash, finding, stamp, seen_at)

    def _find(self, path: str, stamp: FileStamp, findings: Mapping[str, PhotoFinding]) -> Tuple[str, PhotoFinding]:
        if stamp.size > MAX_PHOTO_BYTES:
            return "", _unreadable(f"larger than {MAX_PHOTO_BYTES // 2**20} MB")
        data = (self._folder / path).read_bytes()
        content_hash = hashlib.sha256(data).hexdigest()
        if content_hash in findings:
            return content_hash, findings[content_hash]
        return content_hash, self._judge(data)

    def _keep(self, findings: Dict[str, PhotoFinding]) -> None:
        # A file that holds nothing usable is replaced too: nobody's embeddings stay behind in it.
        left_over = not self._cached and self._cache.exists()
        if self._cached is None or left_over or findings.keys() != self._cached.keys():
            self._cache.save(findings)
        self._cached = findings


def _unreadable(message: str) -> PhotoFinding:
    return PhotoFinding(PhotoStatus.UNREADABLE, message=message)


def _final_findings(records: Iterable[PhotoRecord]) -> Dict[str, PhotoFinding]:
    """Unreadable photos are judged anew each time: it costs little, and half a file is soon a whole one."""
    return {
        record.content_hash: record.finding for record in records if record.finding.status is not PhotoStatus.UNREADABLE
    }


def _essence(records: Mapping[str, PhotoRecord]) -> Dict[str, Tuple[str, str, PhotoStatus]]:
    """What must differ for the gallery to be another one."""
    return {path: (record.person, record.content_hash, record.finding.status) for path, record in records.items()}
