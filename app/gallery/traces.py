"""Everything that is stored of one person or stranger: for exporting and for deleting it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from app.events.event import is_stranger
from app.events.history import Record, relabels_by_log
from app.events.pipe import is_pipe
from app.events.reading import LogReader
from app.events.redaction import Person, by_log, of_person
from app.gallery.files import photos_by_person
from app.gallery.gallery import Gallery
from app.gallery.names import normalize
from app.gallery.stranger_actions import described, require_stranger
from app.gallery.stranger_journal import FRAMES, StrangerJournal
from app.identity.strangers import Visit, stranger_name, stranger_number
from app.settings import Settings
from app.text import iso_time


@dataclass(frozen=True)
class Traces:
    """What is stored of someone, without the names of others."""

    files: Dict[str, Path]
    """Photos and pictures, by the names that they get."""
    data: str
    """JSON: embeddings, visits and events."""
    photos: int
    visits: int
    events: int
    denied: int

    def __bool__(self) -> bool:
        return bool(self.photos or self.visits or self.events or self.denied)


def traces_of(text: str, settings: Settings, journal: StrangerJournal, gallery: Gallery) -> Traces:
    """Of a person, or a stranger such as `stranger-7`. Raises GalleryError."""
    found = [record for template in logs_of(settings) for record in LogReader.of_log(template).read()]
    person, number = person_of(text, settings, journal, list(by_log(found)))
    name = None if number is not None else normalize(text)
    photos = [photo for photo in gallery.people.photos if photo.person == name]
    visits = visits_of(journal, name, number)
    lines = of_person(found, person)
    denied = [one for one in journal.book.denied if one.name == name]
    crops = [(visit.crop, journal.crops / visit.crop) for visit in visits if visit.crop and journal.crops is not None]
    frames = [(name, path.parent.parent / FRAMES / name) for name, path in crops]
    data = {
        "name": name,
        "stranger": described(journal, number) if number is not None and visits else None,
        "photos": [
            {"photo": photo.path, "embedding": np.round(photo.finding.embedding, 6).tolist()}
            for photo in photos
            if photo.finding.embedding is not None
        ],
        "visits": [
            {**visit_json(visit), "picture": visit.crop, "embedding": np.round(visit.embedding, 6).tolist()}
            for visit in visits
        ],
        "not_this_person": [
            {"time": iso_time(one.time), "embedding": np.round(one.embedding, 6).tolist()} for one in denied
        ],
        "events": lines,
    }
    files = {
        **{f"photos/{photo.path}": settings.gallery.folder / photo.path for photo in photos},
        **{f"pictures/{name}": path for name, path in crops if path.is_file()},
        **{f"frames/{name}": path for name, path in frames if path.is_file()},
        **{f"pictures/{path.name}": path for path in snapshots_of(lines, settings)},
    }
    text = json.dumps(data, ensure_ascii=False, indent=1) + "\n"
    return Traces(files, text, len(photos), len(visits), len(lines), len(denied))


def visits_of(journal: StrangerJournal, name: Optional[str], number: Optional[int]) -> List[Visit]:
    """The kept visits of a person or of a stranger."""
    return [
        visit
        for visit in journal.book.visits.values()
        if (name is not None and visit.name == name) or (number is not None and visit.stranger == number)
    ]


def visit_json(visit: Visit) -> Dict[str, Any]:
    return {
        "channel": visit.channel,
        "track": visit.track,
        "first_seen": iso_time(visit.first_seen),
        "last_seen": iso_time(visit.last_seen),
        "position": visit.position,
        "file": visit.file,
    }


def logs_of(settings: Settings) -> List[Path]:
    """The event log, and the queue of a run without one."""
    path = settings.output.events
    named = [] if path is None or is_pipe(path) else [path]
    return [*named, settings.delivery.queue / "events.jsonl"]


def person_of(
    text: str, settings: Settings, journal: StrangerJournal, found: Sequence[Tuple[str, Record]]
) -> Tuple[Person, Optional[int]]:
    """Who that is in the event logs whose lines these are, and the stranger's number if it is one."""
    said = {**relabels_by_log(found), **journal.book.names()}
    if stranger_number(text) is not None and normalize(text) not in photos_by_person(settings.gallery.folder):
        number = stranger_number(text)
        assert number is not None
        if journal.book.current(number) not in journal.book.strangers and number not in journal.book.named:
            # Nothing is kept any longer, but an event log may still have the number.
            return _person((), [stranger_name(number)], said), number
        number = require_stranger(journal.book, text, journal.folder)
        merged = [source for source, target in journal.book.merged.items() if target == number]
        return _person((), [stranger_name(one) for one in (number, *merged)], said), number
    name = normalize(text)
    known = photos_by_person(settings.gallery.folder)
    former: List[str] = []
    for one in reversed(journal.book.renamed):
        # A name that another person has now says nothing about this one.
        if one.name in (name, *former) and one.before not in (name, *former) and one.before not in known:
            former.append(one.before)
    return _person([name, *former], [key for key, who in said.items() if who == name and is_stranger(key)], said), None


def _person(names: Sequence[str], strangers: Sequence[str], said: Mapping[str, str]) -> Person:
    given: Dict[str, List[int]] = defaultdict(list)
    for key, who in said.items():
        log, is_visit, visit = key.rpartition("/")
        if is_visit and who in (*names, *strangers):
            given[log].append(int(visit))
    return Person(names, strangers, given)


def snapshots_of(found: Iterable[Record], settings: Settings) -> List[Path]:
    """The pictures of visits (output.visit_snapshots) that these lines of a log name, as far as they are there.

    A log names them as the run saw them, which may have been started in another folder.
    """
    folders = [folder for folder in (Path(), settings.output.visit_snapshots) if folder is not None]
    if settings.output.events is not None:
        folders.append(settings.output.events.parent)
    names = sorted({Path(record["snapshot"]) for record in found if record.get("snapshot")})
    places = [[folder / name for folder in folders] + [folder / name.name for folder in folders] for name in names]
    return [next(path for path in paths if path.is_file()) for paths in places if any(map(Path.is_file, paths))]
