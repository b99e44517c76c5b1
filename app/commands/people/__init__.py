"""Managing the gallery from the command line."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Iterable, List

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.commands.people import forgetting, strangers, traces
from app.errors import ExitCode, GalleryError, SettingsError, check_all
from app.files import check_writable, write_text
from app.gallery.checks import find_mixed, find_outliers
from app.gallery.files import person_folder, photos_by_person, remove_photos, rename_person
from app.gallery.folder import require_folder, scan
from app.gallery.names import normalize
from app.gallery.stranger_actions import rename_visits
from app.settings import Settings
from app.text import counted, printable, program, suggestion, table
from app.types import Reason

if TYPE_CHECKING:
    from app.gallery.gallery import AddResult, Gallery

DESCRIPTION = """Lists, adds, removes and checks the people in the gallery. The gallery is a folder of photos:
copying and deleting files there has the same effect as these commands."""

EXAMPLES = """examples:
  python -m app people list
  python -m app people add "José García" ~/pictures/jose.jpg ~/pictures/jose-2.jpg
  python -m app people add Eve group.jpg --preview numbers.jpg   # who has which number?
  python -m app people add Eve group.jpg --face 2
  python -m app people add Ann ~/pictures/ann/          # all photos of a folder
  python -m app people rename Jose "José García"
  python -m app people remove "José García"
  python -m app people check          # exit code 1 if a photo cannot be used
  python -m app people check --report report.html    # the same as a page with the pictures
  python -m app people strangers --sheet strangers.jpg       # unknown people who were here
  python -m app people name stranger-7 "Eva" --events visits.jsonl   # enrol one of them; past visits get the name
  python -m app people ignore stranger-3                     # never show or name this one
  python -m app people not "Ann" 1234 --events visits.jsonl  # event 1234 was not Ann
  python -m app people search photo.jpg                      # was this face here before, when, and where?
  python -m app people export "Eva" eva                      # everything that is stored of Eva
  python -m app people forget "Eva" --events visits.jsonl --yes      # delete it for good, in the event log too"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    sections = {"list": ("gallery",), "rename": strangers.SECTIONS}
    for name, purpose in (
        ("list", "list all people with the number of their photos, good or not"),
        ("add", "copy photos of a person into the gallery, if they are good enough"),
        ("rename", "give a person another name"),
        ("remove", "delete the photos of a person from the gallery"),
        ("check", "show what was found in each photo, and whether it is good enough"),
    ):
        action = actions.add_parser(name, help=purpose, description=purpose)
        add_settings_options(
            action,
            sections=sections.get(name, ("gallery", "quality", "detection", "models")),
        )
        if name in ("add", "remove"):
            action.add_argument("name", metavar="NAME", help="name of the person")
        if name == "add":
            action.add_argument(
                "photos", metavar="PHOTO", nargs="+", type=Path, help="photos of this person, or a folder of them"
            )
            action.add_argument(
                "--face",
                metavar="N",
                type=int,
                help="in a photo of several people, add the N-th face from the left; the others are cut off",
            )
            action.add_argument(
                "--preview",
                metavar="FILE.jpg",
                type=Path,
                help="add nothing; write the photo with a number at each face",
            )
        if name == "check":
            action.add_argument(
                "--report",
                metavar="FILE.html",
                type=Path,
                help="also write a page with every photo: its quality, copies, people who look alike, what is missing",
            )
        if name == "rename":
            action.add_argument("name", metavar="OLD", help="name of the person now")
            action.add_argument("new_name", metavar="NEW", help="new name")
            action.add_argument("--merge", action="store_true", help="NEW may be enrolled: both are the same person")
        if name == "remove":
            action.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    strangers.add_actions(actions)
    traces.add_actions(actions)
    forgetting.add_actions(actions)


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    configure_logging("error")
    require_folder(settings.gallery.folder)
    own = {"list": _list, "add": _add, "rename": _rename, "remove": _remove, "check": _check}
    action = {**own, **strangers.ACTIONS, **traces.ACTIONS, **forgetting.ACTIONS}[arguments.action]
    return action(arguments, settings)


def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    people = photos_by_person(settings.gallery.folder)
    if people:
        print(table(("person", "photos"), [(name, str(len(photos))) for name, photos in people.items()]))
    else:
        print(_no_people(settings))
    for problem in scan(settings.gallery.folder).problems:
        print(f"warning: {printable(problem)}")
    return 0


def _no_people(settings: Settings) -> str:
    return f"no one is enrolled: put photos into {settings.gallery.folder}, or run: {program()} people add NAME PHOTO"


