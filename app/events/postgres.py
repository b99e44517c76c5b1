"""Events for the PostgreSQL database that devices share: a row each, once however often it is sent."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from typing import Iterator, Optional, Sequence, Set

from app.database.connection import Connection, connect, reported, require_database, require_driver
from app.errors import DatabaseError, OutputError, RejectedRowError, SettingsError
from app.events.delivery import Destination, Message, RefusedError
from app.events.history import History
from app.settings import FleetSettings

EXPIRE_EVERY_S = 3600.0
# A line that was sent before comes again when somebody in it was forgotten, and then says less.
_INSERT = """insert into event (device, log, sequence, time, kind, channel, visit, name, stranger, body)
select %(device)s, %(log)s, (body->>'sequence')::bigint, (body->>'time')::timestamptz, body->>'event', body->>'channel',
  (body->>'visit')::bigint, body->>'name', body->>'stranger', body
from unnest(%(lines)s::text[]) as line, lateral (select line::jsonb) as parsed(body)
on conflict (device, log, sequence, time) do update
set name = excluded.name, stranger = excluded.stranger, body = excluded.body
where event.body is distinct from excluded.body and (excluded.name is null or excluded.name = event.name)"""


class Postgres(Destination):
    """A batch is one statement, and acknowledged when its transaction is on the server's disk."""

    name = "postgres"
    batch = 250

    def __init__(self, settings: FleetSettings, device: str) -> None:
        """Raises SettingsError."""
        require_database(settings)
        require_driver()
        self._settings, self._device = settings, device
        self._connection: Optional[Connection] = None
        self._months: Set[str] = set()
        """Those whose partitions this connection has asked for."""
        self._expire_at = 0.0

    def send(self, messages: Sequence[Message]) -> None:
        with self._opened() as connection:
            for month in {message.record["time"][:7] for message in messages} - self._months:
                connection.execute("select event_partition(%s)", [f"{month}-01"])
                self._months.add(month)
            lines = [_line(message) for message in messages]
            log = messages[0].key.rsplit("/", 2)[1]
            connection.execute(_INSERT, {"device": self._device, "log": log, "lines": lines})

    def rest(self, history: History) -> Optional[float]:
        """Enforces the retention of the fleet, a part at a time, so that no statement takes long."""
        if time.monotonic() >= self._expire_at:
            with self._opened() as connection:
                found = connection.execute("select event_expire()").fetchone()
            self._months.clear()
            self._expire_at = time.monotonic() + (0.1 if found and found[0] else EXPIRE_EVERY_S)
        return max(0.0, self._expire_at - time.monotonic())

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        connection = self._connection
        if connection is not None and not connection.closed:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Connection]:
        """The connection, which every failure closes."""
        try:
            if self._connection is None:
                self._months.clear()
                self._connection = connect(self._settings, self._device)
            with reported(self._settings):
                yield self._connection
        except RejectedRowError as error:
            raise RefusedError(str(error)) from error
        except (DatabaseError, SettingsError) as error:
            self.close()
            raise OutputError(str(error)) from error


def _line(message: Message) -> str:
    """The line of the log as JSON that `jsonb` takes: in text of files' names, what is not UTF-8 becomes visible as
    `\\udcXX`, and a zero byte is left out."""
    text = json.dumps(message.record, ensure_ascii=False)
    text = re.sub("[\ud800-\udfff]", lambda found: f"\\\\u{ord(found[0]):04x}", text)
    return re.sub(r"(?<!\\)((?:\\\\)*)\\u0000", r"\1", text)
