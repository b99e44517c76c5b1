"""Who is this, over the whole fleet?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from app.assembly import open_gallery
from app.capture.pictures import picture_files, read_picture
from app.commands.arguments import whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options
from app.database.connection import Connection, connected, require_usable
from app.database.pgvector import ServerSearch
from app.database.schema import require_schema
from app.database.search import FleetSearch, NearStranger
from app.database.strangers import Sighting
from app.errors import ExitCode, SourceError
from app.events.delivery import device_name
from app.fleet.search import FleetAnswer, Similarities, search_fleet
from app.gallery.gallery import Gallery
from app.gallery.who import embedded_faces, one_face_per_name
from app.settings import Settings
from app.text import counted, iso_time, printable, program, table
from app.types import Match, Reason

DESCRIPTION = """Compares the faces in pictures with the enrolled people and the strangers of all devices, in the
database. Only embeddings of this device's embedder are compared. Nothing is stored of the pictures. The server compares
if it has pgvector (`fleet status` says so); otherwise this device does, and reads all embeddings for it."""

EXAMPLES = """examples:
  python -m app fleet search visitor.jpg
  python -m app fleet search visitor.jpg --top 10 --json | jq '.faces[].strangers[].seen'

exit codes: 0 someone is similar enough; 1 no one is, or a picture cannot be read; 2 a wrong option, setting or file,
or the database cannot be used"""


def add_action(actions: Any) -> None:
    action = actions.add_parser(
        "search", help="who is in a photo, over the whole fleet", description=DESCRIPTION, epilog=EXAMPLES
    )
    action.add_argument(
        "pictures", metavar="PHOTO", nargs="+", help="picture, folder of pictures, or a pattern such as 'album/*.jpg'"
    )
    action.add_argument(
        "--top",
        metavar="N",
        type=whole_number(1, 1000),
        default=3,
        help="people and strangers that are listed for each face (default: 3)",
    )
    action.add_argument("--json", action="store_true", help="print one JSON object per picture")
    add_settings_options(action, sections=("models", "detection", "gallery", "quality", "recognition"))


class _Face(NamedTuple):
    box: Tuple[int, int, int, int]
    score: float
    embedding: Optional[np.ndarray]
    rejected: Optional[Match]


class _Picture(NamedTuple):
    path: Path
    size: Tuple[int, int]
    faces: List[_Face]


def search(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    require_usable(settings.fleet)
    progress = configure_logging("error")
    files = list(dict.fromkeys(path for where in arguments.pictures for path in picture_files(where)))
    with connected(settings.fleet, device_name(settings.delivery.device)) as connection:
        require_schema(connection)
        with open_gallery(settings) as gallery:
            gallery.load(progress.counter("examining photos"))
            pictures: List[_Picture] = []
            errors: Dict[Path, str] = {}
            for path in files:
                try:
                    pictures.append(_examined(path, gallery, settings))
                except SourceError as error:
                    errors[path] = str(error)
            is_found = _answer(settings, arguments, connection, gallery, pictures)
    for path, text in errors.items():
        if arguments.json:
            _print_json({"picture": str(path), "error": text})
        else:
            sys.stderr.write(f"error: {text}\n")
    return ExitCode.DONE if is_found and not errors else ExitCode.INCOMPLETE


def _examined(path: Path, gallery: Gallery, settings: Settings) -> _Picture:
    picture = read_picture(path)
    faces, _, rejected = embedded_faces(picture, gallery.recognizer, settings.quality.video_limits())
    found = [
        _Face(
            (round(x1), round(y1), round(x2), round(y2)),
            float(faces.scores[row]),
            None if row in rejected or faces.embeddings is None else faces.embeddings[row],
            rejected.get(row),
        )
        for row, (x1, y1, x2, y2) in enumerate(faces.boxes.tolist())
    ]
    height, width = picture.shape[:2]
    return _Picture(path, (width, height), sorted(found, key=lambda face: face.box))


def _answer(
    settings: Settings,
    arguments: argparse.Namespace,
    connection: Connection,
    gallery: Gallery,
    pictures: Sequence[_Picture],
) -> bool:
    """Prints who is in the pictures; whether anybody is similar enough."""
    shared = FleetSearch(connection, gallery.embedder_id)
    similarities = Similarities.of(settings, gallery)
    faces = [face.embedding for picture in pictures for face in picture.faces if face.embedding is not None]
    everybody = search_fleet(shared, gallery, np.array(faces), similarities, arguments.top) if faces else []
    answers = iter(everybody)
    for picture in pictures:
        found = {at: next(answers) for at, face in enumerate(picture.faces) if face.embedding is not None}
        matches = one_face_per_name({at: answer.match for at, answer in found.items()})
        found = {at: answer._replace(match=matches[at]) for at, answer in found.items()}
        if arguments.json:
            _print_json(_as_json(picture, found, similarities, shared))
        else:
            print("\n".join(_lines(picture, found, similarities)), flush=True)
    if faces and not any(answer.people or answer.strangers for answer in everybody):
        sys.stderr.write(_none_to_compare(shared, gallery.embedder_id) + "\n")
    return any(
        answer.match.reason in (Reason.MATCHED, Reason.AMBIGUOUS) or answer.stranger is not None for answer in everybody
    )


def _none_to_compare(shared: FleetSearch, embedder: str) -> str:
    others = "; ".join(
        f"{one.embedder or 'unknown'} ({counted(one.photos, 'photo')}, {counted(one.strangers, 'stranger')})"
        for one in shared.shared()
    )
    text = f"there is no one to compare with: the database has no embeddings of this device's embedder, {embedder}"
    if not others:
        return printable(f"{text}, and none of others; a device shares its own with: {program()} fleet sync")
    return printable(
        f"{text}; it has those of {others}. This device adds its own of all photos with: {program()} fleet sync. "
        "Strangers can be compared only between devices with the same embedder"
    )


def _lines(picture: _Picture, found: Dict[int, FleetAnswer], similarities: Similarities) -> Iterator[str]:
    number = len(picture.faces)
    yield printable(f"{picture.path}: {counted(number, 'face') if number else 'no face found'}")
    for at, face in enumerate(picture.faces):
        x1, y1, x2, y2 = face.box
        place = f"  face {x2 - x1}x{y2 - y1} at {x1},{y1}"
        if at not in found:
            yield f"{place}: not compared, {face.rejected.why if face.rejected else Reason.NOT_COMPARED_YET}"
            continue
        yield printable(f"{place}: {_verdict(found[at], similarities)}")
        rows = list(_rows(found[at], similarities))
        if rows:
            yield from (
                f"    {line}" for line in table(("similarity", "same person", "who", "where"), rows).splitlines()
            )


def _verdict(answer: FleetAnswer, similarities: Similarities) -> str:
    match, stranger = answer.match, answer.stranger
    if match.name is not None:
        return match.name
    if match.reason is Reason.AMBIGUOUS:
        return f"{match.nearest} or {match.runner_up}, too similar to both"
    if stranger is not None:
        return stranger.name or f"a stranger, seen by {counted(len({one.device for one in stranger.seen}), 'device')}"
    near = [(one.similarity - similarities.person, one.name, one.similarity) for one in answer.people[:1]]
    near += [(one.similarity - similarities.stranger, _who(one), one.similarity) for one in answer.strangers[:1]]
    if match.reason not in (Reason.BELOW_THRESHOLD, Reason.NO_ONE_ENROLLED):
        return f"unknown, {match.why}"
    if not near:
        return "unknown"
    lack, name, similarity = max(near)
    return f"unknown; the nearest is {name} with {similarity:.2f}, and {similarity - lack:.2f} is needed"


def _who(stranger: NearStranger) -> str:
    return stranger.name or "a stranger"


def _rows(answer: FleetAnswer, similarities: Similarities) -> Iterator[Tuple[str, str, str, str]]:
    for person in answer.people:
        yield (*_compared(person.similarity, similarities.person), person.name, f"photo {person.photo}")
    for stranger in answer.strangers:
        places = [place_text(one) for one in stranger.seen] or ["-"]
        if len(places) > 1 and stranger.similarity < similarities.stranger:
            places = [f"{places[0]}, and {counted(len(places) - 1, 'other time')}"]
        yield (*_compared(stranger.similarity, similarities.stranger), _who(stranger), places[0])
        yield from (("", "", "", place) for place in places[1:])


def place_text(seen: Sighting) -> str:
    """In local time."""
    first, last = (one.astimezone().strftime("%Y-%m-%d %H:%M:%S") for one in (seen.first_seen, seen.last_seen))
    until = last[11:] if last[:10] == first[:10] else last
    return f"{seen.device}: {seen.stranger}, {seen.channel}, {first} to {until}"


def _compared(similarity: float, wanted: float) -> Tuple[str, str]:
    return f"{similarity:.2f}", "yes" if similarity >= wanted else f"no (from {wanted:.2f})"


def _as_json(
    picture: _Picture, found: Dict[int, FleetAnswer], similarities: Similarities, shared: FleetSearch
) -> Dict[str, object]:
    return {
        "picture": str(picture.path),
        "width": picture.size[0],
        "height": picture.size[1],
        "embedder": shared.embedder,
        "compared_by": "server" if shared.by_server else "device",
        "same_person_from": {key: round(value, 4) for key, value in similarities._asdict().items()},
        "faces": [_face_json(face, found.get(at), similarities) for at, face in enumerate(picture.faces)],
    }


def _face_json(face: _Face, answer: Optional[FleetAnswer], similarities: Similarities) -> Dict[str, object]:
    match = answer.match if answer else face.rejected
    return {
        "box": list(face.box),
        "score": round(face.score, 4),
        "name": match.name if match else None,
        "reason": str(match.reason if match else Reason.NOT_COMPARED_YET),
        "people": [
            {
                "name": person.name,
                "similarity": round(person.similarity, 4),
                "same_person": person.similarity >= similarities.person,
                "photo": person.photo,
            }
            for person in (answer.people if answer else ())
        ],
        "strangers": [
            {
                "person": stranger.person,
                "name": stranger.name,
                "similarity": round(stranger.similarity, 4),
                "same_person": stranger.similarity >= similarities.stranger,
                "seen": [
                    {
                        "device": one.device,
                        "stranger": one.stranger,
                        "channel": one.channel,
                        "first_seen": iso_time(one.first_seen.timestamp()),
                        "last_seen": iso_time(one.last_seen.timestamp()),
                    }
                    for one in stranger.seen
                ],
            }
            for stranger in (answer.strangers if answer else ())
        ],
    }


def _print_json(facts: Dict[str, object]) -> None:
    # A file's name may hold bytes that are not text.
    print(json.dumps(facts, ensure_ascii=False).encode("utf-8", "backslashreplace").decode(), flush=True)


def search_line(found: ServerSearch, refusal: Optional[str] = None) -> str:
    """Who compares the faces of `fleet search`, and how that would change."""
    if found.is_on:
        return f"search     by the server, with pgvector {found.installed}"
    if refusal is not None and found.installed is not None:
        return f"search     on the device that asks. pgvector is in the database, but: {refusal}"
    if refusal is not None:
        return (
            f"search     on the device that asks. The server has pgvector {found.available}, but: {refusal}. Have an "
            f"administrator run in this database: create extension vector; then: {program()} fleet migrate"
        )
    if found.available is not None:
        return f"search     on the device that asks; the server has pgvector, use it with: {program()} fleet migrate"
    return "search     on the device that asks, since the server has no pgvector"
