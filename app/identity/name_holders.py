"""Of the tracks of a channel that have the same name, only one can be right."""

from __future__ import annotations

from typing import Dict, List, Mapping, Set

from app.identity.votes import TrackVotes
from app.types import Match, Reason

_LEAD = 0.05
"""Similarity by which another track must be better to take a name from the track that has it."""


class NameHolders:
    """Which track shows each name of a channel."""

    def __init__(self) -> None:
        self._holders: Dict[str, int] = {}
        """In the last frame that was looked at."""

    def give(self, shown: Dict[int, Match], votes: Mapping[int, TrackVotes], hidden: Mapping[int, bool]) -> Set[int]:
        """Leaves each name in `shown` (by track) to the track with the best claim.

        Returns the hidden ones among the others: the person is somewhere else.
        """
        named: Dict[str, List[int]] = {}
        for key, match in shown.items():
            if match.name is not None:
                named.setdefault(match.name, []).append(key)
        ended = set()
        for name, keys in named.items():
            keys.sort(key=lambda key: (-self._claim(name, key, votes[key], hidden[key]), key))
            for key in keys[1:]:
                shown[key] = shown[key].unnamed(Reason.NAME_TAKEN)
                if hidden[key]:
                    ended.add(key)
        self._holders = {name: keys[0] for name, keys in named.items()}
        return ended

    def _claim(self, name: str, key: int, track: TrackVotes, hidden: bool) -> float:
        """How good a track's claim to a name is."""
        votes = [vote for vote in track.votes if vote.match.name == name]
        weight = sum(vote.weight for vote in votes)
        mean = sum(vote.weight * vote.match.similarity for vote in votes) / weight if weight else 0.0
        return mean + _LEAD * (self._holders.get(name) == key and not hidden)
