"""How soon the faces of a video are found after they appear, by their size, and how many are found in each frame."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from app.errors import SourceError
from app.identity.tracker import iou
from app.intervals import Share
from app.look import Look
from app.text import percentage, table
from app.types import FrameResult

HEADER = ["frame", "face", "x1", "y1", "x2", "y2"]
SIZES_PX = (0, 16, 32, 64, 128)
"""Lower limits of the classes."""
SOON_S = 1.0
MIN_IOU = 0.3
"""Low, because a box of 16 pixels that is two pixels off has an IoU of 0.6."""


class TrueBox(NamedTuple):
    """A face that is visible in a frame."""

    face: int
    box: Tuple[float, float, float, float]

    @property
    def size_px(self) -> float:
        """The shorter side."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])


def read_boxes(path: Path) -> Dict[int, List[TrueBox]]:
    """By frame, from a CSV file with the header `frame,face,x1,y1,x2,y2`. Each appearance of a face has its own number.

    Raises SourceError with the line of a mistake.
    """
    boxes: Dict[int, List[TrueBox]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            if [cell.strip() for cell in next(rows, [])] != HEADER:
                raise SourceError(f"{path}: expected the first line {','.join(HEADER)}")
            for row in filter(any, rows):
                frame, true = _true_box(f"{path}, line {rows.line_num}", row)
                boxes[frame].append(true)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return dict(boxes)


def _true_box(where: str, row: Sequence[str]) -> Tuple[int, TrueBox]:
    try:
        frame, face = map(int, row[:2])
        x1, y1, x2, y2 = map(float, row[2:])
    except ValueError:
        raise SourceError(f"{where}: expected {','.join(HEADER)} as numbers, not {','.join(row)!r}") from None
    if not (frame >= 0 and x1 < x2 and y1 < y2):
        raise SourceError(f"{where}: expected frame >= 0, x1 < x2 and y1 < y2, not {','.join(row)!r}")
    return frame, TrueBox(face, (x1, y1, x2, y2))


@dataclass
class Appearance:
    """One face from when it appears until it is gone."""

    size_px: float
    """At first."""
    at_s: float
    frames: int = 0
    found_frames: int = 0
    found_after_s: Optional[float] = None
    """None: never."""

    @property
    def found_soon(self) -> bool:
        return self.found_after_s is not None and self.found_after_s <= SOON_S


class FoundFaces:
    """An output of a run that compares its boxes with the true ones."""

    name = "the evaluation of boxes"

    def __init__(self, truth: Dict[int, List[TrueBox]]) -> None:
        self._truth = truth
        self.appearances: Dict[int, Appearance] = {}
        self.false_boxes = 0
        """Boxes in a frame that overlap no face."""
        self.frames = 0
        self.looks: Counter[Look] = Counter()

    def handle(self, result: FrameResult) -> None:
        self.frames += 1
        self.looks[result.look] += 1
        true = self._truth.get(result.frame.index, [])
        now = result.frame.source_time
        overlaps = iou(np.array([one.box for one in true]).reshape(-1, 4), result.faces.boxes)
        self.false_boxes += int(np.count_nonzero(~(overlaps > 0).any(axis=0)))
        found: List[bool] = np.any(overlaps >= MIN_IOU, axis=1).tolist()
        for one, is_found in zip(true, found):
            appearance = self.appearances.setdefault(one.face, Appearance(one.size_px, now))
            appearance.frames += 1
            appearance.found_frames += int(is_found)
            if is_found and appearance.found_after_s is None:
                appearance.found_after_s = now - appearance.at_s

    def close(self) -> None:
        """Does nothing: an output has to have it."""

    def by_size(self) -> Dict[str, List[Appearance]]:
        """The classes that occur, such as `16-32`."""
        classes: Dict[str, List[Appearance]] = {}
        for low, high in zip(SIZES_PX, (*SIZES_PX[1:], None)):
            some = [one for one in self.appearances.values() if low <= one.size_px < (high or np.inf)]
            if some:
                classes[f"{low}-{high or ''}"] = some
        return classes

    def as_json(self) -> Dict[str, Any]:
        return {
            "false_boxes": self.false_boxes,
            "looks": {str(look): self.looks[look] for look in Look},
            "found": {size: _figures(appearances) for size, appearances in self.by_size().items()},
        }

    def text(self) -> str:
        rows = []
        for size, some in self.by_size().items():
            facts = _figures(some)
            waits = [
                f"{facts[key]:.2f} s" if facts[key] is not None else "never" for key in ("wait_p50_s", "wait_p95_s")
            ]
            frames = percentage(facts["found_frames"] / facts["frames"], 1)
            rows.append((size, str(_soon(some)), *waits, frames))
        looks = ", ".join(f"{look} {percentage(self.looks[look] / max(1, self.frames), 1)}" for look in Look)
        return "\n".join(
            [
                table(("face px", f"found within {SOON_S:g} s", "p50", "p95", "found in frames"), rows),
                f"{self.false_boxes} boxes on no face, in {self.frames} frames; the detector looked: {looks}",
            ]
        )


def _soon(appearances: Sequence[Appearance]) -> Share:
    return Share(sum(one.found_soon for one in appearances), len(appearances))


def _figures(appearances: Sequence[Appearance]) -> Dict[str, Any]:
    return {
        "appearances": len(appearances),
        "found_soon": _soon(appearances).as_json(),
        "wait_p50_s": percentile_of_waits([one.found_after_s for one in appearances], 0.5),
        "wait_p95_s": percentile_of_waits([one.found_after_s for one in appearances], 0.95),
        "frames": sum(one.frames for one in appearances),
        "found_frames": sum(one.found_frames for one in appearances),
    }


def percentile_of_waits(waits_s: Sequence[Optional[float]], share: float) -> Optional[float]:
    """The time after which this share was found or named; None is one that never was. None if there are too few."""
    reached = sorted(wait for wait in waits_s if wait is not None)
    needed = int(np.ceil(share * len(waits_s)))
    return round(reached[needed - 1], 3) if 0 < needed <= len(reached) else None
