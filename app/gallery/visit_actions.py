"""What people decide about a visit in the event log: it was not the person that was recognised."""

from __future__ import annotations

import time
from typing import Iterable, List, NamedTuple, Optional

from app.events.history import Record
from app.gallery.stranger_actions import LogState, changed_book, relabel_log
from app.gallery.stranger_journal import StrangerJournal
from app.gallery.undo import UndoableChange
from app.identity.reassignments import Reassigned
from app.identity.strangers import (
    Change,
    Denied,
    DeniedState,
    Moved,
    Restored,
    StrangerBook,
    Visit,
    stranger_number,
)
from app.settings import Settings
from app.text import parse_time

_CLOCK_S = 2.0
"""An event may be so much earlier or later than the looks of its track."""


class LoggedVisit(NamedTuple):
    """A visit in an event log."""

    log: str
    """The id of the log."""
    number: int
    who: Optional[str]
    """A person, a stranger, or None: whose it is now."""


class Reassignment(NamedTuple):
    change: Optional[UndoableChange]
    """None: it is so already."""
    face_kept: bool
    """Whether the face is kept, so that the same mistake does not happen again."""
    log: LogState


def reassign_visit(
    settings: Settings, journal: StrangerJournal, visit: LoggedVisit, events: Iterable[Record], who: str
) -> Reassignment:
    """A visit, with these events, is that of `who`: a person, a stranger, or UNKNOWN. Raises GalleryError.

    If the face is kept, faces that resemble it more than the photos of the person do not get that name any more.
    """
    kept = next(filter(None, (visit_of_event(journal.book, event) for event in events)), None)
    if who == (visit.who or ""):
        return Reassignment(None, kept is not None, LogState.NO_LOG)
    number = stranger_number(who)

    def decide(book: StrangerBook) -> List[Change]:
        changes: List[Change] = [Reassigned(visit.log, visit.number, who)]
        if kept is None or kept.id not in book.visits:
            return changes
        allowed = tuple(
            DeniedState(one.time, one.visit, "") for one in book.denied if (one.visit, one.name) == (kept.id, who)
        )
        if allowed:
            changes.append(Restored(denied=allowed))
        if visit.who is not None and stranger_number(visit.who) is None:
            changes.append(Denied(visit.who, kept.model, kept.embedding, time.time(), kept.id))
        name = None if number is not None else who or None
        return [*changes, Moved((kept.id,), number, name)]

    change = changed_book(settings, journal, "reassign visit", decide, visit=(visit.who, who or None))
    return Reassignment(change, kept is not None, relabel_log(settings, journal.book.all_names()))


def visit_of_event(book: StrangerBook, event: Record) -> Optional[Visit]:
    """The kept visit whose track made an event: the same number, on the same channel, at the same time."""
    moment = parse_time(event["time"])
    candidates = [
        visit
        for visit in book.visits.values()
        if (visit.channel, visit.track) == (event["channel"], event["track"])
        and visit.first_seen - _CLOCK_S <= moment <= visit.last_seen + _CLOCK_S
    ]
    return min(candidates, key=lambda visit: abs(visit.first_seen - moment), default=None)
