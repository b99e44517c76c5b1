"""Reads what a run has written: the event log and the videos."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import cv2

from app.tools.soak.stamp import age_s, read_stamp


@dataclass(frozen=True)
class VideoCheck:
    """One video file."""

    name: str
    frames: int
    """That could be decoded."""
    readable: int
    """Those with a number in them."""
    worst_shift_s: float
    """By how much the time between two pictures differs in the video from the time between making them."""


def read_events(folders: Sequence[Path], name: str) -> Tuple[List[Dict[str, Any]], List[str]]:
    """The lines of a log that continued in several folders, and those that are no JSON objects."""
    records: List[Dict[str, Any]] = []
    broken: List[str] = []
    for path in (folder / name for folder in folders):
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if isinstance(record, dict):
                records.append(record)
            else:
                broken.append(repr(line[:100]))
    return records, broken


def check_video(path: Path) -> VideoCheck:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = readable = 0
    shifts: List[float] = []
    first: Optional[Tuple[int, float]] = None
    try:
        while True:
            found, image = capture.read()
            if not found:
                break
            frames += 1
            stamp = read_stamp(image)
            if stamp is None:
                continue
            readable += 1
            shown_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            first = first or (stamp, shown_s)
            shifts.append(shown_s - first[1] - age_s(first[0], stamp))
    finally:
        capture.release()
    worst_s = max(shifts) - min(shifts) if shifts else 0.0
    return VideoCheck(f"{path.parent.name}/{path.name}", frames, readable, round(worst_s, 3))
