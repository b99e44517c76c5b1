"""A folder of recordings, `CHANNEL/2026-11-30/CHANNEL-2026-11-30T14-10-00Z.mp4`, of which the old ones are deleted.

Times in names are UTC, as in events: local time is ambiguous for an hour every autumn.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import shutil
import stat
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set

from app.errors import OutputError
from app.files import make_folder, try_lock
from app.output.video_writers import drop_incomplete_header
from app.settings.recording import RecordSettings
from app.text import counted
from app.types import FrameResult

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 30.0
_CHECK_SHARE = 0.02
"""At most this part of the time is for checks: years of segments are checked less often."""
MIN_FREE_BYTES = 64_000_000
"""Free on the disk to begin a segment, also if `min_free_gb` is less."""
CLOCK_TRUSTED_AFTER_S = 600.0
"""Segments are deleted for their age only when the clock has not been set for so long: one that is years ahead, until
NTP corrects it, must not delete everything."""
_CLOCK_SET_S = 60.0
_BEGIN_BYTES = 65536
_RESUME_WITH = 1.1
"""Times the space that has to be free, so that recording does not pause and resume all the time."""
_JOIN_S = 10.0
_GB, _DAY_S = 1e9, 86400.0
_MARKER = ".recordings"
"""A file that says that the folder is one of recordings; locked by the program that writes there."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_STAMP = "%Y-%m-%dT%H-%M-%SZ"
_NAME = re.compile(r"(?P<channel>.+)-(?P<day>\d{4}-\d\d-\d\d)T(?P<time>\d\d-\d\d-\d\d)Z(?:-\d+)?\.mp4")


class Segment(NamedTuple):
    """A file of recordings."""

    began_at: float
    """Seconds since the epoch, from its name."""
    path: Path
    size: int


def superfluous(
    segments: Sequence[Segment],
    oldest: Optional[float] = None,
    max_bytes: Optional[float] = None,
    bytes_to_free: float = 0.0,
    writing: Sequence[Path] = (),
) -> List[Segment]:
    """What is to be deleted, the oldest first: what began before `oldest`, and as much as the limits demand.

    Segments that are being written count but stay.
    """
    excess = max(bytes_to_free, 0.0 if max_bytes is None else sum(one.size for one in segments) - max_bytes)
    chosen = []
    for segment in sorted(segments):
        if segment.path in writing or not (excess > 0 or (oldest is not None and segment.began_at < oldest)):
            continue
        chosen.append(segment)
        excess -= segment.size
    return chosen


def segments_in(folder: Path) -> Iterator[Segment]:
    """The recordings in the folder; only regular files whose names and folders are those that this program gives."""
    for channel in _folders(folder):
        for day in _folders(channel):
            if not _DAY.fullmatch(day.name):
                continue
            for path in _entries(day):
                named = _NAME.fullmatch(path.name)
                if named is None or (named["channel"], named["day"]) != (channel.name, day.name):
                    continue
                with contextlib.suppress(ValueError, FileNotFoundError):
                    began = datetime.strptime(f"{named['day']}T{named['time']}Z", _STAMP).replace(tzinfo=timezone.utc)
                    facts = path.lstat()
                    if stat.S_ISREG(facts.st_mode):
                        yield Segment(began.timestamp(), path, facts.st_size)


def _folders(folder: Path) -> List[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir() and not entry.is_symlink()]


def _entries(folder: Path) -> List[Path]:
    """None if it was removed meanwhile."""
    with contextlib.suppress(OSError):
        return list(folder.iterdir())
    return []


