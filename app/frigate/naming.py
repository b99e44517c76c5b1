"""Who a person of Frigate is, decided by the votes of all snapshots. Pure: no pictures, no clock, no network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, FrozenSet, Optional

from app.frigate.messages import PersonMessage
from app.identity.votes import NO_VOTES, TrackVotes, add_vote, required_votes, resolve
from app.settings import RecognitionSettings
from app.types import Match

MAX_NAME_LETTERS = 100
"""Frigate refuses longer sub labels."""
MIN_SCORE = 0.01
"""Frigate refuses 0."""


@dataclass(frozen=True)
class TrackedPerson:
    """What is known of one event of Frigate."""

    message: PersonMessage
    votes: TrackVotes = NO_VOTES
    asked: Optional[float] = None
    """The time of the newest snapshot that was asked for."""
    pictures: FrozenSet[str] = frozenset()
    """Digests of the pictures so far: a picture votes once, also if it comes again."""
    snapshots: int = 0
    written: Optional[str] = None
    """The sub label that was written by this program."""
    earlier: FrozenSet[str] = frozenset()
    """All that were written: a message may be older than the last one."""
    published: str = ""
    """The name in the last result; empty: unknown."""
    has_ended: bool = False
    """The final result was published."""
    attempts: int = 0
    """Failed ones, since the last that succeeded."""

    @property
    def wants_snapshot(self) -> bool:
        moment = self.message.snapshot_time
        return moment is not None and (self.asked is None or moment > self.asked)


def with_vote(
    person: TrackedPerson, match: Match, weight: float, generation: int, settings: RecognitionSettings
) -> TrackedPerson:
    """The person after one more snapshot that shows a face."""
    moment = person.message.snapshot_time or 0.0
    votes = add_vote(person.votes, match, moment, generation, settings, weight)
    return replace(person, votes=votes, snapshots=person.snapshots + 1)


def answer(person: TrackedPerson, settings: RecognitionSettings) -> Match:
    """Who it is. When there will be no more snapshots, fewer votes than usual are enough, if they agree."""
    votes = person.votes
    if not person.message.has_ended or not votes.votes:
        return votes.published
    return resolve(votes.votes, votes.published, max(1, min(required_votes(settings), len(votes.votes))))


def sub_label(person: TrackedPerson, match: Match, may_replace: bool) -> Optional[str]:
    """What is to be written into Frigate: a name, nothing (empty) to take ours back, or None to leave it as it is."""
    wanted = (match.name or "")[:MAX_NAME_LETTERS]
    if wanted == (person.written or ""):
        return None
    there = person.message.sub_label
    if there is not None and there == wanted and there not in person.earlier:
        return None
    is_ours = there is None or there in person.earlier
    # A person who was named by someone else keeps that name when ours turns out to be wrong.
    return wanted if is_ours or (may_replace and wanted) else None


def score(match: Match) -> float:
    """For Frigate: how certain it is, above 0 and at most 1."""
    value = match.similarity if match.confidence is None else match.confidence
    return round(min(1.0, max(MIN_SCORE, value)), 4)


def result(person: TrackedPerson, match: Match) -> Dict[str, Any]:
    """What this program publishes."""
    compared = bool(match.candidates)
    return {
        "id": person.message.id,
        "camera": person.message.camera,
        "name": match.name,
        "score": None if match.name is None else score(match),
        "similarity": round(match.similarity, 4) if compared else None,
        "confidence": None if match.confidence is None else round(match.confidence, 4),
        "nearest": match.candidates[0].name if compared else None,
        "reason": str(match.reason),
        "why": match.why,
        "votes": person.votes.count,
        "snapshots": person.snapshots,
        "sub_label": person.written or None,
        "ended": person.message.has_ended,
    }
