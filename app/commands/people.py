"""The gallery from the command line."""

from __future__ import annotations

import argparse
import hashlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode, GalleryError, check_all
from app.gallery.files import add_photo, folder_of, photos_by_person, remove_person, shown_name
from app.gallery.names import normalised
from app.gallery.people import PhotoFinding, resembles_another, unlike_their_own
from app.settings import Settings
from app.text import counted, program, suggestion, table

if TYPE_CHECKING:
    from app.gallery.enrolment import Enrolment

DESCRIPTION = """Lists, adds, removes and checks the people in the gallery. The gallery is a folder of photos;
what these commands do can as well be done by copying and deleting files."""

EXAMPLES = """examples:
  python -m app people list
  python -m app people add "José García" ~/pictures/jose.jpg ~/pictures/jose-2.jpg
  python -m app people remove "José García"
  python -m app people check          # exit code 1 when a photo was refused"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="list|add|remove|check", required=True)
    for name, purpose in (
        ("list", "everybody, with the number of photos"),
        ("add", "copy photos of a person into the gallery"),
        ("remove", "delete a person's photos from the gallery"),
        ("check", "say of every photo what was found in it and whether it is good enough"),
    ):
        action = actions.add_parser(name, help=purpose, description=purpose)
        add_settings_options(action, sections=("gallery", "models"))
        if name in ("add", "remove"):
            action.add_argument("name", metavar="NAME", help="the person's name as it will be shown")
        if name == "add":
            action.add_argument("photos", metavar="IMG", nargs="+", type=Path, help="photos that show this person")
        if name == "remove":
            action.add_argument("--yes", action="store_true", help="do not ask")


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    configure_logging("error")
    action = {"list": _list, "add": _add, "remove": _remove, "check": _check}[arguments.action]
    return action(arguments, settings)


def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    people = photos_by_person(settings.gallery.folder)
    if not people:
        print(_nobody(settings))
        return 0
    print(table(("person", "photos"), [(name, str(len(photos))) for name, photos in people.items()]))
    return 0


def _nobody(settings: Settings) -> str:
    return f"nobody is enrolled: put photos into {settings.gallery.folder}, or use: {program()} people add NAME IMG"


def _add(arguments: argparse.Namespace, settings: Settings) -> int:
    """Only photos that are good enough are copied."""
    from app.assembly import open_gallery

    folder = settings.gallery.folder
    check_all(
        partial(folder_of, folder, arguments.name), *(partial(_require_readable, photo) for photo in arguments.photos)
    )
    refused, added = 0, set()
    with open_gallery(settings) as enrolment:
        enrolment.enrol_all(configure_logging("error").counter("looking at photos"))
        person = shown_name(folder, arguments.name)
        known = {photo.content_hash: (photo.person, photo.path) for photo in enrolment.gallery.photos}
        for photo in arguments.photos:
            data = photo.read_bytes()
            content_hash = hashlib.sha256(data).hexdigest()
            if content_hash in known:
                owner, place = known[content_hash]
                if owner == person:
                    print(f"{photo}: is in the gallery already, as {place}")
                else:
                    refused += 1
                    print(f"{photo}: not added: the same photo is already {owner}'s ({place})")
                continue
            finding = enrolment.examine(data)
            if finding.status.kept:
                target = add_photo(folder, arguments.name, photo)
                known[content_hash] = (person, str(target))
                print(f"{photo}: added as {target}{_remark(finding.message)}")
                if not _warned_of_another(enrolment, person, finding, target):
                    added.add(target.relative_to(folder).as_posix())
            else:
                refused += 1
                print(f"{photo}: refused: {finding.message}")
        enrolment.enrol_all()
        for warning in unlike_their_own(enrolment.gallery, enrolment.threshold):
            if added.intersection(warning.photos):
                print(f"warning: {warning.message}")
    return ExitCode.INCOMPLETE if refused else 0


def _warned_of_another(enrolment: Enrolment, person: str, finding: PhotoFinding, target: Path) -> bool:
    if finding.embedding is None:
        return False
    doubt = resembles_another(enrolment.gallery, enrolment.threshold, person, finding.embedding)
    if doubt:
        print(f"warning: {target} {doubt}")
    return bool(doubt)


def _require_readable(photo: Path) -> None:
    try:
        photo.open("rb").close()
    except OSError as error:
        raise GalleryError(f"{photo} cannot be read: {error.strerror}") from error


def _remove(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.assembly import open_gallery

    folder = settings.gallery.folder
    photos = photos_by_person(folder).get(normalised(arguments.name), [])
    if not photos:
        hint = suggestion(arguments.name, photos_by_person(folder), f"; {program()} people list shows who is there")
        raise GalleryError(f"nobody called {arguments.name!r} is in {folder}{hint}")
    if not arguments.yes and not _confirmed(arguments.name, len(photos)):
        print("nothing was deleted")
        return ExitCode.INCOMPLETE
    for path in remove_person(folder, arguments.name):
        print(f"deleted {path}")
    # What was computed from the photos goes too.
    with open_gallery(settings) as enrolment:
        enrolment.enrol_all()
    return 0


def _confirmed(name: str, photos: int) -> bool:
    if not sys.stdin.isatty():
        raise GalleryError(f"this deletes {counted(photos, 'photo')} of {name}; say --yes where nobody can be asked")
    return input(f"delete {counted(photos, 'photo')} of {name}? [y/N] ").strip().lower() in ("y", "yes")


def _check(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.assembly import open_gallery

    with open_gallery(settings) as enrolment:
        enrolment.enrol_all(configure_logging("error").counter("looking at photos"))
        photos = enrolment.gallery.photos
        doubtful = unlike_their_own(enrolment.gallery, enrolment.threshold)
        problems = [*enrolment.problems(), *(warning.message for warning in doubtful)]
    rows = [
        (
            photo.path,
            photo.person,
            str(photo.finding.faces_found),
            f"{photo.finding.face_px:.0f}",
            f"{photo.finding.sharpness:.0f}",
            "yes" if photo.finding.rotation_fixed else "-",
            "kept" if photo.finding.status.kept else str(photo.finding.status),
            photo.finding.message,
        )
        for photo in photos
    ]
    if rows:
        print(table(("photo", "person", "faces", "px", "sharpness", "turned", "verdict", "remark"), rows))
    refused = sum(not photo.finding.status.kept for photo in photos)
    print(
        f"{counted(len(photos), 'photo')}: {len(photos) - refused} kept, {refused} refused"
        if photos
        else _nobody(settings)
    )
    for problem in problems:
        print(f"warning: {problem}")
    return ExitCode.INCOMPLETE if refused else 0


def _remark(message: str) -> str:
    return f" ({message})" if message else ""
