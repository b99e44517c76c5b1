"""How the faces of a frame were found. Readable from everywhere."""

from __future__ import annotations

import enum


class Look(str, enum.Enum):
    """Where the detector looked in a frame. The values are names of metrics."""

    IDLE = "idle"
    """Nowhere: nothing moves, and there is nobody."""
    PREDICTED = "predicted"
    """Nowhere: the faces of the result are where their tracks are expected."""
    REGIONS = "regions"
    """Around tracks, around what moves, or in parts of the frame whose turn it was."""
    SCAN = "scan"
    """At the whole frame."""

    def __str__(self) -> str:
        return self.value

    @property
    def detected(self) -> bool:
        """Whether the detector ran."""
        return self in (Look.REGIONS, Look.SCAN)
