"""The name of a track, decided by the votes of its recent comparisons."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from app.settings import RecognitionSettings
from app.types import NOT_COMPARED_YET, Faces, Match, Reason

CLEAR_SIZE_PX = 80
"""A larger face is not clearer: embedders take 112 pixels for the whole head."""
MIN_WEIGHT = 0.1
"""Of a vote, however unclear the face."""
_MAX_DOUBLINGS = 2
"""A track whose answer stays the same is compared after 1, 2, 4, 4 … times `reembed_after_s`."""
_SHAKEN_DOUBLINGS = -2
"""One that was in doubt is compared after a quarter of it, a half, 1, 2, 4 …"""
_CLEARER = 1.2
"""Ratio of clarities from which an unknown face is compared again."""


class Vote(NamedTuple):
    """One comparison of a track, with the clarity of the face as its weight."""

    match: Match
    weight: float = 1.0


@dataclass(frozen=True)
class TrackVotes:
    """The recent comparisons of one track and the answer that follows from them."""

    votes: Tuple[Vote, ...] = ()
    """Comparisons with the gallery of `generation`, the newest last."""
    published: Match = NOT_COMPARED_YET
    """The track's answer."""
    generation: int = 0
    last_vote: Optional[float] = None
    """When the face was last compared."""
    count: int = 0
    """Comparisons so far."""
    unchanged: int = 0
    """Comparisons since the answer is settled, as long as each confirms it."""
    clearest: float = 0.0
    """The largest weight of all votes."""
    named_at: Optional[float] = None
    """When the track got its first name."""
    denials: int = 0
    """How often it was found to be no face."""
    last_denial: Optional[float] = None
    verified: bool = False
    """Whether the face was compared with non-faces, even if it was too small to be compared with people."""

    @property
    def is_face(self) -> bool:
        """Whether it was not more often found to be none than compared."""
        return self.denials <= self.count

    def is_settled(self, generation: int, settings: RecognitionSettings) -> bool:
        """Whether another vote of this generation of the gallery is unlikely to change the answer.

        A named track is settled once it has the required votes, an unknown one only when its window is full, because
        the name may still come. A track whose last vote contradicts its name is not settled: either the vote was an
        outlier, which the next one corrects, or two people crossed, which must be noticed at once.
        """
        if not self.votes or self.generation != generation:
            return False
        last, name = self.votes[-1].match.name, self.published.name
        if last is not None and last != name:
            return False
        return len(self.votes) >= (settings.vote_window if name is None else required_votes(settings))


NO_VOTES = TrackVotes()


def clarity(faces: Faces) -> np.ndarray:
    """How clearly each face is seen, 0.1 to 1: by its size, its score, and how far it is turned away."""
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1, initial=np.inf)
    left, right, nose = faces.landmarks[:, 0], faces.landmarks[:, 1], faces.landmarks[:, 2]
    eyes = right - left
    squared = np.maximum((eyes**2).sum(axis=1), 1e-9)
    # The nose is in the middle between the eyes of a frontal face, and below one of the eyes in a profile.
    turned = np.abs(((nose - (left + right) / 2) * eyes).sum(axis=1)) / squared
    values = np.minimum(sides / CLEAR_SIZE_PX, 1) * faces.scores * np.clip(1.2 - 2 * turned, MIN_WEIGHT, 1)
    return np.asarray(np.clip(np.nan_to_num(values), MIN_WEIGHT, 1), np.float64)


def add_vote(
    before: TrackVotes, match: Match, time: float, generation: int, settings: RecognitionSettings, weight: float = 1.0
) -> TrackVotes:
    """The votes after one more comparison.

    Votes from an older generation of the gallery are dropped, because the person they missed may be enrolled now. The
    name they gave stays until there are enough new votes. A face that was not compared (a gate rejected it) does not
    vote; its reason is published as long as the track has no vote at all, or is no face.
    """
    if not match.reason.compared:
        if match.quality is not None and math.isfinite(match.quality.non_face[0]):
            before = replace(before, verified=True)
        if match.reason.denies_face:
            before = replace(before, denials=before.denials + 1, last_denial=time)
        return replace(before, published=match) if before.last_vote is None or not before.is_face else before
    kept = before.votes if before.generation == generation else ()
    votes = (*kept, Vote(match, weight))[-settings.vote_window :]
    published = resolve(votes, before.published, required_votes(settings))
    after = TrackVotes(
        votes=votes,
        published=published,
        generation=generation,
        last_vote=time,
        count=before.count + 1,
        clearest=max(before.clearest, weight),
        named_at=time if before.named_at is None and published.name is not None else before.named_at,
        denials=before.denials,
        verified=True,
        last_denial=before.last_denial,
    )
    confirmed = before.is_settled(generation, settings) and after.is_settled(generation, settings)
    return replace(after, unchanged=before.unchanged + 1) if confirmed else after


