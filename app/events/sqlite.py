"""An index of event logs for SQL. The logs stay the truth: the index is always made from all of them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from app.errors import OutputError
from app.events.history import EVENT_COLUMNS, HEADER, Record
from app.events.visits import VISIT_COLUMNS, visits

_FORMAT = b"SQLite format 3\0"


def write_index(path: Path, records: Iterable[Record], relabels: Optional[Mapping[str, str]] = None) -> Tuple[int, int]:
    """Replaces the database with the tables `events` and `visits`; returns how many rows they have.

    `relabels` are names that strangers got later: `stranger-7` -> `Eva`.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # its own: two programs may make the same index
    try:
        if path.exists():
            with path.open("rb") as file:
                if file.read(len(_FORMAT)) not in (_FORMAT, b""):
                    raise OutputError(f"{path} is not an SQLite database; choose another name")
        with contextlib.closing(sqlite3.connect(str(part))) as database:
            counts = _fill(database, records, relabels)
        part.replace(path)
    except (sqlite3.Error, OSError) as error:
        raise OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return counts


def _fill(
    database: sqlite3.Connection, records: Iterable[Record], relabels: Optional[Mapping[str, str]]
) -> Tuple[int, int]:
    for table, columns in (("events", (*EVENT_COLUMNS, "log", "json")), ("visits", VISIT_COLUMNS)):
        # Quoted, as `limit` is a word of SQL.
        names = ", ".join(f'"{column}"' for column in columns)
        database.execute(f"CREATE TABLE {table} ({names})")
    logs: List[Optional[str]] = [None]

    def inserted() -> Iterator[Record]:
        for record in records:
            if record["event"] == HEADER:
                logs[0] = record["log"]
            else:
                content = json.dumps(record, ensure_ascii=False)
                _insert(database, "events", (*_row(record, EVENT_COLUMNS), logs[0], _text(content)))
            yield record

    for visit in visits(inserted(), relabels):
        _insert(database, "visits", _row(visit.as_json(), VISIT_COLUMNS))
    for table in ("events", "visits"):
        for column in ("time", "name"):
            database.execute(f"CREATE INDEX {table}_{column} ON {table} ({column})")
    database.commit()
    events, found = (database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("events", "visits"))
    return events, found


def _row(fields: Dict[str, Any], columns: Sequence[str]) -> List[Any]:
    return [_text(value) if isinstance(value, str) else value for value in map(fields.get, columns)]


def _text(text: str) -> str:
    """SQLite takes UTF-8 only; a name from a file's name may hold bytes that are not."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _insert(database: sqlite3.Connection, table: str, row: Sequence[Any]) -> None:
    database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
