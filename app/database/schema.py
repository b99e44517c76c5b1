"""The tables: numbered SQL files in `migrations/`, each applied once, in a transaction with the note that it was.

Migrations only add. So a program works with a newer database, and devices can be updated one after the other; an older
database is brought up to date with `fleet migrate`, by a role that may create tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple, Tuple

from app.database.connection import Connection, unlimited
from app.errors import DatabaseError
from app.text import program

_FOLDER = Path(__file__).parent / "migrations"
LOCK = 0x66616365
"""Of `pg_advisory_xact_lock`: two programs never migrate at the same time."""
_VERSIONS = """create table if not exists schema_version (
  number integer primary key,
  name text not null,
  applied_at timestamptz not null default now()
)"""


class Migration(NamedTuple):
    number: int
    name: str
    sql: str


def migrations() -> List[Migration]:
    """All that this program knows, in their order. A file is called `0003_gallery.sql`."""
    return [
        Migration(int(path.stem.partition("_")[0]), path.stem.partition("_")[2], path.read_text(encoding="utf-8"))
        for path in sorted(_FOLDER.glob("*.sql"))
    ]


def applied(connection: Connection) -> Tuple[int, ...]:
    """The numbers of those that the database has; none if it was never prepared."""
    found = connection.execute("select to_regclass('schema_version') is not null").fetchone()
    if found is None or not found[0]:
        return ()
    return tuple(number for (number,) in connection.execute("select number from schema_version order by 1"))


def missing(connection: Connection) -> List[Migration]:
    """Those that the database still needs for this program."""
    present = applied(connection)
    return [migration for migration in migrations() if migration.number not in present]


def migrate(connection: Connection) -> List[Migration]:
    """Applies what is missing, all or nothing; what was applied."""
    with connection.transaction(), unlimited(connection):
        connection.execute("select pg_advisory_xact_lock(%s)", [LOCK])
        connection.execute(_VERSIONS)
        todo = missing(connection)
        for migration in todo:
            connection.execute(migration.sql.encode())
            connection.execute(
                "insert into schema_version(number, name) values (%s, %s)", [migration.number, migration.name]
            )
    return todo


def is_owner(connection: Connection) -> bool:
    """Whether the role of this connection may change the tables."""
    found = connection.execute("select pg_has_role(relowner, 'usage') from pg_class where oid = 'head'::regclass")
    return found.fetchone() == (True,)


def require_schema(connection: Connection) -> None:
    """Raises DatabaseError unless the database has every table that this program needs."""
    if not applied(connection):
        raise DatabaseError(f"the database has no tables yet; make them with: {program()} fleet init")
    names = [f"{migration.number} ({migration.name})" for migration in missing(connection)]
    if names:
        raise DatabaseError(
            f"the database is older than this program, it lacks {', '.join(names)}; run: {program()} fleet migrate"
        )
