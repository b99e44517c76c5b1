"""The tables of strangers: what devices know of them, and who is one person."""

from __future__ import annotations

import contextlib
from datetime import datetime, timezone
from typing import Any, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from app.database.connection import Connection

CHANNEL = "strangers"
"""Of LISTEN."""
MERGER_LOCK = 7161447
"""First key of the advisory lock of the one merger; the second one is of its embedder."""
MAX_COMPARED = 20_000
"""Strangers, the last seen ones, that a new one is compared with."""
COMPARED_AT_ONCE = 1000
KEEP_GONE_DAYS = 90
_TIMES = (
    "least(%(first_seen)s, now()), least(%(last_seen)s, now()), "
    "least(%(last_seen)s, now()) + make_interval(secs => %(keep_s)s)"
)


class StrangerRow(NamedTuple):
    id: str
    embedder: str
    prototype: Optional[bytes]
    """None: the stranger is gone."""
    weight: float
    """0: a device has taken its looks away, and those that still keep the stranger have to send theirs."""
    looks: int
    name: Optional[str]
    """Of the one who survives."""
    survivor: str
    where: Optional[str]
    """The other device that saw the stranger last, and the channel. None: no other keeps the stranger."""
    first_seen: float
    last_seen: float
    """There; 0 if no other device keeps the stranger."""


class SeenStranger(NamedTuple):
    """What a device has seen of a stranger."""

    id: str
    number: int
    channel: str
    embedder: str
    prototype: bytes
    weight: float
    looks: int
    first_seen: float
    last_seen: float
    expires: float


class Pair(NamedTuple):
    low: str
    high: str
    same: bool


class Sighting(NamedTuple):
    person: str
    name: Optional[str]
    device: str
    stranger: str
    channel: str
    first_seen: datetime
    last_seen: datetime


