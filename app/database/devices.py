"""The devices that use the database."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence

from app.database.connection import Connection
from app.errors import DatabaseError

AWAY_AFTER_S, AWAY_AFTER_EXCHANGES = 120.0, 4


class DeviceRow(NamedTuple):
    id: str
    name: str
    embedder: str
    program: str
    revision: int
    """Of the gallery: up to here it has everything."""
    seen_s_ago: float
    behind: int
    """Changes of the gallery that it does not have yet."""
    conflicts: int
    unsent: Optional[int]
    """Events that waited there when it was seen. None: it sends none."""


def away_after_s(sync_every_s: float) -> float:
    """Seconds after which a device that exchanges so often is not in use, or cannot reach the database."""
    return max(AWAY_AFTER_S, AWAY_AFTER_EXCHANGES * sync_every_s)


def require_may_remove(connection: Connection) -> None:
    """Raises DatabaseError unless the role of this connection may delete devices."""
    if connection.execute("select has_table_privilege('device', 'delete')").fetchone() != (True,):
        raise DatabaseError("this role may not remove devices: use the settings of the owner (docs/fleet.md)")


def greet(
    connection: Connection, device: str, name: str, embedder: str, program: str, turns: Sequence[str] = ()
) -> bool:
    """Says who is here, and with what. False: another device had this id in the meantime; nothing was changed.

    `turns` are those that the device has drawn, the latest last: the database keeps it, and only a device that has the
    one that it keeps may replace it.
    """
    known = connection.execute(
        "insert into device(id, name, embedder, program, turn) values (%(id)s, %(name)s, %(embedder)s, %(program)s, "
        "%(turn)s) on conflict (id) do update set name = excluded.name, embedder = excluded.embedder, "
        "program = excluded.program, turn = excluded.turn, last_seen = now() "
        "where device.turn is null or device.turn = any(%(turns)s::uuid[]) returning 1",
        {
            "id": device,
            "name": name,
            "embedder": embedder,
            "program": program,
            "turn": turns[-1] if turns else None,
            "turns": list(turns),
        },
    ).fetchone()
    return known is not None


def has_revision(connection: Connection, device: str, revision: int, unsent: Optional[int]) -> None:
    connection.execute(
        "update device set revision = %s, unsent = %s, last_seen = now() where id = %s", [revision, unsent, device]
    )


def devices(connection: Connection) -> List[DeviceRow]:
    """By name. What is behind counts people and photos, not what changed in between."""
    rows = connection.execute(
        "select d.id::text, d.name, d.embedder, d.program, d.revision, "
        "extract(epoch from now() - d.last_seen)::double precision, "
        "(select count(*) from photo where revision > d.revision) + "
        "(select count(*) from person where revision > d.revision), "
        "(select count(*) from conflict c where c.device = d.id and c.kind <> 'deleted'), d.unsent "
        "from device d order by 2, 1"
    )
    return [DeviceRow(*row) for row in rows]
