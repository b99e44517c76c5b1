"""What was seen of one track so far: its last looks, the answer they give, and when to look again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from app.identity.decision import is_telling, settle
from app.settings import RecognitionSettings
from app.types import NOT_COMPARED_YET, Match


@dataclass(frozen=True)
class TrackLooks:
    """The looks taken at one track."""

    looks: Tuple[Match, ...] = ()
    """The newest last; only those that compared the face with somebody."""
    published: Match = NOT_COMPARED_YET
    """What they come to."""
    generation: int = 0
    """Of the gallery that they compared with."""
    last_look: Optional[float] = None


NEVER_LOOKED = TrackLooks()


def record_look(
    before: TrackLooks, match: Match, time: float, generation: int, settings: RecognitionSettings
) -> TrackLooks:
    """The track after one more look.

    Looks at an older gallery are dropped, since whom they missed may be in it now; the name they gave stays until
    there are enough new ones. A look that told nothing (no embedding) changes nothing, so that it is taken again.
    """
    if not is_telling(match):
        return before
    window = before.looks if before.generation == generation else ()
    looks = (*window, match)[-settings.looks :]
    published = settle(looks, before.published, agreement(settings))
    return TrackLooks(looks, published, generation, time)


def needs_look(track: TrackLooks, time: float, generation: int, settings: RecognitionSettings) -> bool:
    """Whether the face should be embedded in this frame."""
    if track.last_look is None or track.generation != generation or not is_settled(track, settings):
        return True
    since = time - track.last_look
    return not 0 <= since < settings.look_again_after_s


def is_settled(track: TrackLooks, settings: RecognitionSettings) -> bool:
    """Whether more looks would hardly change the answer.

    Named: when enough looks were taken. Unknown: only when the window is full, for the name may still come. Neither
    when the last look gave another name than the answer: that is either a slip, which one more look clears up, or
    two people who crossed, which must not wait.
    """
    if not track.looks:
        return False
    last, name = track.looks[-1].name, track.published.name
    if last is not None and last != name:
        return False
    return len(track.looks) >= (settings.looks if name is None else agreement(settings))


def agreement(settings: RecognitionSettings) -> int:
    """Looks that must agree; never more than are kept, or nobody would ever be named."""
    return min(settings.min_agreeing_looks, settings.looks)
