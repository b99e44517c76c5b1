"""Share the gallery with other devices, in a PostgreSQL database."""

from __future__ import annotations

import argparse
import hashlib
from itertools import groupby
from pathlib import Path

from app.assembly import open_gallery
from app.commands.arguments import whole_number
from app.commands.fleet import searching
from app.commands.options import add_settings_options, effective_settings
from app.database.connection import Connection, connected, masked_address, require_database, require_usable
from app.database.devices import away_after_s, devices, require_may_remove
from app.database.events import retention_days, set_retention
from app.database.gallery import SharedGallery
from app.database.pgvector import prepare_search, server_search
from app.database.schema import applied, is_owner, migrate, missing, require_schema
from app.database.strangers import SharedStrangers
from app.errors import DatabaseError, ExitCode, SettingsError
from app.events.delivery import device_name
from app.fleet.decisions import allow_again, conflicts_here, decide
from app.fleet.exchange import missing_advice
from app.fleet.folder import missing_photos
from app.fleet.state import FleetFolder
from app.fleet.strangers import StrangerSync
from app.fleet.sync import GallerySync
from app.gallery.folder import require_folder
from app.gallery.gallery import Added, NewPhoto
from app.settings import Settings
from app.text import ago, counted, printable, program, suggestion

DESCRIPTION = """Devices whose settings name the same PostgreSQL database (fleet.database) share their gallery. Each
keeps its own folder, works while the database cannot be reached, and catches up later: docs/fleet.md."""

