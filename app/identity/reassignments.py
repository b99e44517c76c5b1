"""Visits of an event log that people have given to someone else than was recognised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

MAX_REASSIGNED = 1000
UNKNOWN = ""


@dataclass(frozen=True)
class Reassigned:
    """A visit of an event log is not whose it was recognised as."""

    log: str
    """The id of the log, which counts its visits from 1."""
    visit: int
    who: Optional[str] = None
    """A person, `stranger-7`, or UNKNOWN. None: this was taken back."""


class ReassignedState(NamedTuple):
    log: str
    visit: int
    who: Optional[str]


class Reassignments:
    """Whose each of these visits is."""

    def __init__(self) -> None:
        self._who: Dict[Tuple[str, int], Optional[str]] = {}

    def get(self, log: str, visit: int) -> Optional[str]:
        return self._who.get((log, visit))

    def set(self, log: str, visit: int, who: Optional[str]) -> None:
        self._who.pop((log, visit), None)
        self._who[log, visit] = who
        for oldest in list(self._who)[:-MAX_REASSIGNED]:
            del self._who[oldest]

    def rename(self, before: str, name: str) -> None:
        self._who.update({visit: name for visit, who in self._who.items() if who == before})

    def changes(self) -> List[Reassigned]:
        return [Reassigned(log, visit, who) for (log, visit), who in self._who.items()]

    def names(self) -> Dict[str, Optional[str]]:
        """By `LOG/NUMBER` of the visit, for event logs."""
        return {f"{log}/{visit}": who for (log, visit), who in self._who.items()}

    def differing(self, later: Reassignments) -> List[Tuple[ReassignedState, ReassignedState]]:
        """What is another's later: as it is, and as it will be."""
        visits = [visit for visit, who in later._who.items() if self._who.get(visit) != who]
        return [(ReassignedState(*one, self.get(*one)), ReassignedState(*one, later.get(*one))) for one in visits]

    def restore(self, states: Iterable[ReassignedState]) -> None:
        for state in states:
            self.set(*state)
