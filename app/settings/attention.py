"""Settings of where the detector looks, and when."""

from __future__ import annotations

from dataclasses import dataclass

from app.settings.declaration import setting


@dataclass(frozen=True)
class AttentionSettings:
    """Where the detector looks, and when (docs/attention.md)."""

    mode: str = setting(
        "auto",
        "off looks at every frame whole; auto looks where faces are or something moves, and at pictures of a folder "
        "whole; always looks at those in full resolution as well; where faces are covered, the default is off",
        flag="--attention",
        choices=("off", "auto", "always"),
    )
    min_face_px: int = setting(
        16, "size from which faces are found where something moves; smaller values take longer", minimum=8, maximum=1000
    )
    scan_every_s: float = setting(
        10.0,
        "seconds after which every part of the picture is looked at, even if nothing moves",
        minimum=0.1,
        maximum=3600,
    )
    max_interval_s: float = setting(
        0.4, "maximum seconds for which a face is predicted before it is looked at", minimum=0, maximum=5
    )
