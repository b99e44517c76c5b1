"""The gallery's folder: finding photos that were added, changed or removed, and examining the new ones."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import AbstractSet, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from app.capture.uri import PICTURE_SUFFIXES
from app.errors import GalleryError
from app.files import PROGRAM_FOLDER, make_folder, remove_leftovers
from app.gallery.cache import CACHE_FILE, NOTHING_CACHED, Cached, EmbeddingCache, FileStamp, KnownFile
from app.gallery.names import DISPLAY_NAMES_FILE, person_of, read_display_names
from app.gallery.people import EnrolledPeople, PhotoFinding, PhotoRecord
from app.text import printable, suggestion
from app.types import ProgressCallback, Reason

STILL_COPYING_S = 5.0
"""An unreadable photo that changed more recently may be an incomplete copy, and is examined again."""
MAX_PHOTO_BYTES = 256 * 1024 * 1024
SAVE_EVERY_S = 5.0
"""While many photos are examined, what was found is saved this often, so that a kill loses little."""
SAVE_SHARE = 0.05
"""At most this part of the time is for saving: with many photos it takes longer, and is done less often."""

_UNSUPPORTED_SUFFIXES = (".avif", ".jp2", ".jxl", ".dng", ".cr2", ".nef")
_IGNORED_FOLDERS = ("@eaDir", "__MACOSX")


@dataclass(frozen=True)
class Scan:
    """The files in the folder. Two scans are equal when nothing changed in between."""

    photos: Mapping[str, FileStamp]
    """By path inside the folder, with `/`."""
    display_names: Optional[FileStamp] = None
    """Of `people.yaml`."""
    problems: Tuple[str, ...] = ()
    """Pictures and folders that cannot be read, and why."""


def require_folder(folder: Path) -> None:
    """Raises GalleryError if there is none; the default one is made."""
    if folder.absolute() == PROGRAM_FOLDER / "gallery":
        make_folder(folder)
    if not folder.is_dir():
        siblings = [one.name for one in folder.parent.iterdir() if one.is_dir()] if folder.parent.is_dir() else []
        otherwise = f"; create it with: mkdir -p {shlex.quote(str(folder))}; or choose another one with --gallery"
        raise GalleryError(f"{folder}: no such folder{suggestion(folder.name, siblings, otherwise)}")


def scan(folder: Path) -> Scan:
    """Lists the folder by names, sizes and times, without opening a file.

    Hidden files and files that are not pictures are ignored. Links that lead out of the folder are skipped too: they
    would let anyone who may write into the gallery make the program read other files.
    """
    require_folder(folder)
    inside = os.path.realpath(str(folder)) + os.sep
    photos: Dict[str, FileStamp] = {}
    problems: List[str] = []
    display_names = None
    visited = set()

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            problems.append(f"{error.filename}: cannot be listed: {error.strerror}")

    for at, folders, files in os.walk(str(folder), onerror=unreadable, followlinks=True):
        place = os.path.realpath(at) + os.sep
        if not place.startswith(inside):
            problems.append(f"{Path(at).relative_to(folder)}: skipped, a link to a folder outside of the gallery")
        if not place.startswith(inside) or place in visited:
            folders.clear()
            continue
        visited.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _IGNORED_FOLDERS)
        for name in sorted(files):
            path = Path(at, name)
            relative = path.relative_to(folder).as_posix()
            suffix = path.suffix.lower()
            if name.startswith("."):
                continue
            if suffix in _UNSUPPORTED_SUFFIXES:
                problems.append(f"{relative}: {suffix[1:].upper()} pictures are not supported; save it as JPEG or PNG")
                continue
            if relative != DISPLAY_NAMES_FILE and suffix not in PICTURE_SUFFIXES:
                continue
            if path.is_symlink() and path.exists() and not os.path.realpath(str(path)).startswith(inside):
                problems.append(f"{relative}: skipped, a link to a file outside of the gallery")
                continue
            try:
                status = path.stat()
            except OSError:  # deleted since it was listed, or a broken link
                continue
            if not stat.S_ISREG(status.st_mode):
                # Opening a pipe or a device may never return.
                problems.append(f"{relative}: skipped, not a regular file")
            elif relative == DISPLAY_NAMES_FILE:
                display_names = _stamp(status)
            else:
                photos[relative] = _stamp(status)
    return Scan(photos, display_names, tuple(map(printable, problems)))


def copy_of(folder: Path, data: bytes, but: AbstractSet[str]) -> Optional[Tuple[str, str]]:
    """The path of a photo with these bytes, not among those of `but`, and whose it is."""
    for path, stamp in scan(folder).photos.items():
        with contextlib.suppress(OSError):  # deleted since the scan, or not readable
            if path not in but and stamp.size == len(data) and (folder / path).read_bytes() == data:
                return path, person_of(PurePosixPath(path), read_display_names(folder / DISPLAY_NAMES_FILE))
    return None


def _stamp(status: os.stat_result) -> FileStamp:
    return FileStamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class GalleryFolder:
    """Reads the gallery's folder again and again. Used by one thread at a time."""

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        examine: Callable[[bytes], PhotoFinding],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`examine` judges the bytes of a photo; a bad photo is a finding, not an exception.

        `fingerprint` identifies everything in `examine` that a finding depends on.
        """
        self._folder = folder
        self._examine = examine
        self._clock = clock
        self._cache = EmbeddingCache(folder / CACHE_FILE, fingerprint)
        self._scan: Optional[Scan] = None
        self._stamps: Dict[str, Tuple[FileStamp, float]] = {}
        """With the time when the file was first seen with its stamp: a file that is being copied keeps changing."""
        self._records: Dict[str, PhotoRecord] = {}
        self._cached: Optional[Cached] = None
        self._generation = 0

    @property
    def problems(self) -> Tuple[str, ...]:
        """Files that the last scan could not use and that are not among the gallery's photos."""
        return () if self._scan is None else self._scan.problems

    def refresh(self, now: float, progress: Optional[ProgressCallback] = None) -> Optional[EnrolledPeople]:
        """The people as they are now, or None if nothing changed since the last call.

        Only files that are new or have changed are read, and only photos whose bytes were never seen are examined.
        After an error everything is as before, and the next call tries again.
        """
        if self._scan is None:
            remove_leftovers(self._folder)
        found = scan(self._folder)
        stamps = {path: (stamp, now) for path, stamp in found.photos.items()}
        stamps.update({path: seen for path, seen in self._stamps.items() if found.photos.get(path) == seen[0]})
        to_read = [path for path in stamps if not self._is_final(path, stamps[path], now)]
        if found == self._scan and not to_read:
            return None
        display_names = read_display_names(self._folder / DISPLAY_NAMES_FILE)
        records = {path: self._records[path] for path in stamps.keys() - to_read}
        records.update(self._read(to_read, found, progress))
        for path, record in records.items():
            records[path] = replace(record, person=person_of(PurePosixPath(path), display_names))
        first, self._scan = self._scan is None, found
        changed = first or _essence(records) != _essence(self._records)
        self._records, self._stamps = records, stamps
        if not changed:
            return None
        self._save(_final(records.values(), found))
        self._cache.forget_others({record.content_hash for record in records.values()})
        self._generation += 1
        people = EnrolledPeople(tuple(records.values()), self._generation)
        if all((self._folder / path).exists() for path in records):
            return people
        # Somebody was deleted meanwhile, perhaps by a program that has cleaned the cache before it was saved here.
        return self.refresh(now, progress) or people

    def _is_final(self, path: str, seen: Tuple[FileStamp, float], now: float) -> bool:
        """Whether the file was examined, and examining it again would give the same finding."""
        record = self._records.get(path)
        if record is None or self._stamps.get(path) != seen:
            return False
        return record.finding.reason is not Reason.UNREADABLE or not 0 <= now - seen[1] < STILL_COPYING_S

    def _read(self, paths: Sequence[str], found: Scan, progress: Optional[ProgressCallback]) -> Dict[str, PhotoRecord]:
        if self._cached is None:
            self._cached = self._cache.load()
        findings, files = dict(self._cached.findings), dict(self._cached.files)
        records: Dict[str, PhotoRecord] = {}
        save_at = self._clock() + SAVE_EVERY_S
        try:
            for count, path in enumerate(paths, start=1):
                with contextlib.suppress(FileNotFoundError):  # deleted since the scan
                    content_hash, finding = self._finding(path, found.photos[path], Cached(findings, files))
                    records[path] = PhotoRecord(path, "", content_hash, finding)
                    final = _final([records[path]], found)
                    findings.update(final.findings)
                    files.update(final.files)
                if self._clock() >= save_at:
                    # A program that is killed, and started again, would otherwise never finish on a slow machine.
                    began = self._clock()
                    self._save(Cached(dict(findings), dict(files)))
                    save_at = self._clock() + max(SAVE_EVERY_S, (self._clock() - began) / SAVE_SHARE)
                if progress is not None:
                    progress(count, len(paths))
        except BaseException:  # Ctrl-C after half of a thousand photos: the next start continues there
            self._save(Cached(findings, files))
            raise
        return records

    def _finding(self, path: str, stamp: FileStamp, cached: Cached) -> Tuple[str, PhotoFinding]:
        """The photo's content hash and finding."""
        if stamp.size > MAX_PHOTO_BYTES:
            return "", PhotoFinding(Reason.UNREADABLE, message=f"larger than {MAX_PHOTO_BYTES // 2**20} MB")
        known = cached.files.get(path)
        if known is not None and known.stamp == stamp and known.content_hash in cached.findings:
            return known.content_hash, cached.findings[known.content_hash]
        try:
            data = (self._folder / path).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            return "", PhotoFinding(Reason.UNREADABLE, message=f"cannot be read: {error.strerror}")
        content_hash = hashlib.sha256(data).hexdigest()
        return content_hash, cached.findings.get(content_hash) or self._examine(data)

    def _save(self, new: Cached) -> None:
        # A cache file without any usable finding is replaced too, so that no embeddings of removed people stay in it.
        before = self._cached or NOTHING_CACHED
        outdated = not before.findings and self._cache.exists()
        if outdated or new.findings.keys() != before.findings.keys() or new.files != before.files:
            self._cache.save(new)
        self._cached = new


def _final(records: Iterable[PhotoRecord], found: Scan) -> Cached:
    """What need not be read or examined again. Unreadable photos are, every time: that is cheap, and a copy may be
    complete."""
    finals = [record for record in records if record.finding.reason is not Reason.UNREADABLE]
    files = {record.path: KnownFile(found.photos[record.path], record.content_hash) for record in finals}
    return Cached({record.content_hash: record.finding for record in finals}, files)


def _essence(records: Mapping[str, PhotoRecord]) -> Dict[str, Tuple[str, str, Reason]]:
    """What counts as a change of the gallery."""
    return {path: (record.person, record.content_hash, record.finding.reason) for path, record in records.items()}
