"""The best picture of the face of each visit, written to a folder when the visit ends."""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional

import cv2
import numpy as np

from app.files import make_folder, write_whole
from app.output.cover import must_cover
from app.output.paths import safe_name
from app.settings import OutputSettings
from app.types import NO_TRACK, FrameResult, Match, Reason

logger = logging.getLogger(__name__)

FACE_PX = 160
"""A larger face is shrunk to this side."""
MARGIN = 0.5
"""Around the face, in sides of its box."""
QUALITY = 92
_BETTER = 1.1
"""How much better a picture must be to replace the one before."""
_MAX_WAITING = 200
"""Pictures that wait for a slow disk; later ones are not written."""
_PRUNE_EVERY_S = 600.0
_JOIN_S = 5.0
_DAY_S = 86400.0


class _Picture(NamedTuple):
    quality: float
    image: np.ndarray


class VisitPictures:
    """Keeps one small picture per visit in memory, and writes it in a separate thread."""

    def __init__(
        self,
        folder: Path,
        keep_days: float,
        max_files: int,
        cover: Optional[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Files older than `keep_days`, and the oldest above `max_files`, are deleted. Faces that `cover` names are
        left out."""
        self._folder = folder
        self._keep_days = keep_days
        self._max_files = max_files
        self._cover = cover
        self._clock = clock
        self._best: Dict[int, _Picture] = {}
        self._jobs: queue.Queue[Optional[Callable[[], None]]] = queue.Queue(_MAX_WAITING)
        self._pruned_at = -math.inf
        self.lost = 0
        """Pictures that could not be written."""
        make_folder(folder)
        self._thread = threading.Thread(target=self._work, name="visit pictures", daemon=True)
        self._thread.start()

    @classmethod
    def from_settings(cls, settings: OutputSettings) -> Optional[VisitPictures]:
        if settings.visit_snapshots is None:
            return None
        return cls(
            settings.visit_snapshots, settings.visit_snapshots_days, settings.visit_snapshots_max, settings.cover
        )

    def see(self, result: FrameResult, visit_of: Callable[[int], Optional[int]]) -> None:
        """Takes the pictures that are better than those before. `visit_of` finds the visit of a track."""
        for row, (track, match) in enumerate(zip(result.track_ids, result.matches)):
            if track == NO_TRACK or match.reason is Reason.TRACK_IN_DOUBT or self._is_covered(match):
                continue
            visit = visit_of(track)
            if visit is None:
                continue
            box = result.faces.boxes[row]
            # The clearest one, and of those the largest.
            quality = float(result.clarities[row]) * float((box[2:] - box[:2]).min()) ** 0.25
            best = self._best.get(visit)
            if best is None or quality > _BETTER * best.quality:
                self._best[visit] = _Picture(quality, face_picture(result.frame.image, box))

    def save(self, visit: int, match: Match, channel: str, moment: float) -> Optional[str]:
        """The visit has ended: the file in which its picture will be, or None."""
        best = self._best.pop(visit, None)
        if best is None or self._is_covered(match):
            return None
        stamp = f"{datetime.fromtimestamp(moment, timezone.utc):%Y-%m-%dT%H%M%SZ}"
        path = self._folder / f"visit-{stamp}-{safe_name(channel)}-{visit}.jpg"
        try:
            self._jobs.put_nowait(lambda: self._write(path, best.image))
        except queue.Full:
            self.lost += 1
            return None
        return str(path)

    def close(self) -> None:
        with contextlib.suppress(queue.Full):
            self._jobs.put(None, timeout=_JOIN_S)
        self._thread.join(_JOIN_S)
        self.lost += self._jobs.qsize()

    @property
    def problem(self) -> Optional[str]:
        """What is not complete; final once it is closed."""
        return f"{self._folder}: {self.lost} snapshots of visits could not be written" if self.lost else None

    def _is_covered(self, match: Match) -> bool:
        return self._cover is not None and must_cover(match, self._cover)

    def _work(self) -> None:
        for job in iter(self._next, None):
            try:
                job()
            except Exception as error:  # root of a thread; the run continues without this picture
                if not self.lost:
                    logger.warning("%s: %s", self._folder, error, exc_info=not isinstance(error, OSError))
                self.lost += 1

    def _next(self) -> Optional[Callable[[], None]]:
        """A picture to write, or now and then the deletion of old ones, also where no new ones come; None: the end."""
        left_s = self._pruned_at + _PRUNE_EVERY_S - time.monotonic()
        if left_s > 0:
            with contextlib.suppress(queue.Empty):
                return self._jobs.get(timeout=left_s)
        self._pruned_at = time.monotonic()
        return self.prune

    @staticmethod
    def _write(path: Path, image: np.ndarray) -> None:
        content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        write_whole(path, content.tobytes(), mode=0o600)

    def prune(self) -> None:
        """Deletes what is too old or too much."""
        files = sorted(self._folder.glob("visit-*.jpg"), reverse=True)
        oldest = self._clock() - self._keep_days * _DAY_S
        for number, path in enumerate(files):
            with contextlib.suppress(FileNotFoundError):
                if number >= self._max_files or path.stat().st_mtime < oldest:
                    path.unlink()


def face_picture(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face with what is around it, as in a photo of the gallery: H x W x 3, BGR."""
    x1, y1, x2, y2 = box.tolist()
    margin = MARGIN * max(x2 - x1, y2 - y1)
    height, width = image.shape[:2]
    left, right = max(0, round(x1 - margin)), min(width, round(x2 + margin))
    top, bottom = max(0, round(y1 - margin)), min(height, round(y2 + margin))
    picture = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    scale = FACE_PX / max(1.0, min(x2 - x1, y2 - y1))
    if scale >= 1:
        return np.array(picture)
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
