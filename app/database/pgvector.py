"""pgvector, the extension with which the server compares faces: whether it is there, its tables, and its binary
format, which loses nothing."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from app.database.connection import Connection, unlimited
from app.database.schema import LOCK

_SQL = Path(__file__).parent / "pgvector.sql"
_VERSION = "version 1"
"""Of the tables; those of another one are not used, and `fleet migrate` makes them again."""


class ServerSearch(NamedTuple):
    """Whether the server can compare faces."""

    available: Optional[str]
    """The version of pgvector that could be created in the database."""
    installed: Optional[str]
    """The one that is in it."""
    is_on: bool


def server_search(connection: Connection) -> ServerSearch:
    ((available, installed, columns, version),) = connection.execute(
        "select (select default_version from pg_available_extensions where name = 'vector'), "
        "(select extversion from pg_extension where extname = 'vector'), "
        "(select count(*) from pg_attribute where attname = 'face' and not attisdropped "
        "and attrelid in (to_regclass('search_photo'), to_regclass('search_stranger'))), "
        "obj_description(to_regclass('search_stranger'), 'pg_class')"
    ).fetchall()
    return ServerSearch(available, installed, columns == 2 and version == _VERSION)


def prepare_search(connection: Connection) -> Optional[str]:
    """Lets the server compare where it has pgvector, which may be installed long after the other tables were made.
    Why the server refuses that, if it does."""
    import psycopg

    with connection.transaction(), unlimited(connection):
        connection.execute("select pg_advisory_xact_lock(%s)", [LOCK])
        found = server_search(connection)
        if found.is_on or found.available is None:
            return None
        try:
            with connection.transaction():
                if found.installed is None:
                    connection.execute("create extension vector")
                connection.execute(_SQL.read_bytes())
        except psycopg.Error as error:
            return str(error).splitlines()[0]
    return None


class Binary(bytes):
    """A value in the binary format of its type in the database, which the query names (`%s::vector`)."""


def register_binary(connection: Connection) -> None:
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class BinaryDumper(Dumper):
        format = Format.BINARY

        def dump(self, obj: Binary) -> bytes:
            return bytes(obj)

    connection.adapters.register_dumper(Binary, BinaryDumper)


def as_vector(row: np.ndarray) -> Binary:
    return Binary(struct.pack("!hh", len(row), 0) + row.astype(">f4").tobytes())


def as_vectors(rows: np.ndarray, vector_oid: int) -> Binary:
    """As `vector[]`; null for rows of NaN. `vector_oid` is the number of the type in this database."""
    is_null = np.isnan(rows[:, 0])
    parts = [struct.pack("!iiIii", 1, int(is_null.any()), vector_oid, len(rows), 1)]
    for row, null in zip(rows, is_null.tolist()):
        vector = as_vector(row)
        parts.append(struct.pack("!i", -1) if null else struct.pack("!i", len(vector)) + vector)
    return Binary(b"".join(parts))