def shaken(votes: TrackVotes) -> TrackVotes:
    """The votes of a track that was in doubt, which will be compared again soon."""
    return replace(votes, unchanged=_SHAKEN_DOUBLINGS)


def needs_embedding(
    track: TrackVotes,
    time: float,
    generation: int,
    settings: RecognitionSettings,
    weight: float = 0.0,
    patience: float = 1.0,
) -> bool:
    """Whether the face should be embedded and compared in this frame, in which it is seen with this clarity.

    A settled one waits `patience` times as long, unless it was in doubt.
    """
    if track.last_denial is not None and not track.is_face and track.denials >= settings.vote_window:
        wait_s = settings.reembed_after_s * 2 ** min(track.denials - settings.vote_window, _MAX_DOUBLINGS)
        if 0 <= time - track.last_denial < wait_s:
            return False
    if track.last_vote is None or not track.is_settled(generation, settings):
        return True
    if track.published.name is None and weight > _CLEARER * track.clearest:
        return True
    wait_s = settings.reembed_after_s * 2 ** min(track.unchanged, _MAX_DOUBLINGS)
    if track.unchanged >= 0:
        wait_s *= patience
    return not 0 <= time - track.last_vote < wait_s


def required_votes(settings: RecognitionSettings) -> int:
    """Votes that a name needs; never more than the window holds, or no track would ever get a name."""
    return min(settings.min_votes, settings.vote_window)


def resolve(votes: Sequence[Vote], published: Match, min_votes: int) -> Match:
    """The answer of a track, from its votes (the newest last) and the answer published before.

    - A name is *given* when `min_votes` agree on it, and they have more than half of the weight of all votes.
    - A name is *kept* while it has a third of the weight, or while there are fewer than `min_votes` (as after a change
      of the gallery). The gap between a half and a third prevents flickering names.
    - Otherwise the face is unknown: for the most important reason if more than half of the weight is unknown; because
      it was not compared often enough yet; or because the votes disagree.

    The similarities are those of a single vote, the best of those that agree, so that they are consistent.
    """
    if not votes:
        return published
    by_name: Dict[Optional[str], List[Vote]] = defaultdict(list)
    for vote in votes:
        by_name[vote.match.name].append(vote)
    total = _weight(votes)
    if published.name is not None:
        agreeing = by_name.get(published.name, [])
        if len(votes) < min_votes or 3 * _weight(agreeing) >= total:
            return _best(agreeing) if agreeing else published
    unknown = by_name.pop(None, [])
    ranked = sorted(by_name, key=lambda name: (-_weight(by_name[name]), str(name)))
    if not ranked or 2 * _weight(unknown) > total:
        reasons: Dict[Reason, float] = defaultdict(float)
        for vote in unknown:
            reasons[vote.match.reason] += vote.weight
        return max(reversed(unknown), key=lambda vote: reasons[vote.match.reason]).match
    first = by_name[ranked[0]]
    if len(first) >= min_votes and 2 * _weight(first) > total:
        return _best(first)
    share = _weight(first) / total
    # A clear face that was compared once may outweigh all other votes.
    disagreeing = _best(first).unnamed(Reason.VOTES_DISAGREE, *((share, 0.5) if share <= 0.5 else ()))
    if len(ranked) == 1:
        if len(votes) < min_votes:
            return _best(first).unnamed(Reason.NOT_COMPARED_YET, len(votes), min_votes)
        return disagreeing
    rival = _best(by_name[ranked[1]])
    return replace(disagreeing, runner_up=rival.name, runner_up_similarity=rival.similarity)


def _weight(votes: Sequence[Vote]) -> float:
    # Rounded, so that a third of three equal votes is a third.
    return round(sum(vote.weight for vote in votes), 6)


def _best(votes: Sequence[Vote]) -> Match:
    """The most similar one, as certain as all of them on average: the best of several looks flatters."""
    best = max((vote.match for vote in votes), key=lambda match: match.similarity)
    known = [(vote.match.confidence, vote.weight) for vote in votes if vote.match.confidence is not None]
    if best.confidence is None or not known:
        return best
    odds = sum(weight * math.log(value / (1 - value)) for value, weight in known) / sum(weight for _, weight in known)
    return replace(best, confidence=1 / (1 + math.exp(-odds)))