class Recordings:
    """The folder. An output that takes no results: it deletes what is superfluous, in a separate thread."""

    name = "recordings"

    def __init__(
        self,
        folder: Path,
        settings: RecordSettings,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises OutputError if nothing can be written there, or if another program records there."""
        self._folder = folder
        self._settings = settings
        self._wall_clock = wall_clock
        self._clock = clock
        self._lock = threading.Lock()
        self._writing: Set[Path] = set()
        self._is_deleting = False
        self.paused: Optional[str] = None
        """Why nothing can be recorded at the moment."""
        self.written: Sequence[Path] = ()
        self.lost: Sequence[str] = ()
        make_folder(folder)
        try:
            self._marker = os.open(str(folder / _MARKER), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(f"{folder}: nothing can be recorded there: {error.strerror}") from error
        if not try_lock(self._marker):
            os.close(self._marker)
            raise OutputError(f"{folder}: another program records there; choose another folder (record.folder)")
        self._device = os.fstat(self._marker).st_dev
        newest_at = max((segment.began_at for segment in segments_in(folder)), default=math.inf)
        # A clock that goes on where the recordings end was right all the time.
        is_plausible = abs(wall_clock() - newest_at) < _DAY_S
        self._clock_set_at = -math.inf if is_plausible else clock()
        self._clock_offset_s = wall_clock() - clock()
        self._repair_last_ones()
        self._changed = threading.Condition(self._lock)
        self._check_at_once = False
        self._check_every_s = CHECK_EVERY_S
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="recordings", daemon=True)

    def start(self) -> None:
        """Begins to delete what is superfluous."""
        segments = list(segments_in(self._folder))
        size_gb = sum(segment.size for segment in segments) / _GB
        logger.info(
            "recording into %s, which has %s, %.1f GB", self._folder, counted(len(segments), "segment"), size_gb
        )
        self.check()
        self._thread.start()

    def begin(self, channel: str, moment: float) -> Path:
        """An empty file for a segment that begins at this time; `end` is to be called with it. Raises OSError."""
        utc = datetime.fromtimestamp(moment, timezone.utc)
        folder = self._folder / channel / f"{utc:%Y-%m-%d}"
        stem, number = f"{channel}-{utc.strftime(_STAMP)}", 1
        with self._lock:
            folder.parent.mkdir(exist_ok=True)
            folder.mkdir(exist_ok=True)
            while True:
                path = folder / (f"{stem}.mp4" if number == 1 else f"{stem}-{number}.mp4")
                try:
                    with path.open("xb"):
                        self._writing.add(path)
                        return path
                except FileExistsError:  # as when the clock was set back
                    number += 1

    def end(self, path: Path, is_complete: bool = True) -> None:
        with self._lock:
            self._writing.discard(path)
            if is_complete:
                self.written = (self._folder,)

    def check_soon(self) -> None:
        """Something could not be written: perhaps the disk is full."""
        with self._changed:
            self._check_at_once = True
            self._changed.notify_all()

    def check(self) -> None:
        """Deletes what is superfluous, and finds out whether anything can be recorded."""
        problem: Optional[str] = None
        try:
            problem = self._why_not_ours() or self._make_room()
        except OSError as error:
            problem = error.strerror or str(error)
        if problem is not None and self.paused is None:
            logger.error("%s: recording pauses: %s; it resumes when it can", self._folder, problem)
        elif problem is None and self.paused is not None:
            logger.warning("%s: recording resumes", self._folder)
        self.paused = problem

    def handle(self, result: FrameResult) -> None:
        pass

    def close(self) -> None:
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        os.close(self._marker)

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    if not self._check_at_once and not self._closing:
                        self._changed.wait(self._check_every_s)
                    self._check_at_once = False
                    if self._closing:
                        return
                began = time.monotonic()
                self.check()
                self._check_every_s = max(CHECK_EVERY_S, (time.monotonic() - began) / _CHECK_SHARE)
        except Exception:  # the root of a thread
            logger.exception("%s: old recordings are no longer deleted", self._folder)

    def _why_not_ours(self) -> Optional[str]:
        """A disk that was unmounted leaves an empty folder behind, which must not be filled."""
        path = self._folder / _MARKER
        try:
            facts = path.stat()
        except FileNotFoundError:
            if not self._folder.is_dir():
                return "the folder was removed"
            if self._folder.stat().st_dev != self._device:
                return "another disk is there, or none"
        else:
            mine = os.fstat(self._marker)
            if (facts.st_dev, facts.st_ino) == (mine.st_dev, mine.st_ino):
                return None
        marker = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not try_lock(marker):
            os.close(marker)
            return "another program records there"
        os.close(self._marker)
        self._marker, self._device = marker, os.fstat(marker).st_dev
        return None

    def _make_room(self) -> Optional[str]:
        settings, segments = self._settings, list(segments_in(self._folder))
        min_free = max(settings.min_free_gb * _GB, MIN_FREE_BYTES) * (1.0 if self.paused is None else _RESUME_WITH)
        writing, to_free = self._being_written(), min_free - shutil.disk_usage(self._folder).free
        # Where something else fills the disk, all recordings together would not make room.
        is_enough = to_free <= sum(segment.size for segment in segments if segment.path not in writing)
        chosen = superfluous(
            segments,
            oldest=self._oldest(),
            max_bytes=None if settings.max_gb is None else settings.max_gb * _GB,
            bytes_to_free=to_free if settings.when_full == "delete" and is_enough else 0.0,
            writing=writing,
        )
        for segment in chosen:
            try:
                segment.path.unlink()
            except OSError as error:
                logger.debug("%s: %s", segment.path, error)
            with self._lock, contextlib.suppress(OSError):  # as long as other segments are there
                segment.path.parent.rmdir()
                segment.path.parent.parent.rmdir()
        if chosen and not self._is_deleting:
            self._is_deleting = True
            logger.info("%s: the oldest segments are deleted from now on, first %s", self._folder, chosen[0].path.name)
        free = shutil.disk_usage(self._folder).free
        if free >= min_free:
            return None
        return f"{free / _GB:.2f} GB are free on its disk, {min_free / _GB:.2f} GB are needed (record.min_free_gb)"

    def _being_written(self) -> Sequence[Path]:
        with self._lock:
            return tuple(self._writing)

    def _oldest(self) -> Optional[float]:
        """When segments may have begun that stay; None: none is deleted for its age now."""
        now, clock_s = self._wall_clock(), self._clock()
        if abs(now - clock_s - self._clock_offset_s) > _CLOCK_SET_S:
            self._clock_set_at, self._clock_offset_s = clock_s, now - clock_s
        if self._settings.keep_days is None or clock_s - self._clock_set_at < CLOCK_TRUSTED_AFTER_S:
            return None
        return now - self._settings.keep_days * _DAY_S

    def _repair_last_ones(self) -> None:
        """The last segment of each channel, which a killed program may have left incomplete, or without a picture."""
        newest: Dict[Path, Segment] = {}
        for segment in sorted(segments_in(self._folder)):
            newest[segment.path.parent.parent] = segment
        for segment in newest.values():
            with contextlib.suppress(OSError), segment.path.open("r+b") as file:
                drop_incomplete_header(file)
                file.seek(0)
                begin = file.read(_BEGIN_BYTES)
                if b"moof" not in begin and b"mdat" not in begin:
                    segment.path.unlink()
