"""What people decide about strangers, on the command line or over HTTP: naming, ignoring, merging, splitting."""

from __future__ import annotations

import contextlib
import enum
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from app.errors import GalleryError, OutputError
from app.events.event import RelabelEvent
from app.events.history import log_files, own_relabels
from app.events.log import EventLog
from app.events.pipe import is_pipe
from app.gallery.files import person_folder
from app.gallery.gallery import Added, AddResult, Gallery, NewPhoto
from app.gallery.names import normalize
from app.gallery.stranger_journal import Decision, StrangerJournal, required
from app.gallery.strangers import strangers_folder
from app.gallery.undo import MovedPhoto, UndoableChange, UndoStore, difference
from app.identity.stranger_rules import split
from app.identity.strangers import (
    Change,
    Ignored,
    Merged,
    Moved,
    Named,
    Renamed,
    StrangerBook,
    Visit,
    stranger_name,
    stranger_number,
)
from app.settings import Settings
from app.text import counted, iso_time, program


class NoSuchStrangerError(GalleryError):
    """There is no stranger with this number, or none any longer."""


def opened_journal(settings: Settings) -> StrangerJournal:
    """What runs have kept."""
    journal = StrangerJournal(strangers_folder(settings))
    refresh(journal)
    return journal


def refresh(journal: StrangerJournal) -> None:
    """Reads what was kept meanwhile."""
    try:
        journal.refresh()
    except OSError as error:
        raise GalleryError(f"{journal.path} cannot be read: {error.strerror}") from error


def require_stranger(book: StrangerBook, text: str, folder: Optional[Path]) -> int:
    """The number that the stranger has now. Raises GalleryError."""
    number = stranger_number(text)
    if number is None:
        raise NoSuchStrangerError(f"{text!r} is not a stranger; expected a number such as stranger-7")
    current = book.current(number)
    if current in book.named:
        raise NoSuchStrangerError(f"{stranger_name(number)} is {book.named[current]} already")
    if current not in book.strangers:
        raise NoSuchStrangerError(
            f"{folder} has no {stranger_name(number)}; list all with: {program()} people strangers"
        )
    return current


def described(journal: StrangerJournal, number: int) -> Dict[str, Any]:
    """A stranger as JSON."""
    visits = journal.book.visits_of(number)
    return {
        "stranger": stranger_name(number),
        "ignored": number in journal.book.ignored,
        "visits": len(visits),
        "first_seen": iso_time(visits[0].first_seen),
        "last_seen": iso_time(max(visit.last_seen for visit in visits)),
        "channels": sorted({visit.channel for visit in visits}),
        "pictures": [str(journal.crops / crop) for crop in journal.book.crops_of(number) if journal.crops is not None],
    }


class LogState(enum.Enum):
    """What became of the event log after strangers got or lost a name."""

    NO_LOG = "no_log"
    RUN_WRITES = "run_writes"
    """The run that is writing it adds the name itself."""
    RELABELLED = "relabelled"


@dataclass(frozen=True)
class Naming:
    """What came of giving a stranger a name."""

    stranger: str
    person: str
    photos: Tuple[Tuple[str, AddResult], ...]
    """What became of each picture, with its file name."""
    is_named: bool
    """False: no picture is good enough, and the person has no other photo."""
    visits: int
    """Those that have the name now."""
    log: LogState = LogState.NO_LOG
    change: Optional[UndoableChange] = None


def name_stranger(settings: Settings, journal: StrangerJournal, gallery: Gallery, number: int, name: str) -> Naming:
    """Enrols a stranger: the best pictures become photos of the person, and all visits so far get the name."""
    person_folder(settings.gallery.folder, name)
    assert journal.crops is not None
    paths = [journal.crops / crop for crop in journal.book.crops_of(number)]
    pictures = [
        NewPhoto(f"{stranger_name(number)}-{count}.jpg", path.read_bytes())
        for count, path in enumerate((path for path in paths if path.is_file()), 1)
    ]
    known = {photo.path for photo in gallery.people.photos if photo.person == normalize(name)}
    results = gallery.add_all(name, pictures)
    person, visits = normalize(name), len(journal.book.visits_of(number))
    photos = tuple((picture.filename, result) for picture, result in zip(pictures, results))
    if person not in gallery.people.names:
        return Naming(stranger_name(number), person, photos, False, visits)
    added = tuple(
        MovedPhoto(result.photo.content_hash, person, None, stranger_name(number))
        for result in results
        if isinstance(result, Added)
    )
    change = changed_book(
        settings, journal, "name stranger", lambda book: [Named(book.current(number), person)], added, tuple(known)
    )
    journal.rewrite(lambda book: None)
    log = relabel_log(settings, journal.book.all_names())
    return Naming(stranger_name(number), person, photos, True, visits, log, change)