def _add(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.assembly import open_gallery
    from app.gallery.gallery import Added, NewPhoto

    folder = settings.gallery.folder
    paths: List[Path] = []
    check_all(
        partial(person_folder, folder, arguments.name),
        *(partial(_collect, named, paths) for named in arguments.photos),
    )
    if len(paths) > 1 and (arguments.face is not None or arguments.preview is not None):
        raise SettingsError("--face and --preview are for one photo; name only that one")
    if arguments.preview is not None:
        return _preview(paths[0], arguments.preview, settings)
    with open_gallery(settings) as gallery:
        gallery.load(configure_logging("error").counter("examining photos"))
        remaining = iter(paths)
        photos: Iterable[NewPhoto] = map(NewPhoto.read, paths)
        if arguments.face is not None:
            photos = [gallery.choose(photo, arguments.face) for photo in photos]
        results = gallery.add_all(
            arguments.name,
            photos,
            lambda result: print(f"{printable(str(next(remaining)))}: {_outcome(result, folder)}", flush=True),
        )
    for result in results:
        if isinstance(result, Added):
            for warning in result.warnings:
                print(f"warning: {printable(warning.message)}")
    added = sum(isinstance(result, Added) for result in results)
    known = sum(result.reason is Reason.ALREADY_ENROLLED for result in results)
    if len(results) > 1:
        rest = len(results) - added - known
        print(f"{counted(len(results), 'photo')}: {added} added, {known} in the gallery already, {rest} not added")
    return 0 if added + known == len(results) else ExitCode.INCOMPLETE


def _preview(photo: Path, target: Path, settings: Settings) -> int:
    """Writes the photo with numbered faces."""
    from app.assembly import open_gallery
    from app.gallery.gallery import NewPhoto
    from app.gallery.photo import write_numbered

    if target.exists() and target.samefile(photo):
        raise SettingsError(f"--preview {target} is the photo itself; choose another name")
    with open_gallery(settings) as gallery:
        found = gallery.faces(NewPhoto.read(photo))
    write_numbered(found, target)
    print(f"{target}: {counted(len(found.faces), 'face')}; nothing was added. Add one with --face N")
    return 0


def _outcome(result: AddResult, folder: Path) -> str:
    from app.gallery.gallery import Added

    if isinstance(result, Added):
        message = result.photo.finding.message
        return f"added as {folder / result.photo.path}" + (f" ({message})" if message else "")
    if result.duplicate_of is not None:
        path, person = result.duplicate_of.path, result.duplicate_of.person
        if result.reason is Reason.ALREADY_ENROLLED:
            return f"already in the gallery as {path}"
        return f"not added: this photo belongs to {person} already ({path})"
    return f"not added: {result.finding.text if result.finding else result.reason}"


def _collect(named: Path, photos: List[Path]) -> None:
    """Adds the photo, or those of the folder, to the list. Raises AppError for what cannot be read."""
    from app.capture.pictures import picture_files

    found = picture_files(named) if named.is_dir() else [named]
    for photo in found:
        try:
            photo.open("rb").close()
        except OSError as error:
            raise GalleryError(f"{photo} cannot be read: {error.strerror}") from error
    photos += found


def _rename(arguments: argparse.Namespace, settings: Settings) -> int:
    folder = settings.gallery.folder
    before, after = rename_person(folder, arguments.name, arguments.new_name, arguments.merge)
    for source, target in zip(before, after):
        print(printable(f"{source} is now {target}"))
    old, new = normalize(arguments.name), normalize(arguments.new_name)
    rename_visits(settings, old, new)
    print(
        f"{old} is called {new} now; past events in which {old} was recognised keep the old name, those that got it "
        "later have the new one"
    )
    return 0


def _remove(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.assembly import open_gallery

    folder, name = settings.gallery.folder, arguments.name
    people = photos_by_person(folder)
    photos = people.get(normalize(name), [])
    if not photos:
        hint = suggestion(name, people, f"; see {program()} people list")
        raise GalleryError(f"{folder} has no person called {name!r}{hint}")
    if not arguments.yes:
        if not sys.stdin.isatty():
            sys.stderr.write(f"not deleted: {counted(len(photos), 'photo')} of {normalize(name)}; add --yes\n")
            return ExitCode.USER_ERROR
        answer = input(f"delete {counted(len(photos), 'photo')} of {name}? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was deleted")
            return ExitCode.INCOMPLETE
    for path in remove_photos(folder, name):
        print(printable(f"deleted {path}"))
    # Loading the gallery also removes the person's embeddings from the cache.
    with open_gallery(settings) as gallery:
        gallery.load()
    return 0


def _check(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.assembly import open_gallery

    check_writable(arguments.report)
    with open_gallery(settings) as gallery:
        gallery.load(configure_logging("error").counter("examining photos"))
        photos = gallery.people.photos
        outliers = [
            *find_outliers(gallery.people, gallery.threshold),
            *find_mixed(gallery.people, gallery.threshold),
        ]
        problems = [*gallery.problems(), *(warning.message for warning in outliers)]
        if arguments.report is not None:
            _write_report(arguments.report, gallery, problems, settings)
    if photos:
        header = ("photo", "person", "faces", "px", "sharpness", "rotated", "verdict", "remark")
        rows = [
            (
                photo.path,
                photo.person,
                str(photo.finding.faces_found),
                f"{photo.finding.face_px:.0f}" if photo.finding.faces_found else "-",
                f"{photo.finding.sharpness:.0f}" if photo.finding.faces_found else "-",
                "yes" if photo.finding.rotation_fixed else "-",
                "used" if photo.finding.used else photo.finding.why,
                photo.finding.message,
            )
            for photo in photos
        ]
        print(table(header, rows))
    rejected = sum(not photo.finding.used for photo in photos)
    counts = f"{counted(len(photos), 'photo')}: {len(photos) - rejected} used, {rejected} rejected"
    print(counts if photos else _no_people(settings))
    for problem in problems:
        print(f"warning: {printable(problem)}")
    if arguments.report is not None:
        print(f"written: {arguments.report}")
    return ExitCode.INCOMPLETE if rejected else 0


def _write_report(path: Path, gallery: Gallery, problems: List[str], settings: Settings) -> None:
    from app.tools.gallery_report.facts import gallery_facts
    from app.tools.gallery_report.page import page

    people = gallery_facts(gallery.people, gallery.threshold)
    write_text(path, page(people, problems, gallery.threshold, settings.models.embedder, settings.gallery.folder))
