"""The devices that use the database."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence

from app.database.connection import Connection


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
