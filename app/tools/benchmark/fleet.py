"""How long a search over the whole fleet takes, with pgvector and without, among made-up strangers."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from app.database.connection import Connection, connected, masked_address
from app.database.pgvector import prepare_search, server_search
from app.database.schema import applied, migrate
from app.database.search import FleetSearch, NearStranger
from app.errors import DatabaseError
from app.settings import FleetSettings
from app.tools.benchmark.gallery import return_freed_memory

_EMBEDDER = "made up"
_DEVICE = "00000000-0000-7000-8000-000000000000"
_ROWS_AT_ONCE = 10_000
_TOP = 3
_SAME = 1e-5


@dataclass(frozen=True)
class SearchFigures:
    strangers: int
    dimension: int
    compared_by: str
    first_s: float
    """Of the first search. With pgvector it adds all faces to the tables of the search."""
    searches: int
    median_s: float
    """Of the later searches, of one face each."""
    max_s: float
    peak_mb: float
    """What the device needed at most during the searches, in addition to what it had."""
    table_mb: float
    """What the server stores for searches."""
    others: int
    """Searches whose people or similarities differ from those of the device's comparison."""

    def as_json(self) -> Dict[str, Any]:
        return asdict(self)


def measure(
    settings: FleetSettings,
    sizes: Sequence[int],
    dimension: int,
    searches: int,
    seed: int,
    on_step: Callable[[str], None] = lambda text: None,
) -> Iterator[SearchFigures]:
    """Raises DatabaseError unless the database is an empty one, in which the role may make a schema."""
    random = np.random.default_rng(seed)
    for strangers in sizes:
        with connected(settings) as connection, _schema(settings, connection):
            migrate(connection)
            prepare_search(connection)
            on_step(f"making {strangers} strangers")
            _add_strangers(connection, _units(random, strangers, dimension))
            faces = _units(random, searches + 1, dimension)
            expected: List[List[NearStranger]] = []
            for by_server in (False, True)[: 1 + server_search(connection).is_on]:
                on_step(f"searching {strangers} strangers, compared by the {'server' if by_server else 'device'}")
                search = FleetSearch(connection, _EMBEDDER, by_server)
                return_freed_memory()
                before = _reset_peak()
                found, times = [], []
                for number, face in enumerate(faces):
                    if number == 1 and by_server:  # as the server does by itself soon
                        connection.execute("vacuum analyze search_stranger")
                    started = time.perf_counter()
                    found += search.strangers(face[None], _TOP)
                    times.append(time.perf_counter() - started)
                expected = expected or found
                ((size,),) = connection.execute(
                    "select coalesce(pg_total_relation_size(to_regclass('search_stranger')), 0)"
                ).fetchall()
                yield SearchFigures(
                    strangers,
                    dimension,
                    "server" if by_server else "device",
                    times[0],
                    searches,
                    float(np.median(times[1:])),
                    max(times[1:]),
                    max(0.0, _peak_mb() - before),
                    size / 2**20 if by_server else 0.0,
                    sum(not _agree(one, other) for one, other in zip(found, expected)),
                )


@contextlib.contextmanager
def _schema(settings: FleetSettings, connection: Connection) -> Iterator[None]:
    """Tables of a real fleet are out of reach: it has to be another database."""
    if applied(connection):
        raise DatabaseError(f"{masked_address(settings)} is in use; bench fleet needs an empty database of its own")
    name = f"bench_{os.getpid()}"
    connection.execute("set statement_timeout = 0")
    connection.execute(f"create schema {name}".encode())
    try:
        connection.execute(f"set search_path = {name}, public".encode())
        yield
    finally:
        connection.execute(f"drop schema {name} cascade".encode())


def _units(random: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    rows = random.standard_normal((count, dimension), dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _add_strangers(connection: Connection, rows: np.ndarray) -> None:
    connection.execute("alter table stranger disable trigger numbered")  # so many in a transaction take long with it
    connection.execute("insert into device(id, name) values (%s, 'bench')", [_DEVICE])
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE].astype("<f2")
        connection.execute(
            "with new as (insert into stranger(id, embedder, prototype, weight, looks, first_seen, last_seen, "
            "expires, revision) select gen_random_uuid(), %s, made, 1, 2, now(), now(), now() + interval '1 day', "
            "%s + n from unnest(%s::bytea[]) with ordinality as one(made, n) returning id, revision) "
            "insert into stranger_at(device, number, stranger, channel, first_seen, last_seen, expires) "
            "select %s, revision, id, 'door', now(), now(), now() + interval '1 day' from new",
            [_EMBEDDER, start, [row.tobytes() for row in part], _DEVICE],
        )
    connection.execute("alter table stranger enable trigger numbered")
    connection.execute("analyze stranger")
    connection.execute("analyze stranger_at")


def _agree(one: Sequence[NearStranger], other: Sequence[NearStranger]) -> bool:
    return [near.person for near in one] == [near.person for near in other] and all(
        abs(near.similarity - far.similarity) < _SAME for near, far in zip(one, other)
    )


def _reset_peak() -> float:
    """What the process has now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_mb()


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM")


def table_rows(figures: Sequence[SearchFigures]) -> List[Tuple[str, ...]]:
    return [
        (
            f"{one.strangers:,}",
            one.compared_by,
            f"{one.first_s:.2f}",
            f"{1000 * one.median_s:.0f}",
            f"{1000 * one.max_s:.0f}",
            f"{one.peak_mb:.1f}",
            f"{one.table_mb:.0f}" if one.table_mb else "-",
            f"{one.others} of {one.searches + 1}",
        )
        for one in figures
    ]
