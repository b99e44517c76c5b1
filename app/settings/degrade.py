"""Settings of what the program does when the machine is too slow for its live sources."""

from __future__ import annotations

from dataclasses import dataclass

from app.settings.declaration import setting


@dataclass(frozen=True)
class DegradeSettings:
    """What the program leaves out while the machine is too slow for its live sources (docs/monitoring.md)."""

    level: str = setting(
        "auto",
        "auto raises the level while the machine is too slow for its live sources, and lowers it again; frozen raises "
        "it only; off = never; 0 to 4 = always this level",
        flag="--degrade",
        choices=("auto", "frozen", "off", "0", "1", "2", "3", "4"),
    )
    max_level: int = setting(4, "highest level of auto and frozen", minimum=0, maximum=4)
    max_dropped_share: float = setting(
        0.2,
        "share of a live source's frames that may be dropped because the loop is busy; more, and too few or too old "
        "frames, means that the machine is too slow",
        minimum=0.01,
        maximum=0.99,
    )
    min_fps: float = setting(
        5.0, "frames per second of a live source below which they are too few", minimum=0.1, maximum=1000
    )
    max_age_s: float = setting(
        0.5,
        "seconds from the arrival of a frame to its result (95th percentile) above which it is too old",
        minimum=0.01,
    )
    raise_after_s: float = setting(
        10.0, "seconds for which the machine must have been too slow before each step up", minimum=0.1, maximum=3600
    )
    recover_after_s: float = setting(
        60.0,
        "seconds for which it must have been fast enough before each step down; doubled, up to 16 times as long, "
        "whenever a step down was too early",
        minimum=0.1,
        maximum=86400,
    )
    level_4_fps: float = setting(4.0, "frames per second of each live source at level 4", minimum=0.1, maximum=1000)
