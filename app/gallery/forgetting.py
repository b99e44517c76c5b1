"""Deleting everything that is stored of a person or a stranger, also from event logs.

A run that is writing an event log does not let another program change it. Then the lines are changed when the run has
ended, and until then they are shown as they will be.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import AbstractSet, Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Sequence

from app.errors import GalleryError, OutputError
from app.events.history import HEADER, Record
from app.events.reading import LogReader
from app.events.redaction import LockedLogs, Person, by_log
from app.events.redaction import without as record_without
from app.files import write_text, write_whole
from app.gallery.changing import changing
from app.gallery.files import remove_photo
from app.gallery.gallery import Gallery
from app.gallery.names import DISPLAY_NAMES_FILE, normalize
from app.gallery.stranger_journal import StrangerJournal, require_unlocked
from app.gallery.strangers import strangers_folder
from app.gallery.traces import logs_of, person_of, snapshots_of, visits_of
from app.gallery.undo import UndoStore
from app.identity.stranger_rules import without
from app.identity.strangers import stranger_number
from app.settings import Settings

logger = logging.getLogger(__name__)

PENDING = "forgotten.json"


class LogRedaction(enum.Enum):
    """What became of the event log when somebody was deleted."""

    NO_LOG = "no_log"
    """There is none, or nothing about the person in it."""
    REDACTED = "redacted"
    RUN_WRITES = "run_writes"
    """It is changed when the run that is writing it has ended."""


@dataclass(frozen=True)
class Forgotten:
    """What was deleted."""

    photos: List[str]
    visits: int
    pictures: int
    log: LogRedaction
    lines: ForgottenLines


@dataclass(frozen=True)
class ForgottenLines:
    """What is to be removed from an event log. A person who gets the name later is another one."""

    person: Person
    visits: Mapping[str, FrozenSet[int]]
    """Those of the person, by log: every log counts from 1."""
    until: Mapping[str, int]
    """By log, the last event when it was deleted."""

    def without(self, log: str, record: Record) -> Record:
        """Other people's visits that were open then may end with what their faces were compared with before."""
        until = self.until.get(log, 0)
        is_old = record["event"] == HEADER or min(record["sequence"], record.get("visit", record["sequence"])) <= until
        return record_without(record, self.person, self.visits.get(log, frozenset())) if is_old else record


def forget(settings: Settings, journal: StrangerJournal, gallery: Gallery, text: str) -> Forgotten:
    """Deletes a person, or a stranger such as `stranger-7`, for good. Raises GalleryError or OutputError."""
    found = [one for template in logs_of(settings) for one in by_log(LogReader.of_log(template).read())]
    person, number = person_of(text, settings, journal, found)
    name = None if number is not None else normalize(text)
    numbers = [one for one in map(stranger_number, person.strangers) if one is not None]
    visits = person.visits(found)
    until: Dict[str, int] = {}
    for log, record in found:
        until[log] = max(until.get(log, 0), record.get("sequence", 0))
    lines = ForgottenLines(person, {log: frozenset(numbers) for log, numbers in visits.items()}, until)
    pictures = snapshots_of((record for log, record in found if record.get("visit") in visits.get(log, ())), settings)
    kept = visits_of(journal, name, number)
    folder = settings.gallery.folder
    photos = [photo.path for photo in gallery.people.photos if photo.person == name]
    # First what is to be removed from the log: without the journal, it could not be found again after a crash.
    is_logged = any(lines.without(log, record) != record for log, record in found)
    if is_logged:
        _change_pending(settings, lambda waiting: [*waiting, lines])
    UndoStore(strangers_folder(settings), settings.strangers.keep_days).forget(person.names, numbers)
    for path in photos:
        remove_photo(folder, PurePosixPath(path))
    if name is not None:
        remove_display_name(folder / DISPLAY_NAMES_FILE, name)
    # The person's embeddings leave the cache as well.
    gallery.refresh()
    if journal.path is not None and journal.path.exists():
        names = [] if name is None else [name]
        gone = [] if number is None else [number]
        require_unlocked(journal.rewrite(lambda book: without(book, gone, names)), journal.folder)
    _delete(pictures)
    redaction = LogRedaction.NO_LOG
    if is_logged:
        redaction = LogRedaction.REDACTED if finish_forgetting(settings) else LogRedaction.RUN_WRITES
    return Forgotten(photos, len(kept), len(pictures) + sum(visit.crop is not None for visit in kept), redaction, lines)


