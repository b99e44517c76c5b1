"""Strangers on the command line: listing, naming, ignoring, merging and splitting them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any, Callable, Dict

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options
from app.errors import ExitCode
from app.gallery.files import person_folder
from app.gallery.stranger_actions import (
    LogState,
    described,
    ignore_stranger,
    merge_strangers,
    name_stranger,
    opened_journal,
    require_stranger,
    split_stranger,
)
from app.identity.strangers import stranger_name
from app.settings import Settings
from app.text import counted, printable, program, source_time, table

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


def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    journal = opened_journal(settings)
    book = journal.book
    shown = [number for number in book.strangers if arguments.all or number not in book.ignored]
    if arguments.sheet is not None and shown:
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


def _name(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.assembly import open_gallery
    from app.gallery.gallery import Added

    journal = opened_journal(settings)
    number = require_stranger(journal.book, arguments.stranger, journal.folder)
    person_folder(settings.gallery.folder, arguments.name)
    with open_gallery(settings) as gallery:
        gallery.load(configure_logging("error").counter("examining photos"))
        naming = name_stranger(settings, journal, gallery, number, arguments.name)
    for filename, result in naming.photos:
        if isinstance(result, Added):
            print(f"{filename}: added as {settings.gallery.folder / result.photo.path}")
            for warning in result.warnings:
                print(f"warning: {printable(warning.message)}")
        elif result.duplicate_of is None:
            print(f"{filename}: not added: {result.finding.text if result.finding else result.reason}")
    stranger = naming.stranger
    if not naming.is_named:
        name = shlex.quote(arguments.name)
        print(
            f"{stranger} was not named: no picture is good enough for the gallery. Add a photo of your own first:\n"
            f"  {program()} people add {name} PHOTO\n  {program()} people name {stranger} {name}\n"
            f"To see this stranger no more: {program()} people ignore {stranger}"
        )
        return ExitCode.INCOMPLETE
    print(f"{stranger} is {naming.person} now, with {counted(naming.visits, 'visit')} so far")
    if naming.log is LogState.NO_LOG:
        print("past visits: the event log gets the name when a run with --events continues it")
    elif naming.log is LogState.RUN_WRITES:
        print(f"{settings.output.events}: the run that is writing it adds the name")
    else:
        print(f"{settings.output.events}: past visits have the name")
    return ExitCode.DONE


def _ignore(arguments: argparse.Namespace, settings: Settings) -> int:
    journal = opened_journal(settings)
    number = require_stranger(journal.book, arguments.stranger, journal.folder)
    ignore_stranger(settings, journal, number, not arguments.undo)
    print(f"{stranger_name(number)} is {'not ignored any longer' if arguments.undo else 'ignored from now on'}")
    return ExitCode.DONE


def _merge(arguments: argparse.Namespace, settings: Settings) -> int:
    journal = opened_journal(settings)
    target, *others = (
        require_stranger(journal.book, text, journal.folder) for text in (arguments.stranger, *arguments.others)
    )
    merge_strangers(settings, journal, target, others)
    visits = len(journal.book.visits_of(target))
    print(f"{', '.join(map(stranger_name, others))}: now {stranger_name(target)}, with {counted(visits, 'visit')}")
    return ExitCode.DONE


def _split(arguments: argparse.Namespace, settings: Settings) -> int:
    journal = opened_journal(settings)
    number = require_stranger(journal.book, arguments.stranger, journal.folder)
    for part in (number, split_stranger(settings, journal, number)[0]):
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
