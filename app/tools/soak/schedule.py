"""When the soak causes which fault: a list that follows from its seed. No clock, no I/O."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

FIRST_AFTER_S = 8.0
"""People have come into the picture by then."""
QUIET_END_S = 25.0
"""The last fault ends so long before the end of a run, so that the recovery is seen."""
SHORT_RUN_MIN = 5.0
"""Shorter runs have shorter faults, so that they see each kind."""


class FaultKind(str, enum.Enum):
    """What goes wrong. The values are part of the JSON form."""

    KILLED = "killed"
    FROZEN = "frozen"
    GARBAGE = "garbage"
    RESIZED = "resized"
    NETWORK_DOWN = "network_down"
    READER_KILLED = "reader_killed"
    FOLDER_REMOVED = "folder_removed"
    DISK_FULL = "disk_full"
    PHOTO_REMOVED = "photo_removed"

    def __str__(self) -> str:
        return self.value


OF_A_CAMERA = (
    FaultKind.KILLED,
    FaultKind.FROZEN,
    FaultKind.GARBAGE,
    FaultKind.RESIZED,
)
SECONDS = {
    FaultKind.KILLED: (2.0, 25.0),
    FaultKind.FROZEN: (8.0, 20.0),
    FaultKind.GARBAGE: (3.0, 15.0),
    FaultKind.RESIZED: (5.0, 20.0),
    FaultKind.NETWORK_DOWN: (2.0, 15.0),
    FaultKind.READER_KILLED: (0.0, 0.0),
    FaultKind.FOLDER_REMOVED: (8.0, 25.0),
    FaultKind.DISK_FULL: (8.0, 25.0),
    FaultKind.PHOTO_REMOVED: (8.0, 20.0),
}
"""The shortest and the longest duration of each kind."""
SHORT_SECONDS = {kind: (first, min(last, first + 1)) for kind, (first, last) in SECONDS.items()}
PAUSES_S = (4.0, 15.0)
SHORT_PAUSES_S = (2.0, 3.0)


@dataclass(frozen=True)
class Fault:
    """One fault of the schedule."""

    kind: FaultKind
    camera: Optional[str]
    """Its name; None: all of them, or any."""
    begins_s: float
    """After the start of the run."""
    lasts_s: float

    @property
    def ends_s(self) -> float:
        return self.begins_s + self.lasts_s

    @property
    def hits_cameras(self) -> bool:
        return self.kind in (*OF_A_CAMERA, FaultKind.NETWORK_DOWN, FaultKind.READER_KILLED)

    def __str__(self) -> str:
        where = f" {self.camera}" if self.camera else ""
        lasts = f" for {self.lasts_s:.0f} s" if self.lasts_s else ""
        return f"{self.kind}{where}{lasts}"


def make_schedule(minutes: float, seed: int, cameras: Sequence[str], kinds: Sequence[FaultKind]) -> Tuple[Fault, ...]:
    """One fault after the other, each kind once before one comes again. The same arguments give the same schedule."""
    chance = random.Random(seed)
    is_short = minutes < SHORT_RUN_MIN
    seconds, pauses_s = (SHORT_SECONDS, SHORT_PAUSES_S) if is_short else (SECONDS, PAUSES_S)
    faults: List[Fault] = []
    begins_s = FIRST_AFTER_S
    coming: List[FaultKind] = []
    while True:
        if not coming:
            coming = list(kinds)
            chance.shuffle(coming)
        kind = coming.pop()
        camera = chance.choice(list(cameras)) if kind in OF_A_CAMERA else None
        fault = Fault(kind, camera, round(begins_s, 1), round(chance.uniform(*seconds[kind]), 1))
        if fault.ends_s > minutes * 60 - QUIET_END_S:
            return tuple(faults)
        faults.append(fault)
        begins_s = fault.ends_s + chance.uniform(*pauses_s)
