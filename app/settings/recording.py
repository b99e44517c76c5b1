"""Settings of recordings: video in segments, kept for a limited time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from app.settings.declaration import setting


@dataclass(frozen=True)
class RecordSettings:
    """Video of every channel in segments, kept for a limited time (docs/recording.md)."""

    folder: Optional[Path] = setting(
        None,
        "record every channel into this folder, in segments that are deleted when they are old (docs/recording.md)",
        flag="--record",
        metavar="DIR",
    )
    when: str = setting(
        "always",
        "what is recorded: everything, only while someone is there, or nothing, for a channel among others",
        flag="--record-when",
        choices=("always", "visits", "never"),
    )
    annotated: bool = setting(True, "draw boxes and names into recordings")
    segment_minutes: float = setting(10.0, "minutes in a segment", minimum=0.05, maximum=1440)
    keep_days: Optional[float] = setting(
        30.0, "days after which a segment is deleted; null keeps all", minimum=0.001, maximum=36500
    )
    max_gb: Optional[float] = setting(
        None, "gigabytes of all segments together; above that, the oldest are deleted", minimum=0.001
    )
    min_free_gb: float = setting(
        1.0, "gigabytes that stay free on the disk; recording pauses if nothing can be deleted", minimum=0.0
    )
    when_full: str = setting(
        "delete",
        "what happens when less is free: the oldest segments are deleted, or recording pauses",
        choices=("delete", "pause"),
    )
    pre_roll_s: float = setting(
        5.0,
        "with when: visits, seconds to record from before someone came; a visit's recording ends after "
        "tracking.visit_gap_s",
        minimum=0,
        maximum=60,
    )