def changed_book(
    settings: Settings,
    journal: StrangerJournal,
    action: str,
    decide: Decision,
    photos: Tuple[MovedPhoto, ...] = (),
    others: Tuple[str, ...] = (),
    visit: Optional[Tuple[Optional[str], Optional[str]]] = None,
) -> Optional[UndoableChange]:
    """Makes changes so that they can be undone. None: nothing is different. Raises GalleryError."""
    store = UndoStore(strangers_folder(settings), settings.strangers.keep_days)
    kept: List[UndoableChange] = []

    def keep(book: StrangerBook) -> List[Change]:
        changes = decide(book)
        before, after = difference(book, changes)
        change = UndoableChange(action, time.time(), before, after, photos, others, visit=visit)
        if photos or before != after:
            store.keep(change, journal.crops)
            kept.append(change)
        return changes

    required(journal.update(keep), journal.folder)
    return kept[0] if kept else None


def relabel_log(settings: Settings, names: Mapping[str, Optional[str]]) -> LogState:
    """Adds the names to the event log, unless a run is writing it, which adds them itself."""
    path = settings.output.events
    if path is None or is_pipe(path) or not log_files(path):
        return LogState.NO_LOG
    try:
        log = EventLog(path, sync=settings.output.events_sync)
    except OutputError:
        return LogState.RUN_WRITES
    with contextlib.closing(log):
        new = {key: who for key, who in own_relabels(names, log.id).items() if log.relabels.get(key) != who}
        for sequence, (key, who) in enumerate(new.items(), log.sequence + 1):
            log.write(RelabelEvent.of(sequence, time.time(), key, who))
    return LogState.RELABELLED


def rename_visits(settings: Settings, before: str, name: str) -> None:
    """What is kept of a person's visits stays that person's, in the event log too where the name was given later."""
    journal = opened_journal(settings)
    if journal.path is not None and journal.path.exists():
        required(journal.update(lambda book: [Renamed(before, name)]), journal.folder)
        relabel_log(settings, journal.book.all_names())


def ignore_stranger(
    settings: Settings, journal: StrangerJournal, number: int, ignored: bool = True
) -> Optional[UndoableChange]:
    action = "ignore stranger" if ignored else "stop ignoring stranger"
    return changed_book(settings, journal, action, lambda book: [Ignored(book.current(number), ignored)])


def merge_strangers(
    settings: Settings, journal: StrangerJournal, target: int, others: Sequence[int]
) -> Optional[UndoableChange]:
    """They are one person, with the number of the first one."""
    return changed_book(settings, journal, "merge strangers", lambda book: [Merged(other, target) for other in others])


def split_stranger(settings: Settings, journal: StrangerJournal, number: int) -> Tuple[int, UndoableChange]:
    """Divides the visits into those of two people; the number of the later one."""

    def decide(book: StrangerBook) -> List[Change]:
        visits = book.visits_of(number)
        models = {visit.model for visit in visits}
        if len(visits) < 2 or len(models) > 1:
            raise GalleryError(
                f"{stranger_name(number)} has {counted(len(visits), 'visit')} of {counted(len(models), 'embedder')}; "
                "at least two visits of one embedder are needed"
            )
        _, later = split(visits)
        moved = Moved(tuple(visit.id for visit in later), book.next_number)
        return [moved, Ignored(book.next_number)] if number in book.ignored else [moved]

    change = changed_book(settings, journal, "split stranger", decide)
    assert change is not None
    (new,) = {one.stranger for one in change.after.visits}
    assert new is not None
    return new, change


@dataclass(frozen=True)
class Search:
    """Whether a face was seen before."""

    threshold: float
    nearest: Optional[str]
    """The enrolled person who is most similar."""
    similarity: Optional[float]
    compared: int
    """Visits that are kept, of the same embedder."""
    visits: Tuple[Tuple[float, Visit], ...]
    """Those of the same person, with their similarities, the most similar first."""


def search_visits(journal: StrangerJournal, gallery: Gallery, photo: bytes, name: str) -> Search:
    """Compares the face of a photo with the people and all visits. Raises GalleryError if the photo shows no face that
    can be compared; `name` is the photo's."""
    finding, threshold = gallery.examine(photo), gallery.threshold
    if finding.embedding is None:
        raise GalleryError(f"{name}: {finding.text}")
    embedding = finding.embedding / np.linalg.norm(finding.embedding)
    (nearest,) = gallery.index.search(embedding[None])
    comparable = [visit for visit in journal.book.visits.values() if visit.model == gallery.embedder_id]
    found = sorted(((float(visit.embedding @ embedding), visit) for visit in comparable), key=lambda pair: -pair[0])
    return Search(
        threshold,
        nearest.person,
        nearest.similarity if nearest.person is not None else None,
        len(comparable),
        tuple((similarity, visit) for similarity, visit in found if similarity >= threshold),
    )