EXAMPLES = """examples:
  python -m app fleet init        make the tables in an empty database
  python -m app fleet status      is it up to date, and who uses it
  python -m app fleet sync        exchange the gallery once; `run` and `serve` do so all the time
  python -m app fleet devices     when each device was seen, and what it lacks
  python -m app fleet devices --remove door-b     one that is not in use any more
  python -m app fleet conflicts   what was changed here and elsewhere in different ways
  python -m app fleet conflicts --keep mine 1
  python -m app fleet retention 90    keep events of all devices for 90 days
  python -m app fleet strangers   who was at several devices, and where
  python -m app fleet search visitor.jpg    who is this, over the whole fleet
  python -m app fleet migrate     after an update of the program"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    made = {
        name: actions.add_parser(name, help=purpose)
        for name, purpose in (
            ("init", "make the tables in an empty database; needs a role that may create tables"),
            ("migrate", "bring the tables of an older version up to date; needs the same role"),
            ("status", "say whether the database can be used, and what is in it"),
            ("devices", "list the devices: when they were seen, and what they lack"),
            ("sync", "exchange the gallery and strangers once"),
            ("conflicts", "list what was changed here and elsewhere in different ways, and decide"),
            ("retention", "say or set for how many days events are kept; setting it needs the role of init"),
            ("strangers", "list unknown people who were seen by several devices"),
            ("again", "add photos that were deleted on another device"),
        )
    }
    if_missing = made["sync"].add_mutually_exclusive_group()
    if_missing.add_argument(
        "--restore", action="store_true", help="fetch the photos that are gone from the folder again"
    )
    if_missing.add_argument(
        "--remove-many",
        action="store_true",
        help="also delete on all devices, although more than half of the photos are gone from the folder",
    )
    made["conflicts"].add_argument("--keep", choices=("mine", "theirs"), help="decide: the name here, or the other one")
    made["conflicts"].add_argument("number", nargs="?", type=int, metavar="N", help="which one")
    made["retention"].add_argument(
        "days",
        nargs="?",
        type=_days,
        metavar="DAYS",
        help="delete events that are older; `off`: keep them for ever",
    )
    made["devices"].add_argument(
        "--remove",
        metavar="DEVICE",
        help="remove a device that is not in use any more, by its name or id; needs the role of init",
    )
    made["devices"].add_argument("--force", action="store_true", help="remove it although it was seen just now")
    made["again"].add_argument("name", metavar="NAME", help="whose photos they are")
    made["again"].add_argument("photos", metavar="PHOTO", nargs="+", type=Path)
    searching.add_action(actions)
    for name, action in made.items():
        with_networks = ("models", "quality") if name in ("sync", "again") else ()
        add_settings_options(action, sections=("gallery", *with_networks))


def _days(text: str) -> int:
    return 0 if text == "off" else whole_number(1, 36_500)(text)


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    return int(_ACTIONS[arguments.action](settings, arguments))


def _init(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    with connected(settings.fleet) as connection:
        if applied(connection):
            raise DatabaseError(
                f"{masked_address(settings.fleet)} has the tables already; after an update: fleet migrate"
            )
        migrate(connection)
        print("made the tables; next: a role for the devices (docs/fleet.md)")
        _prepare_search(connection)
    return ExitCode.DONE


def _migrate(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    with connected(settings.fleet) as connection:
        if not applied(connection):
            raise DatabaseError(
                f"{masked_address(settings.fleet)} has no tables yet; make them with: {program()} fleet init"
            )
        done = migrate(connection)
        for migration in done:
            print(f"applied {migration.number:04} {migration.name}")
        if not done:
            print("the tables are up to date")
        _prepare_search(connection)
    return ExitCode.DONE


def _prepare_search(connection: Connection) -> None:
    refusal = prepare_search(connection)
    print(printable(searching.search_line(server_search(connection), refusal)))


def _status(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    require_database(settings.fleet)
    require_folder(settings.gallery.folder)
    with connected(settings.fleet) as connection:
        todo, present = missing(connection), applied(connection)
        version = connection.info.server_version
        print(f"database   {masked_address(settings.fleet)}, PostgreSQL {version // 10_000}.{version % 10_000}")
        print(f"encrypted  {'yes' if connection.pgconn.ssl_in_use else 'no'}")
        if not present:
            print(f"tables     none; make them with: {program()} fleet init")
        elif todo:
            print(f"tables     version {max(present)}, older than this program: {program()} fleet migrate")
        else:
            print(f"tables     version {max(present)}")
            _print_gallery(settings, connection)
    return ExitCode.INCOMPLETE if todo else ExitCode.DONE


def _print_gallery(settings: Settings, connection: Connection) -> None:
    print(searching.search_line(server_search(connection)))
    state = FleetFolder(settings.gallery.folder).read()
    shared = SharedGallery(connection, state.device)
    head, size = shared.head(), shared.size()
    people, photos = counted(size.people, "person", "people"), counted(size.photos, "photo")
    print(f"gallery    {people}, {photos}, {size.megabytes:.1f} MB, revision {head.revision}")
    for embedder, count in size.embeddings:
        print(printable(f"embedder   {embedder or 'unknown'}: {counted(count, 'photo')}"))
    if state.database == head.database:
        print(f"here       revision {state.seen}, {counted(len(state.conflicts), 'conflict')}")
        gone = missing_photos(settings.gallery.folder)
        if gone:
            print(f"missing    {gone} photos are missing here; {missing_advice()}")
    else:
        hint = "fleet sync, with the settings of the device" if is_owner(connection) else f"{program()} fleet sync"
        print(f"here       not exchanged yet: {hint}")
    _print_devices(settings, connection, state.device)


def _retention(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    with connected(settings.fleet) as connection:
        require_schema(connection)
        if arguments.days is not None:
            set_retention(connection, arguments.days or None)
        days = retention_days(connection)
    print("events are kept for ever" if days is None else f"events are kept for {counted(days, 'day')}")
    return ExitCode.DONE


def _devices(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    require_database(settings.fleet)
    require_folder(settings.gallery.folder)
    with connected(settings.fleet) as connection:
        require_schema(connection)
        if arguments.remove is not None:
            print(_removed(connection, arguments.remove, arguments.force, settings.fleet.sync_every_s))
            return ExitCode.DONE
        _print_devices(settings, connection, FleetFolder(settings.gallery.folder).read().device)
    return ExitCode.DONE


def _removed(connection: Connection, wanted: str, is_forced: bool, sync_every_s: float) -> str:
    """Removes a device; what became of it, in words."""
    require_may_remove(connection)
    known = devices(connection)
    found = [row for row in known if wanted in (row.name, row.id)]
    if not found:
        raise DatabaseError(f"no device {wanted!r}{suggestion(wanted, [row.name for row in known])}")
    if len(found) > 1:
        ids = "; ".join(f"{row.id}, seen {ago(row.seen_s_ago)}" for row in found)
        raise DatabaseError(f"{len(found)} devices are called {wanted!r}; choose one by its id: {ids}")
    (row,) = found
    if row.seen_s_ago <= away_after_s(sync_every_s) and not is_forced:
        raise DatabaseError(
            f"{row.name} was seen {ago(row.seen_s_ago)}, and would come back: stop the program there first, "
            "or remove it with --force"
        )
    gone = SharedStrangers(connection, row.id).remove_device()
    only = f", and {counted(gone, 'stranger')} that no other device had seen" if gone else ""
    return printable(f"removed {row.name} ({row.id}), {counted(row.conflicts, 'conflict')} of it{only}")


def _print_devices(settings: Settings, connection: Connection, own: str) -> None:
    rows = devices(connection)
    names = [row.name for row in rows]
    own_names = {row.name for row in rows if row.id == own}
    for row in rows:
        lacks = f"lacks {counted(row.behind, 'change')}" if row.behind else "up to date"
        lacks += f", {counted(row.unsent, 'event')} not sent yet" if row.unsent else ""
        conflicts = f", {counted(row.conflicts, 'conflict')}" if row.conflicts else ""
        called = row.name if names.count(row.name) == 1 else f"{row.name}, {row.id}"
        here = " (this one)" if row.id == own else ""
        seen = f"seen {ago(row.seen_s_ago)}, revision {row.revision}, {lacks}{conflicts}"
        print(printable(f"device     {called}{here}: {seen}, {row.embedder or 'unknown embedder'}"))
        is_away = row.seen_s_ago > away_after_s(settings.fleet.sync_every_s)
        if row.id != own and row.name in own_names and is_away:
            print(
                "           if that was this device before its folder was restored from a backup, its strangers stay "
                f"until they expire, or until: {program()} fleet devices --remove {row.id}"
            )


def _sync(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    require_usable(settings.fleet)
    with open_gallery(settings) as gallery:
        device = device_name(settings.delivery.device)
        with connected(settings.fleet, device) as connection:
            require_schema(connection)
            done = GallerySync(settings, gallery).exchange(
                connection, arguments.remove_many, restore_missing=arguments.restore
            )
            print(f"gallery: {done.text}")
            strangers = StrangerSync(settings, gallery)
            if strangers.is_on:
                print(f"strangers: {strangers.exchange(connection)} new from other devices")
    return ExitCode.DONE if done.is_complete else ExitCode.INCOMPLETE


def _conflicts(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    require_folder(settings.gallery.folder)
    if arguments.keep is not None:
        if arguments.number is None:
            found = conflicts_here(settings.gallery.folder)
            raise SettingsError(
                f"--keep needs the number of a conflict, of which there are {len(found)}: "
                f"fleet conflicts --keep {arguments.keep} N"
            )
        decided = decide(settings, arguments.number, arguments.keep == "mine")
        kept = decided.mine if arguments.keep == "mine" else decided.theirs
        sent = "; other devices get it with the next exchange" if arguments.keep == "mine" else ""
        print(f"{decided.description}: {kept}{sent}")
        return ExitCode.DONE
    here = conflicts_here(settings.gallery.folder)
    for number, one in enumerate(here, 1):
        print(f"{number}. {one.description}: {one.mine} here, {one.theirs} on other devices")
    with connected(settings.fleet) as connection:
        require_schema(connection)
        state = FleetFolder(settings.gallery.folder).read()
        others = SharedGallery(connection, state.device).conflicts()
    for other in others:
        if other.kind == "deleted":
            where = "here" if other.is_own else f"on {other.device}"
            print(printable(f"-  {other.mine} was deleted on another device, so it was not added {where}"))
        elif not other.is_own:
            print(
                printable(f"-  on {other.device}: {other.mine} there, {other.theirs} elsewhere; decide on that device")
            )
    if not here and not others:
        print("no conflicts")
    return ExitCode.INCOMPLETE if here else ExitCode.DONE


def _strangers(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    require_database(settings.fleet)
    require_folder(settings.gallery.folder)
    with connected(settings.fleet) as connection:
        require_schema(connection)
        state = FleetFolder(settings.gallery.folder).read()
        found = SharedStrangers(connection, state.device).sightings(devices=2)
    for person, sightings in groupby(found, key=lambda one: one.person):
        seen = list(sightings)
        print(printable(seen[0].name or person))
        for one in seen:
            print(printable(f"  {searching.place_text(one)}"))
    if not found:
        print("no one was seen by two devices")
    return ExitCode.DONE


def _again(settings: Settings, arguments: argparse.Namespace) -> ExitCode:
    photos = [NewPhoto.read(path) for path in arguments.photos]
    with open_gallery(settings) as gallery:
        gallery.load()
        with connected(settings.fleet, device_name(settings.delivery.device)) as connection:
            require_schema(connection)
            contents = [hashlib.sha256(photo.data).hexdigest() for photo in photos]
            allow_again(settings.gallery.folder, connection, contents)
            results = gallery.add_all(arguments.name, photos)
            done = GallerySync(settings, gallery).exchange(connection)
    for photo, result in zip(photos, results):
        print(f"{photo.filename}: {'added' if isinstance(result, Added) else result.reason}")
    print(done.text)
    all_added = all(isinstance(result, Added) for result in results)
    return ExitCode.DONE if all_added and done.is_complete else ExitCode.INCOMPLETE


_ACTIONS = {
    "init": _init,
    "migrate": _migrate,
    "status": _status,
    "devices": _devices,
    "sync": _sync,
    "conflicts": _conflicts,
    "retention": _retention,
    "strangers": _strangers,
    "again": _again,
    "search": searching.search,
}
