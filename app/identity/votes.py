"""The name of a track, decided by the votes of its recent comparisons."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Optional, Sequence, Tuple

from app.settings import RecognitionSettings
from app.types import NOT_COMPARED_YET, Match, Reason

_similarity = attrgetter("similarity")


@dataclass(frozen=True)
class TrackVotes:
    """The recent comparisons of one track and the answer that follows from them."""

    votes: Tuple[Match, ...] = ()
    """Comparisons with the gallery of `generation`, the newest last."""
    published: Match = NOT_COMPARED_YET
    """The track's answer."""
    generation: int = 0
    last_vote: Optional[float] = None
    """When the face was last compared."""


NO_VOTES = TrackVotes()


def add_vote(
    before: TrackVotes, match: Match, time: float, generation: int, settings: RecognitionSettings
) -> TrackVotes:
    """The votes after one more comparison.

    Votes from an older generation of the gallery are dropped, because the person they missed may be enrolled now. The
    name they gave stays until there are enough new votes. A face that was not compared (a gate rejected it) does not
    vote; its reason is published as long as the track has no vote at all.
    """
    if not match.reason.compared:
        return replace(before, published=match) if before.last_vote is None else before
    kept = before.votes if before.generation == generation else ()
    votes = (*kept, match)[-settings.vote_window :]
    return TrackVotes(votes, resolve(votes, before.published, required_votes(settings)), generation, time)


def needs_embedding(track: TrackVotes, time: float, generation: int, settings: RecognitionSettings) -> bool:
    """Whether the face should be embedded and compared in this frame."""
    if track.last_vote is None or track.generation != generation or not is_settled(track, settings):
        return True
    return not 0 <= time - track.last_vote < settings.reembed_after_s


def is_settled(track: TrackVotes, settings: RecognitionSettings) -> bool:
    """Whether another vote is unlikely to change the answer.

    A named track is settled once it has the required votes, an unknown one only when its window is full, because the
    name may still come. A track whose last vote contradicts its name is not settled: either the vote was an outlier,
    which the next one corrects, or two people crossed, which must be noticed at once.
    """
    if not track.votes:
        return False
    last, name = track.votes[-1].name, track.published.name
    if last is not None and last != name:
        return False
    return len(track.votes) >= (settings.vote_window if name is None else required_votes(settings))


def required_votes(settings: RecognitionSettings) -> int:
    """Votes that a name needs; never more than the window holds, or no track would ever get a name."""
    return min(settings.min_votes, settings.vote_window)


def resolve(votes: Sequence[Match], published: Match, min_votes: int) -> Match:
    """The answer of a track, from its votes (the newest last) and the answer published before.

    - A name is *given* when `min_votes` and more than half of the votes agree on it.
    - A name is *kept* while a third of the votes agree on it, or while there are fewer than `min_votes` (as after a
      change of the gallery). The gap between a half and a third prevents flickering names.
    - Otherwise the face is unknown: for the commonest reason if more than half of the votes are unknown; because it
      was not compared often enough yet; or because the votes disagree.

    The similarities are those of a single vote, the best of those that agree, so that they are consistent.
    """
    if published.name is not None:
        agreeing = [vote for vote in votes if vote.name == published.name]
        if len(votes) < min_votes or 3 * len(agreeing) >= len(votes):
            return max(agreeing, key=_similarity, default=published)
    if not votes:
        return published
    count = Counter(vote.name for vote in votes if vote.name is not None)
    ranked = sorted(count, key=lambda name: (-count[name], name))
    unknown = [vote for vote in votes if vote.name is None]
    if not ranked or 2 * len(unknown) > len(votes):
        reasons = Counter(vote.reason for vote in unknown)
        return max(reversed(unknown), key=lambda vote: reasons[vote.reason])
    first = [vote for vote in votes if vote.name == ranked[0]]
    best = max(first, key=_similarity)
    if len(first) >= min_votes and 2 * len(first) > len(votes):
        return best
    if len(votes) < min_votes and len(ranked) == 1:
        return replace(best, name=None, reason=Reason.NOT_COMPARED_YET)
    if len(ranked) == 1:
        return replace(best, name=None, reason=Reason.VOTES_DISAGREE)
    rival = max((vote for vote in votes if vote.name == ranked[1]), key=_similarity)
    return replace(
        best,
        name=None,
        reason=Reason.VOTES_DISAGREE,
        runner_up=rival.name,
        runner_up_similarity=rival.similarity,
    )
