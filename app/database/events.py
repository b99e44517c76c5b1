"""For how long events of all devices are kept. The owner sets it, and devices enforce it (`app/events/postgres.py`)."""

from __future__ import annotations

from typing import Optional

from app.database.connection import Connection


def retention_days(connection: Connection) -> Optional[int]:
    """None: for ever."""
    found = connection.execute("select keep_days from event_retention").fetchone()
    return None if found is None else int(found[0])


def set_retention(connection: Connection, keep_days: Optional[int]) -> None:
    if keep_days is None:
        connection.execute("delete from event_retention")
        return
    connection.execute(
        "insert into event_retention (keep_days) values (%s) on conflict (one) do update set keep_days = %s",
        [keep_days, keep_days],
    )
