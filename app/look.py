"""Where the detector looked in a frame, and where faces are expected. Readable from everywhere."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np


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


@dataclass(frozen=True, eq=False)
class ExpectedFaces:
    """Where the tracks of a channel are expected in a frame, before it is looked at; parallel arrays."""

    keys: np.ndarray
    """N: what the tracker calls its tracks."""
    boxes: np.ndarray
    """N x 4, in pixels of the frame."""
    unseen_s: np.ndarray
    """N: seconds since each was looked at."""
    patience_s: np.ndarray
    """N: for how long each may be predicted; 0: it is looked at in every frame."""
    reach: np.ndarray
    """N: how far the face may be from its box, in sides of the box."""
    hidden: np.ndarray
    """N: whether the face was missing when it was last looked for."""

    def __len__(self) -> int:
        return len(self.keys)


NOBODY = ExpectedFaces(*(np.empty(shape) for shape in (0, (0, 4), 0, 0, 0, 0)))