def finish_forgetting(settings: Settings) -> bool:
    """Removes from the event logs of these settings who was deleted while a run was writing them; whether nothing is
    left to do there."""
    while True:
        waiting = pending(settings)
        if not waiting:
            return True
        try:
            locked = LockedLogs(logs_of(settings), "a run; who was deleted is removed from it when that run ends")
            with contextlib.closing(locked) as logs:
                cleaned = _redact(settings, logs, waiting)
            left = _change_pending(settings, partial(_not_cleaned, waiting, cleaned))
        except (OutputError, GalleryError) as error:
            logger.info("%s", error)
            return False
        if not any(cleaned & lines.until.keys() for lines in left):
            return True


def _not_cleaned(
    done: Sequence[ForgottenLines], cleaned: AbstractSet[str], waiting: Sequence[ForgottenLines]
) -> Sequence[ForgottenLines]:
    """What is left of those that are waiting now: another program may have added somebody, or have other logs."""
    left = []
    for lines in waiting:
        until = {log: last for log, last in lines.until.items() if log not in cleaned or lines not in done}
        if until:
            left.append(replace(lines, until=until))
    return left


def _redact(settings: Settings, logs: LockedLogs, waiting: Sequence[ForgottenLines]) -> AbstractSet[str]:
    """The ids of the logs that were cleaned."""

    def change(log: str, record: Record) -> Record:
        for lines in waiting:
            record = lines.without(log, record)
        return record

    # A run may have written the picture of a visit that had not ended when the person was deleted.
    pictured: List[Record] = []
    cleaned = set()
    for log, record in logs.records():
        cleaned.add(log)
        if record.get("snapshot") and not change(log, record).get("snapshot"):
            pictured.append(record)
    _delete(snapshots_of(pictured, settings))
    logs.replace(change, [name for lines in waiting for name in lines.person.names])
    return cleaned


def _delete(pictures: Iterable[Path]) -> None:
    for picture in pictures:
        with contextlib.suppress(FileNotFoundError):
            picture.unlink()


def pending(settings: Settings) -> List[ForgottenLines]:
    """Who is to be removed from the event logs when they are not written any more."""
    path = strangers_folder(settings) / PENDING
    try:
        found = json.loads(path.read_bytes())
        return [_made(one) for one in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.error(
            "%s: cannot be read, so that the event log may still name people who were deleted: %s", path, error
        )
        return []


def without_forgotten(settings: Settings, log: str, found: Sequence[Record]) -> Sequence[Record]:
    """Lines of a log as they will be when those who were deleted are removed from it."""
    for lines in pending(settings):
        found = [lines.without(log, record) for record in found]
    return found


def _change_pending(
    settings: Settings, change: Callable[[Sequence[ForgottenLines]], Sequence[ForgottenLines]]
) -> Sequence[ForgottenLines]:
    with changing(settings.gallery.folder):
        waiting = change(pending(settings))
        _write_pending(settings, waiting)
        return waiting


def _write_pending(settings: Settings, waiting: Iterable[ForgottenLines]) -> None:
    path = strangers_folder(settings) / PENDING
    shown = [
        {
            "names": list(lines.person.names),
            "strangers": list(lines.person.strangers),
            "visits": {log: sorted(visits) for log, visits in lines.visits.items()},
            "until": dict(lines.until),
        }
        for lines in waiting
    ]
    try:
        if shown:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(shown, ensure_ascii=False).encode(), mode=0o600)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise GalleryError(f"{path} cannot be written: {error.strerror}") from error


def _made(fields: Dict[str, Any]) -> ForgottenLines:
    return ForgottenLines(
        Person(fields["names"], fields["strangers"]),
        {log: frozenset(map(int, visits)) for log, visits in fields["visits"].items()},
        {log: int(sequence) for log, sequence in fields["until"].items()},
    )


def remove_display_name(path: Path, name: str) -> bool:
    """Removes the lines of `people.yaml` that show this name."""
    if not path.is_file():
        return False
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if normalize(line.partition(":")[2].split("#")[0].strip().strip("'\"")) != name]
    if len(kept) == len(lines):
        return False
    write_text(path, "".join(kept))
    return True
