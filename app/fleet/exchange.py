"""What an exchange of galleries has done, and what has to be tried again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple

from app.errors import GalleryError
from app.text import counted, program

FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0
"""Until a photo that could not be written is fetched again."""


@dataclass
class Exchange:
    """What an exchange has done."""

    sent: int = 0
    received: int = 0
    conflicts: int = 0
    held_back: int = 0
    """Photos that are gone from the folder, but so many that nothing was deleted elsewhere."""
    problems: List[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = [f"{counted(self.sent, 'change')} sent, {self.received} received"]
        if self.conflicts:
            parts.append(f"{counted(self.conflicts, 'conflict')}: {program()} fleet conflicts")
        return "; ".join([*parts, *filter(None, [self.trouble])])

    @property
    def trouble(self) -> str:
        """The same in each exchange until it is put right; empty if there is none."""
        held_back = (
            f"{self.held_back} photos are gone from the folder at once, so they were not deleted on other devices; "
            f"{missing_advice()}"
        )
        return "; ".join([*([held_back] if self.held_back else []), *dict.fromkeys(self.problems)])

    @property
    def is_complete(self) -> bool:
        return not (self.conflicts or self.held_back or self.problems)


def missing_advice() -> str:
    """What to do where an exchange has held back deletions."""
    return f"fetch them again: {program()} fleet sync --restore; or delete them everywhere: fleet sync --remove-many"


class _Failed(NamedTuple):
    revision: int
    problem: str
    pause_s: float
    again_at: float
    """On the monotonic clock."""


class FailedPhotos:
    """Photos that were fetched in vain: not with each exchange again."""

    def __init__(self) -> None:
        self._failed: Dict[str, _Failed] = {}

    def require_due(self, sha256: str, revision: int) -> None:
        """Raises GalleryError with what went wrong last time, until it is time to try again."""
        failed = self._failed.get(sha256)
        if failed is not None and failed.revision == revision and time.monotonic() < failed.again_at:
            raise GalleryError(failed.problem)

    def note(self, sha256: str, revision: int, problem: str) -> None:
        known = self._failed.get(sha256)
        pause_s = FIRST_PAUSE_S if known is None else min(2 * known.pause_s, LONGEST_PAUSE_S)
        self._failed[sha256] = _Failed(revision, problem, pause_s, time.monotonic() + pause_s)

    def forget(self, sha256: str) -> None:
        self._failed.pop(sha256, None)
