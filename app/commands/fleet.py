"""Share the gallery with other devices, in a PostgreSQL database."""

from __future__ import annotations

import argparse

from app.commands.options import add_settings_options, effective_settings
from app.database.connection import Connection, connected, shown
from app.database.schema import applied, migrate, missing
from app.errors import DatabaseError, ExitCode
from app.settings import Settings
from app.text import counted, program

DESCRIPTION = """Devices whose settings name the same PostgreSQL database (fleet.database) share their gallery. Each
keeps its own folder, works while the database cannot be reached, and catches up later: docs/fleet.md."""

EXAMPLES = """examples:
  python -m app fleet init        make the tables in an empty database
  python -m app fleet status      is it up to date, and who uses it
  python -m app fleet migrate     after an update of the program"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, purpose in (
        ("init", "make the tables in an empty database; needs a role that may create tables"),
        ("migrate", "bring the tables of an older version up to date; needs the same role"),
        ("status", "say whether the database can be used, and what is in it"),
    ):
        add_settings_options(actions.add_parser(name, help=purpose), sections=("gallery",))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    with connected(settings.fleet) as connection:
        return int(_ACTIONS[arguments.action](settings, connection))


def _init(settings: Settings, connection: Connection) -> ExitCode:
    if applied(connection):
        raise DatabaseError(
            f"{shown(settings.fleet)} has the tables already; bring them up to date with: fleet migrate"
        )
    done = migrate(connection)
    print(f"made the tables, {counted(len(done), 'migration')}; next: a role for the devices (docs/fleet.md)")
    return ExitCode.DONE


def _migrate(settings: Settings, connection: Connection) -> ExitCode:
    if not applied(connection):
        raise DatabaseError(f"{shown(settings.fleet)} has no tables yet; make them with: {program()} fleet init")
    done = migrate(connection)
    for migration in done:
        print(f"applied {migration.number:04} {migration.name}")
    if not done:
        print("the tables are up to date")
    return ExitCode.DONE


def _status(settings: Settings, connection: Connection) -> ExitCode:
    todo, present = missing(connection), applied(connection)
    version = connection.info.server_version
    print(f"database   {shown(settings.fleet)}, PostgreSQL {version // 10_000}.{version % 10_000}")
    print(f"encrypted  {'yes' if connection.pgconn.ssl_in_use else 'no'}")
    if not present:
        print(f"tables     none; make them with: {program()} fleet init")
    elif todo:
        print(f"tables     version {max(present)}, older than this program: {program()} fleet migrate")
    else:
        print(f"tables     version {max(present)}")
    return ExitCode.INCOMPLETE if todo else ExitCode.DONE


_ACTIONS = {"init": _init, "migrate": _migrate, "status": _status}