class SharedStrangers:
    def __init__(self, connection: Connection, device: str) -> None:
        self._connection = connection
        self._device = device

    def seen(self, stranger: SeenStranger) -> bool:
        """Adds or updates a stranger. False: the stranger is gone, and stays so; nothing was changed.

        A time that is not over yet, of a device whose clock is ahead, becomes now: no one is kept for longer."""
        facts = {
            **stranger._asdict(),
            "device": self._device,
            "first_seen": _time(stranger.first_seen),
            "last_seen": _time(stranger.last_seen),
            "keep_s": stranger.expires - stranger.last_seen,
        }
        with self._changing():
            kept = self._connection.execute(
                "insert into stranger(id, embedder, prototype, weight, looks, first_seen, last_seen, expires) values "
                f"(%(id)s, %(embedder)s, %(prototype)s, %(weight)s, %(looks)s, {_TIMES}) on conflict (id) do update "
                "set prototype = case when excluded.weight > stranger.weight and excluded.embedder = stranger.embedder "
                "then excluded.prototype else stranger.prototype end, "
                "compared = stranger.compared and excluded.weight <= stranger.weight, "
                "weight = greatest(stranger.weight, excluded.weight), "
                "looks = greatest(stranger.looks, excluded.looks), "
                "first_seen = least(stranger.first_seen, excluded.first_seen), "
                "last_seen = greatest(stranger.last_seen, excluded.last_seen), "
                "expires = greatest(stranger.expires, excluded.expires) where not stranger.gone returning 1",
                facts,
            ).fetchall()
            if not kept:
                return False
            self._connection.execute(
                "insert into stranger_at(device, number, stranger, channel, first_seen, last_seen, expires) values "
                f"(%(device)s, %(number)s, %(id)s, %(channel)s, {_TIMES}) on conflict (device, number) do update set "
                "stranger = excluded.stranger, channel = excluded.channel, first_seen = excluded.first_seen, "
                "last_seen = excluded.last_seen, expires = excluded.expires",
                facts,
            )
        return True

    def registration(self) -> Tuple[str, int, float]:
        """When the database got to know this device, which changes if it was removed, the revision of strangers, and
        the time there."""
        ((known_since, revision, now),) = self._rows(
            "select coalesce((select extract(epoch from first_seen)::text from device where id = %s), ''), revision, "
            "extract(epoch from now())::double precision from stranger_head",
            self._device,
        )
        return str(known_since), int(revision), float(now)

    def numbers(self) -> List[int]:
        """Those that the database has of this device."""
        return [number for (number,) in self._rows("select number from stranger_at where device = %s", self._device)]

    def forgotten_until(self, stranger: str) -> Optional[float]:
        """When a stranger was seen last whom people have forgotten on all devices; None for others, and later."""
        rows = self._rows(
            "select extract(epoch from last_seen)::double precision from stranger "
            "where id = %s and gone and expires > now()",
            stranger,
        )
        return float(rows[0][0]) if rows else None

    def leave(self, number: int) -> None:
        """This device keeps nothing of this stranger any more. Whom no device keeps is gone; of others, what this
        device has seen is removed."""
        with self._changing():
            left = self._rows(
                "delete from stranger_at where device = %s and number = %s returning stranger", self._device, number
            )
            self._delete_unseen(forgotten=True)
            for (stranger,) in left:
                self._connection.execute(
                    "update stranger s set prototype = decode(repeat('00', length(prototype)), 'hex'), weight = 0, "
                    "first_seen = at.first_seen, last_seen = at.last_seen, expires = at.expires from (select "
                    "min(first_seen) as first_seen, max(last_seen) as last_seen, max(expires) as expires "
                    "from stranger_at where stranger = %s) at where s.id = %s and not s.gone",
                    [stranger, stranger],
                )

    def decide(self, one: str, other: str, same: bool, by_person: bool) -> None:
        """Says that two are one person, or are not. Of two decisions, that of a person counts, or the later one."""
        low, high = sorted((one, other))
        with self._changing():
            changed = self._rows(
                "insert into stranger_pair as known(low, high, same, by_person) values (%s, %s, %s, %s) "
                "on conflict (low, high) do update set same = excluded.same, by_person = excluded.by_person, "
                "decided_at = excluded.decided_at where known.same <> excluded.same "
                "and (excluded.by_person or not known.by_person) returning 1",
                *(low, high, same, by_person),
            )
            if changed:
                self._unresolved()

    def name(self, stranger: str, name: Optional[str]) -> None:
        with self._changing():
            if self._rows(
                "update stranger set name = %s where id = %s and not gone and name is distinct from %s returning 1",
                *(name, stranger, name),
            ):
                self._unresolved()

    def changes(self, since: int, last_seen: float) -> Tuple[List[StrangerRow], int]:
        """Who was seen since then, is gone or has to be sent again, with a later revision; and the revision up to which
        this is complete."""
        with self._connection.transaction():
            self._connection.execute("set transaction isolation level repeatable read, read only")
            rows = self._rows(
                "select s.id::text, s.embedder, s.prototype, s.weight, s.looks, "
                "coalesce(root.name, s.name), coalesce(s.merged_into, s.id)::text, there.place, "
                "coalesce(extract(epoch from there.first_seen), 0)::double precision, "
                "coalesce(extract(epoch from there.last_seen), 0)::double precision "
                "from stranger s left join stranger root on root.id = s.merged_into left join lateral ("
                "select d.name || '/' || a.channel as place, a.first_seen, a.last_seen from stranger_at a "
                "join device d on d.id = a.device where a.stranger = s.id and a.device::text <> %s "
                "order by a.last_seen desc limit 1) there on true "
                "where s.revision > %s and (s.last_seen >= %s or s.gone or s.name is not null "
                "or s.merged_into is not null or s.weight = 0) order by s.revision",
                self._device,
                since,
                _time(last_seen),
            )
            ((revision,),) = self._rows("select revision from stranger_head")
        return [StrangerRow(*row) for row in rows], int(revision)

    def is_merger(self, embedder: str) -> bool:
        """Whether this connection is the one that compares; it stays so until it is closed."""
        held = self._rows(
            "select 1 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and classid = %s "
            "and objid::bigint = (hashtext(%s)::bigint & 4294967295)",
            MERGER_LOCK,
            embedder,
        )
        if held:
            return True
        ((got,),) = self._rows("select pg_try_advisory_lock(%s, hashtext(%s))", MERGER_LOCK, embedder)
        return bool(got)

    def to_compare(self, embedder: str) -> List[Tuple[str, bytes, int]]:
        """Prototypes and revisions of those who have not been compared yet."""
        rows = self._rows(
            "select id::text, prototype, revision from stranger where embedder = %s and not compared and not gone "
            "order by id limit %s",
            embedder,
            COMPARED_AT_ONCE,
        )
        return [(stranger, bytes(prototype), int(at)) for stranger, prototype, at in rows]

    def compared_with(self, embedder: str) -> Iterator[List[Tuple[str, bytes]]]:
        """Prototypes of those whom new ones are compared with, a part at a time, so that not all are in memory."""
        with self._connection.transaction(), self._connection.cursor("compared_with") as cursor:
            cursor.execute(
                b"select id::text, prototype from stranger where embedder = %s and not gone "
                b"order by last_seen desc limit %s",
                [embedder, MAX_COMPARED],
            )
            while True:
                rows = cursor.fetchmany(COMPARED_AT_ONCE)
                if not rows:
                    return
                yield [(stranger, bytes(prototype)) for stranger, prototype in rows]

    def compared(self, revisions: Mapping[str, int]) -> None:
        """These need no comparison until they change. Who has changed after this revision still does."""
        with self._changing():
            self._connection.execute(
                "update stranger s set compared = true from unnest(%s::uuid[], %s::bigint[]) as done(id, revision) "
                "where s.id = done.id and s.revision = done.revision",
                [list(revisions), list(revisions.values())],
            )

    def is_unresolved(self) -> bool:
        return bool(self._rows("select 1 from stranger_head where unresolved"))

    @contextlib.contextmanager
    def resolving(self) -> Iterator[Tuple[Mapping[str, Optional[str]], List[Pair]]]:
        """Names by id of those who are not gone and may be one person with others, and all pairs, while no one changes
        them."""
        with self._changing():
            living = self._rows(
                "select id::text, name from stranger where not gone and (merged_into is not null "
                "or id in (select low from stranger_pair union all select high from stranger_pair))"
            )
            pairs = self._rows("select low::text, high::text, same from stranger_pair")
            yield dict(living), [Pair(*row) for row in pairs]
            self._connection.execute("update stranger_head set unresolved = false")

    def store_survivors(self, survivors: Mapping[str, str]) -> None:
        """Keeps who is whom; only what is different is written."""
        self._connection.execute(
            "update stranger s set merged_into = nullif(wanted.survivor, s.id) "
            "from unnest(%s::uuid[], %s::uuid[]) as wanted(id, survivor) "
            "where s.id = wanted.id and s.merged_into is distinct from nullif(wanted.survivor, s.id)",
            [list(survivors), list(survivors.values())],
        )

    def expire(self) -> None:
        """Deletes what is older than the devices said that they keep it."""
        with self._changing():
            self._connection.execute("delete from stranger_at where expires < now()")
            self._delete_unseen()
            self._connection.execute(
                "delete from stranger where gone and last_seen < now() - make_interval(days => %s)", [KEEP_GONE_DAYS]
            )
            self._connection.execute(
                "delete from stranger_pair where not exists (select from stranger where id in (low, high))"
            )

    def sightings(self, devices: int = 1) -> List[Sighting]:
        """Where everybody was who was seen by at least so many devices, the latest first."""
        rows = self._rows(
            "select person::text, name, device, stranger, channel, first_seen, last_seen from stranger_seen "
            "where person in (select person from stranger_seen group by 1 having count(distinct device) >= %s) "
            "order by max(last_seen) over (partition by person) desc, person, first_seen",
            devices,
        )
        return [Sighting(*row) for row in rows]

    def remove_device(self) -> int:
        """Deletes the row of this device, with its conflicts and its numbers. How many strangers only it had kept."""
        with self._connection.transaction():
            # As every change of the gallery does: photos that were changed by this device refer to it.
            self._connection.execute("select from head for update")
            self._connection.execute("select from stranger_head for update")
            self._connection.execute("delete from device where id = %s", [self._device])
            return self._delete_unseen()

    def _delete_unseen(self, forgotten: bool = False) -> int:
        """Who is gone before the time is up was forgotten."""
        gone = self._rows(
            "update stranger set gone = true, prototype = null, name = null, merged_into = null, "
            "expires = case when %s then expires else least(expires, now()) end where not gone "
            "and not exists (select from stranger_at where stranger = stranger.id) returning 1",
            forgotten,
        )
        if gone:
            self._unresolved()
        return len(gone)

    def _unresolved(self) -> None:
        self._connection.execute("update stranger_head set unresolved = true")
        self._connection.execute(f"select pg_notify('{CHANNEL}', '')".encode())

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with self._connection.transaction():
            self._connection.execute("select from stranger_head for update")
            yield

    def _rows(self, query: str, *values: Any) -> List[Tuple[Any, ...]]:
        return self._connection.execute(query.encode(), values).fetchall()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
