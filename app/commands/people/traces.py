"""What is stored of people on the command line: denying a name, searching, exporting."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options
from app.commands.people.strangers import NETWORK_SECTIONS
from app.errors import ExitCode, GalleryError, OutputError
from app.events.history import Record, log_files
from app.events.pipe import is_pipe
from app.events.reading import LogReader
from app.files import make_folder, write_text
from app.gallery.files import photos_by_person
from app.gallery.names import normalize
from app.gallery.stranger_actions import opened_journal, search_visits
from app.gallery.stranger_journal import require_unlocked, required
from app.gallery.traces import traces_of, visit_json
from app.gallery.visit_actions import visit_of_event
from app.identity.stranger_rules import replayed
from app.identity.strangers import (
    Change,
    Denied,
    Moved,
    StrangerBook,
    Visit,
    stranger_name,
)
from app.settings import Settings
from app.text import counted, program, source_time, suggestion, table


def add_actions(actions: Any) -> None:
    denying = actions.add_parser(
        "not",
        help="say that an event named the wrong person",
        description="Stores the face of an event as one that is not this person. A face that resembles it more than "
        "the person's photos does not get the name.",
    )
    denying.add_argument("name", metavar="NAME", help="the person whom it was not")
    denying.add_argument("event", metavar="EVENT", type=int, help="`sequence` of an event in the log of --events")
    denying.add_argument("--undo", action="store_true", help="the event was right after all")
    searching = actions.add_parser(
        "search",
        help="was the face in a photo seen before, when, and where?",
        description="Compares the face in a photo with the people, the strangers, and all visits that are kept.",
    )
    searching.add_argument("photo", metavar="PHOTO", type=Path)
    searching.add_argument("--json", action="store_true", help="one JSON object")
    exporting = actions.add_parser(
        "export",
        help="write everything that is stored of a person into a folder",
        description="Copies the photos and pictures of a person or stranger, and writes embeddings, visits and events "
        "as JSON.",
    )
    exporting.add_argument("name", metavar="NAME", help="a person, or a stranger such as stranger-7")
    exporting.add_argument("folder", metavar="DIR", type=Path, help="a new folder")
    for action in (denying, searching, exporting):
        add_settings_options(action, sections=NETWORK_SECTIONS)


def _deny(arguments: argparse.Namespace, settings: Settings) -> int:
    people = photos_by_person(settings.gallery.folder)
    name = normalize(arguments.name)
    if name not in people:
        raise GalleryError(f"no person called {arguments.name!r}{suggestion(name, people)}")
    journal = opened_journal(settings)
    event = _event(settings, arguments.event)
    visit = visit_of_event(journal.book, event)
    if visit is None:
        raise GalleryError(
            f"the face of event {arguments.event} is not kept: it was not seen clearly enough, its visit has not "
            "ended, it is older than strangers.keep_days, or its run kept no faces (--no-strangers, --cover strangers, "
            "--cover all)"
        )
    if arguments.undo:
        denied = name, visit.id

        def allow(book: StrangerBook) -> StrangerBook:
            changes = book.changes()
            return replayed(one for one in changes if not (isinstance(one, Denied) and (one.name, one.visit) == denied))

        require_unlocked(journal.rewrite(allow), journal.folder)
        print(f"event {arguments.event}: this face may be {name} again")
        return ExitCode.DONE

    def decide(book: StrangerBook) -> List[Change]:
        changes: List[Change] = [Denied(name, visit.model, visit.embedding, time.time(), visit.id)]
        return [*changes, *([Moved((visit.id,))] if visit.name == name else [])]

    required(journal.update(decide), journal.folder)
    print(f"event {arguments.event}: a face that resembles this one more than {name}'s photos does not get the name")
    return ExitCode.DONE


def _event(settings: Settings, sequence: int) -> Record:
    for record in _log_records(settings):
        if record.get("sequence") == sequence:
            if "track" not in record:
                raise GalleryError(f"event {sequence} is about no face: it is of the kind {record['event']}")
            return record
    log = settings.output.events
    files = [] if log is None or is_pipe(log) else log_files(log)
    listing = f"list its events with: {program()} events {' '.join(shlex.quote(str(file)) for file in files) or 'FILE'}"
    if not files:
        raise GalleryError(f"no event log {log or 'is set'}: pass event {sequence}'s with --events FILE; {listing}")
    raise GalleryError(f"there is no event {sequence} in {log}; {listing}")


def _log_records(settings: Settings) -> Iterator[Record]:
    path = settings.output.events
    if path is None or is_pipe(path):
        return iter(())
    return LogReader.of_log(path).read()


def _search(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.assembly import open_gallery
    from app.gallery.gallery import NewPhoto

    photo = NewPhoto.read(arguments.photo)
    journal = opened_journal(settings)
    with open_gallery(settings) as gallery:
        gallery.load(configure_logging("error").counter("examining photos"))
        search = search_visits(journal, gallery, photo.data, str(arguments.photo))
    if arguments.json:
        answer = {
            "photo": str(arguments.photo),
            "threshold": round(search.threshold, 4),
            "nearest": search.nearest,
            "similarity": None if search.similarity is None else round(search.similarity, 4),
            "visits": [
                {
                    "similarity": round(similarity, 4),
                    "name": visit.name,
                    "stranger": None if visit.stranger is None else stranger_name(visit.stranger),
                    **visit_json(visit),
                }
                for similarity, visit in search.visits
            ],
        }
        print(json.dumps(answer, ensure_ascii=False))
        return ExitCode.DONE
    if search.nearest is None or search.similarity is None:
        print("the gallery is empty")
    else:
        is_same = "this is" if search.similarity >= search.threshold else "nobody in the gallery; nearest"
        print(f"{is_same} {search.nearest} ({search.similarity:.2f}, threshold {search.threshold:.2f})")
    rows = [
        (
            _who(visit),
            f"{similarity:.2f}",
            source_time(visit.first_seen, live=True),
            visit.channel,
            "" if visit.position is None else source_time(visit.position, live=False),
            visit.file or "",
        )
        for similarity, visit in search.visits
    ]
    if rows:
        print(table(("seen as", "similarity", "when", "channel", "position", "file"), rows))
    else:
        print(f"not seen in the {counted(search.compared, 'visit')} that are kept in {journal.folder}")
    return ExitCode.DONE


def _who(visit: Visit) -> str:
    if visit.name is not None:
        return visit.name
    return "unknown" if visit.stranger is None else stranger_name(visit.stranger)


def _export(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.assembly import open_gallery

    folder: Path = arguments.folder
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty; choose a new folder")
    journal = opened_journal(settings)
    with open_gallery(settings) as gallery:
        gallery.load()
        traces = traces_of(arguments.name, settings, journal, gallery)
    if not traces:
        raise GalleryError(
            f"nothing is stored of {arguments.name!r}{suggestion(arguments.name, known_names(settings), '')}"
        )
    for name, path in traces.files.items():
        target = folder / name
        make_folder(target.parent)
        shutil.copyfile(path, target)
    make_folder(folder)
    write_text(folder / "data.json", traces.data)
    print(
        f"{folder}: {counted(traces.photos, 'photo')}, {counted(traces.visits, 'visit')}, "
        f"{counted(traces.events, 'event')} (data.json)"
    )
    return ExitCode.DONE


def known_names(settings: Settings) -> List[str]:
    return list(photos_by_person(settings.gallery.folder))


ACTIONS: Dict[str, Callable[[argparse.Namespace, Settings], int]] = {
    "not": _deny,
    "search": _search,
    "export": _export,
}
