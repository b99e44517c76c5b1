"""Strangers on the command line: listing, naming, ignoring, merging and splitting them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options
from app.errors import ExitCode, GalleryError, OutputError
from app.events.event import EventKind, RelabelEvent
from app.events.history import log_files
from app.events.log import EventLog
from app.events.pipe import is_pipe
from app.gallery.files import person_folder
from app.gallery.names import normalize
from app.gallery.stranger_journal import StrangerJournal, required
from app.gallery.strangers import strangers_folder
from app.identity.strangers import (
    Change,
    Ignored,
    Merged,
    Moved,
    Named,
    Renamed,
    StrangerBook,
    split,
    stranger_name,
    stranger_number,
)
from app.settings import Settings
from app.text import counted, iso_time, printable, program, source_time, table

SECTIONS = ("gallery", "strangers", "output.events")
NETWORK_SECTIONS = (*SECTIONS, "quality", "detection", "models")


def add_actions(actions: Any) -> None:
    listing = actions.add_parser(
        "strangers",
        help="list unknown people with a number: how often and when they were seen",
        description="Lists the unknown people to whom the program gave numbers.",
    )
    listing.add_argument("--all", action="store_true", help="also those that are ignored")
    listing.add_argument("--sheet", metavar="FILE.jpg", type=Path, help="write a picture that shows all of them")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    naming = actions.add_parser(
        "name",
        help="enrol a stranger: the pictures become photos, and past visits get the name",
        description="Enrols a stranger in one step. The best pictures are added to the gallery, judged as other photos "
        "are; all visits so far get the name, also in the event log of --events or of the settings.",
    )
    naming.add_argument("stranger", metavar="STRANGER", help="such as stranger-7")
    naming.add_argument("name", metavar="NAME", help="name of the person, new or enrolled already")
    ignoring = actions.add_parser(
        "ignore",
        help="never show or name a stranger again",
        description="Ignores a stranger: no number, and no name, even if the face resembles an enrolled person.",
    )
    ignoring.add_argument("stranger", metavar="STRANGER", help="such as stranger-3")
    ignoring.add_argument("--undo", action="store_true", help="do not ignore the stranger any longer")
    merging = actions.add_parser(
        "merge",
        help="say that several strangers are one person",
        description="Merges strangers who are one person. They get the number of the first one.",
    )
    merging.add_argument("stranger", metavar="STRANGER", help="such as stranger-7: this number stays")
    merging.add_argument("others", metavar="STRANGER", nargs="+", help="the same person as the first one")
    splitting = actions.add_parser(
        "split",
        help="separate two people who got one number",
        description="Divides the visits of a stranger into those of two people, by the faces. The later ones get a new "
        "number.",
    )
    splitting.add_argument("stranger", metavar="STRANGER", help="such as stranger-7")
    for action in (listing, ignoring, merging, splitting):
        add_settings_options(action, sections=SECTIONS)
    add_settings_options(naming, sections=NETWORK_SECTIONS)


def opened_journal(settings: Settings) -> StrangerJournal:
    """What runs have kept."""
    journal = StrangerJournal(strangers_folder(settings))
    try:
        journal.refresh()
    except OSError as error:
        raise GalleryError(f"{journal.path} cannot be read: {error.strerror}") from error
    return journal


def require_stranger(book: StrangerBook, text: str, folder: Optional[Path]) -> int:
    number = stranger_number(text)
    if number is None:
        raise GalleryError(f"{text!r} is not a stranger; expected a number such as stranger-7")
    current = book.current(number)
    if current in book.named:
        raise GalleryError(f"{stranger_name(number)} is {book.named[current]} already")
    if current not in book.strangers:
        raise GalleryError(f"{folder} has no {stranger_name(number)}; list all with: {program()} people strangers")
    return current


def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    journal = opened_journal(settings)
    book = journal.book
    shown = [number for number in book.strangers if arguments.all or number not in book.ignored]
    if arguments.sheet is not None:
        from app.tools.contact_sheet import write_contact_sheet

        tiles = [
            (stranger_name(number), [journal.folder / "crops" / crop for crop in book.crops_of(number)])
            for number in shown
            if journal.folder is not None
        ]
        write_contact_sheet(arguments.sheet, tiles)
        sys.stderr.write(f"written: {arguments.sheet}\n")
    if arguments.json:
        for number in shown:
            print(json.dumps(described(journal, number), ensure_ascii=False))
    elif shown:
        rows = []
        for number in shown:
            visits = book.visits_of(number)
            rows.append(
                (
                    stranger_name(number),
                    str(len(visits)),
                    source_time(visits[0].first_seen, live=True),
                    source_time(max(visit.last_seen for visit in visits), live=True),
                    ", ".join(sorted({visit.channel for visit in visits})),
                    "ignored" if number in book.ignored else "",
                )
            )
        print(table(("stranger", "visits", "first seen", "last seen", "channels", ""), rows))
    else:
        sys.stderr.write(f"no strangers in {journal.folder}\n")
    hidden = len(book.strangers) - len(shown)
    if hidden:
        sys.stderr.write(f"{hidden} more {'is' if hidden == 1 else 'are'} ignored: list all with --all\n")
    return ExitCode.DONE


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


def _name(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.assembly import open_gallery
    from app.gallery.gallery import Added, NewPhoto

    journal = opened_journal(settings)
    number = require_stranger(journal.book, arguments.stranger, journal.folder)
    person_folder(settings.gallery.folder, arguments.name)
    assert journal.crops is not None
    paths = [journal.crops / crop for crop in journal.book.crops_of(number)]
    pictures = [
        NewPhoto(f"{stranger_name(number)}-{count}.jpg", path.read_bytes())
        for count, path in enumerate((path for path in paths if path.is_file()), 1)
    ]
    with open_gallery(settings) as gallery:
        gallery.load(configure_logging("error").counter("examining photos"))
        results = gallery.add_all(arguments.name, pictures)
    for picture, result in zip(pictures, results):
        if isinstance(result, Added):
            print(f"{picture.filename}: added as {settings.gallery.folder / result.photo.path}")
            for warning in result.warnings:
                print(f"warning: {printable(warning.message)}")
        elif result.duplicate_of is None:
            print(f"{picture.filename}: not added: {result.finding.text if result.finding else result.reason}")
    person = normalize(arguments.name)
    if person not in gallery.people.names:
        stranger, name = stranger_name(number), shlex.quote(arguments.name)
        print(
            f"{stranger} was not named: no picture is good enough for the gallery. Add a photo of your own first:\n"
            f"  {program()} people add {name} PHOTO\n  {program()} people name {stranger} {name}\n"
            f"To see this stranger no more: {program()} people ignore {stranger}"
        )
        return ExitCode.INCOMPLETE
    visits = len(journal.book.visits_of(number))
    required(journal.update(lambda book: [Named(book.current(number), person)]), journal.folder)
    journal.rewrite(lambda book: None)
    print(f"{stranger_name(number)} is {person} now, with {counted(visits, 'visit')} so far")
    relabel_log(settings, journal.book.names())
    return ExitCode.DONE


def relabel_log(settings: Settings, names: Dict[str, str]) -> None:
    """Adds the names to the event log, unless a run is writing it, which adds them itself."""
    path = settings.output.events
    if path is None or is_pipe(path) or not log_files(path):
        print("past visits: the event log gets the name when a run with --events continues it")
        return
    try:
        log = EventLog(path, sync=settings.output.events_sync)
    except OutputError:
        print(f"{path}: the run that is writing it adds the name")
        return
    new = {stranger: name for stranger, name in names.items() if log.relabels.get(stranger) != name}
    for sequence, (stranger, name) in enumerate(new.items(), log.sequence + 1):
        log.write(RelabelEvent(sequence, EventKind.RELABEL, "", time.time(), stranger, name))
    log.close()
    print(f"{log.path}: past visits have the name")


def rename_visits(settings: Settings, before: str, name: str) -> None:
    """What is kept of a person's visits stays that person's."""
    journal = opened_journal(settings)
    if journal.path is not None and journal.path.exists():
        required(journal.update(lambda book: [Renamed(before, name)]), journal.folder)


def _ignore(arguments: argparse.Namespace, settings: Settings) -> int:
    journal = opened_journal(settings)
    number = require_stranger(journal.book, arguments.stranger, journal.folder)
    required(journal.update(lambda book: [Ignored(book.current(number), not arguments.undo)]), journal.folder)
    print(f"{stranger_name(number)} is {'not ignored any longer' if arguments.undo else 'ignored from now on'}")
    return ExitCode.DONE


def _merge(arguments: argparse.Namespace, settings: Settings) -> int:
    journal = opened_journal(settings)
    target, *others = (
        require_stranger(journal.book, text, journal.folder) for text in (arguments.stranger, *arguments.others)
    )
    required(journal.update(lambda book: [Merged(other, target) for other in others]), journal.folder)
    visits = len(journal.book.visits_of(target))
    print(f"{', '.join(map(stranger_name, others))}: now {stranger_name(target)}, with {counted(visits, 'visit')}")
    return ExitCode.DONE


def _split(arguments: argparse.Namespace, settings: Settings) -> int:
    journal = opened_journal(settings)
    number = require_stranger(journal.book, arguments.stranger, journal.folder)

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

    moved, *_ = required(journal.update(decide), journal.folder)
    assert isinstance(moved, Moved) and moved.stranger is not None
    for part in (number, moved.stranger):
        visits = journal.book.visits_of(part)
        times = ", ".join(source_time(visit.first_seen, live=True) for visit in visits)
        ignored = ", ignored" if part in journal.book.ignored else ""
        print(f"{stranger_name(part)}: {counted(len(visits), 'visit')} ({times}){ignored}")
    return ExitCode.DONE


ACTIONS: Dict[str, Callable[[argparse.Namespace, Settings], int]] = {
    "strangers": _list,
    "name": _name,
    "ignore": _ignore,
    "merge": _merge,
    "split": _split,
}
