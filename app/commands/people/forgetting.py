"""Forgetting a person or a stranger on the command line."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from app.commands.options import add_settings_options
from app.commands.people.strangers import NETWORK_SECTIONS
from app.commands.people.traces import known_names
from app.errors import ExitCode, GalleryError, OutputError
from app.events.history import log_files
from app.events.pipe import is_pipe
from app.events.redaction import LockedLogs, Person
from app.events.redaction import without as record_without
from app.gallery.files import photos_by_person, remove_photos
from app.gallery.forgetting import remove_display_name
from app.gallery.names import DISPLAY_NAMES_FILE, normalize
from app.gallery.stranger_actions import opened_journal
from app.gallery.stranger_journal import require_unlocked
from app.gallery.strangers import strangers_folder
from app.gallery.traces import logs_of, person_of, snapshots_of, visits_of
from app.gallery.undo import UndoStore
from app.identity.stranger_rules import without
from app.identity.strangers import stranger_number
from app.settings import Settings
from app.text import counted, printable, program, suggestion


def add_actions(actions: Any) -> None:
    forgetting = actions.add_parser(
        "forget",
        help="delete everything that is stored of a person, for good",
        description="Deletes photos, pictures, embeddings and visits of a person or stranger, and removes the person "
        "from the event log of --events or of the settings. Other event logs are not changed: the same command with "
        "--events cleans one at any later time. Videos, snapshots and SQLite indexes are yours to delete.",
    )
    forgetting.add_argument("name", metavar="NAME", help="a person, or a stranger such as stranger-7")
    forgetting.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    add_settings_options(forgetting, sections=NETWORK_SECTIONS)


def _forget(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.assembly import open_gallery

    log = settings.output.events
    is_named = getattr(arguments, "output.events", None) is not None
    if is_named and log is not None and not (log.exists() or log_files(log)):
        raise GalleryError(f"--events {log}: there is no such event log; nothing was deleted")
    journal = opened_journal(settings)
    try:
        logs = LockedLogs(logs_of(settings))
    except OutputError as error:
        raise OutputError(f"{error}; nothing was deleted") from error
    try:
        found = list(logs.records())
        person, number = person_of(arguments.name, settings, journal, found)
        visits = person.visits(found)
        pictures = snapshots_of(
            (record for log, record in found if record.get("visit") in visits.get(log, ())), settings
        )
        name = None if number is not None else normalize(arguments.name)
        photos = [] if name is None else photos_by_person(settings.gallery.folder).get(name, [])
        kept = visits_of(journal, name, number)
        anchors = [one for one in journal.book.denied if one.name == name]
        mentions = sum(record_without(record, person, visits.get(log, ())) != record for log, record in found)
        unchanged = _unchanged_logs(settings.output.events, person)
        if not (photos or kept or anchors or mentions):
            known = known_names(settings)
            hint = suggestion(arguments.name, known, "")
            raise GalleryError(
                f"nothing is stored of {arguments.name!r}{hint}" + (f". {unchanged}" if unchanged else "")
            )
        stored = [counted(len(photos), "photo"), counted(len(kept), "embedding of visits", "embeddings of visits")]
        if mentions:
            logged = sum(map(len, visits.values()))
            stored += [f"{counted(mentions, 'line')} of the event log ({counted(logged, 'visit')})"]
        what = f"{', '.join(stored[:-1])} and {stored[-1]} of {arguments.name}"
        if not arguments.yes:
            if not sys.stdin.isatty():
                raise GalleryError(f"this deletes {what} for good; confirm it with --yes")
            if input(f"delete {what} for good? [y/N] ").strip().lower() not in ("y", "yes"):
                print("nothing was deleted")
                return ExitCode.INCOMPLETE
        store = UndoStore(strangers_folder(settings), settings.strangers.keep_days)
        store.forget(person.names, [one for one in map(stranger_number, person.strangers) if one is not None])
        if photos and name is not None:
            for photo in remove_photos(settings.gallery.folder, name):
                print(printable(f"deleted {photo}"))
            # Loading the gallery also removes the person's embeddings from the cache.
            with open_gallery(settings) as gallery:
                gallery.load()
        for picture in pictures:
            picture.unlink()
            print(printable(f"deleted {picture}"))
        changed = logs.replace(
            lambda log, record: record_without(record, person, visits.get(log, ())),
            [*person.names, *map('"{}"'.format, person.strangers)],
        )
        if changed:
            print(f"{', '.join(map(str, changed))}: {counted(sum(changed.values()), 'line')} changed")
        # Last: without the journal, the lines of the log could not be found again after a crash.
        numbers, names = [] if number is None else [number], [] if name is None else [name]
        require_unlocked(journal.rewrite(lambda book: without(book, numbers, names)), journal.folder)
        print(f"{journal.folder}: {counted(len(kept), 'embedding of visits', 'embeddings of visits')} deleted")
    finally:
        logs.close()
    if name is not None and remove_display_name(settings.gallery.folder / DISPLAY_NAMES_FILE, name):
        print(f"{settings.gallery.folder / DISPLAY_NAMES_FILE}: the name was removed")
    if unchanged:
        print(unchanged)
    print("Videos, snapshots and SQLite indexes that show the person are yours to delete.")
    return ExitCode.DONE


def _unchanged_logs(path: Optional[Path], person: Person) -> Optional[str]:
    """What to do about event logs, where none was cleaned."""
    if path is not None and not is_pipe(path) and log_files(path):
        return None
    missing = "" if path is None or is_pipe(path) else f"{path} does not exist. "
    # What links a person with numbers is deleted, so each number has to be forgotten on its own.
    words = [*map(shlex.quote, person.names), *person.strangers]
    commands = "; ".join(f"{program()} people forget {word} --events FILE" for word in words)
    return f"{missing}Event logs were not changed: name them with --events FILE, now or later: {commands}"


ACTIONS: Dict[str, Callable[[argparse.Namespace, Settings], int]] = {"forget": _forget}
