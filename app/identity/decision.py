"""From similarities to a name, and from many looks at a face to one answer."""

from __future__ import annotations

from collections import Counter
from typing import List, Optional, Sequence

from app.identity.index import Candidates
from app.types import NOT_COMPARED_YET, Match, Reason


def decide(candidates: Candidates, threshold: float, margin: float) -> Match:
    """The answer of one look. Whatever is not clearly somebody is nobody.

    Two people exactly as near as each other are never told apart, even with a margin of 0.
    """
    similarity, runner_up_similarity = candidates.similarity, candidates.runner_up_similarity
    if similarity != similarity:
        return NOT_COMPARED_YET
    if candidates.person is None:
        return Match(name=None, reason=Reason.NOBODY_ENROLLED)
    lead = similarity - runner_up_similarity
    if not similarity >= threshold:
        name, reason = None, Reason.BELOW_THRESHOLD
    elif candidates.runner_up is not None and not (lead >= margin and lead > 0):
        name, reason = None, Reason.TOO_CLOSE_TO_RUNNER_UP
    else:
        name, reason = candidates.person, Reason.MATCHED
    return Match(
        name=name,
        reason=reason,
        similarity=similarity,
        nearest=candidates.person,
        runner_up=candidates.runner_up,
        runner_up_similarity=runner_up_similarity,
    )


def is_telling(look: Match) -> bool:
    """Whether the face was really compared with somebody, so that the look counts as a vote."""
    return look.reason not in (Reason.TOO_SMALL, Reason.NOT_COMPARED_YET)


def settle(looks: Sequence[Match], published: Optional[Match], min_agreeing: int) -> Match:
    """A track's answer out of its last looks (the newest last) and of the answer given so far.

    - A name is *given* when more than half of the looks say it, and at least `min_agreeing` of them.
    - A name once given is *kept* while at least a third of the looks still say it, or while there are too few looks
      (fewer than `min_agreeing`, as after a change of the gallery) to say otherwise. The gap between a half and a
      third is what keeps names from flickering; a head turned aside for a moment loses nothing.
    - Otherwise the face is unknown: for the commonest reason when more than half of the looks are unknown, because
      it was not compared often enough yet, or because the looks disagree.

    The similarities shown are those of one look, the clearest of those that agree, so that they belong together.
    """
    votes = [look for look in looks if is_telling(look)]
    if published is not None and published.name is not None:
        agreeing = _saying(votes, published.name)
        if len(votes) < min_agreeing or 3 * len(agreeing) >= len(votes):
            return max(agreeing, key=_similarity, default=published)
    if not votes:
        return looks[-1] if looks else NOT_COMPARED_YET
    names = Counter(look.name for look in votes if look.name is not None)
    ranked = sorted(names, key=lambda name: (-names[name], name))
    if not ranked:
        return _commonest_unknown(votes)
    favourite = _saying(votes, ranked[0])
    if len(favourite) >= min_agreeing and 2 * len(favourite) > len(votes):
        return max(favourite, key=_similarity)
    if 2 * sum(names.values()) < len(votes):
        return _commonest_unknown([look for look in votes if look.name is None])
    if len(votes) < min_agreeing and len(ranked) == 1:
        return _unnamed(Reason.NOT_COMPARED_YET, favourite, [])
    return _unnamed(Reason.LOOKS_DISAGREE, favourite, _saying(votes, ranked[1]) if len(ranked) > 1 else [])


def _saying(votes: Sequence[Match], name: str) -> List[Match]:
    return [look for look in votes if look.name == name]


def _similarity(look: Match) -> float:
    return look.similarity


def _commonest_unknown(votes: Sequence[Match]) -> Match:
    """The newest look that gives the commonest reason; of reasons equally common, the newest."""
    count = Counter(look.reason for look in votes)
    return max(enumerate(votes), key=lambda numbered: (count[numbered[1].reason], numbered[0]))[1]


def _unnamed(reason: Reason, favourite: Sequence[Match], rival: Sequence[Match]) -> Match:
    """Nobody, and between whom the looks waver."""
    best = max(favourite, key=_similarity)
    other = max(rival, key=_similarity, default=None)
    return Match(
        name=None,
        reason=reason,
        similarity=best.similarity,
        nearest=best.name,
        runner_up=best.runner_up if other is None else other.name,
        runner_up_similarity=best.runner_up_similarity if other is None else other.similarity,
    )
