"""The tables of the shared gallery: what devices ask them, and how they change them.

Every change is a transaction that begins with the lock of `head`: one change at a time, in the order of revisions.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Collection, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Union

from app.database.connection import Connection
from app.database.ids import new_id

KEEP_DELETIONS_DAYS = 90
"""A device that was away for longer reads everything again."""
KEEP_NOTICES_DAYS = 30
CHANNEL = "gallery"
"""Of LISTEN: a doorbell without content. A device that misses it reads the revisions a little later."""


class Head(NamedTuple):
    database: str
    revision: int
    oldest: int


class PersonRow(NamedTuple):
    id: str
    name: Optional[str]
    """None: the person was deleted."""
    revision: int


class PhotoRow(NamedTuple):
    sha256: str
    person: Optional[str]
    """None: the photo was deleted."""
    file_name: str
    revision: int


class Changes(NamedTuple):
    people: List[PersonRow]
    photos: List[PhotoRow]
    revision: int
    """Up to here this is complete."""
    is_everything: bool
    """Deletions since then are not remembered any more: who and what is not here is not in the database."""


@dataclass(frozen=True)
class Accepted:
    """The change is in the database, or was already."""

    person: str
    name: str
    person_revision: int
    revision: int
    """Of the photo, or of the person if the change was about the person."""


@dataclass(frozen=True)
class Differs:
    """Another device has changed it meanwhile. Nothing was changed."""

    theirs: str
    """The name that it has in the database."""
    person: str
    person_revision: int
    revision: int


@dataclass(frozen=True)
class Deleted:
    """It was deleted meanwhile, which wins."""


Outcome = Union[Accepted, Differs, Deleted]


class NewRow(NamedTuple):
    """A photo to be shared."""

    sha256: str
    file_name: str
    data: bytes
    crop: Optional[bytes]


class ConflictRow(NamedTuple):
    device: str
    is_own: bool
    kind: str
    """`photo`, `person`, or `deleted`: a photo was not added, because it had been deleted."""
    mine: str
    theirs: str


class Size(NamedTuple):
    people: int
    photos: int
    megabytes: float
    embeddings: List[Tuple[str, int]]
    """By embedder."""


class SharedGallery:
    """The gallery as a device sees it. `device` is its id, which has a row."""

    def __init__(self, connection: Connection, device: str) -> None:
        self._connection = connection
        self._device = device

    def head(self) -> Head:
        return Head(*self._row("select id::text, revision, oldest from head"))

    def changes(self, since: int, waiting: Collection[str] = ()) -> Changes:
        """What has a later revision, and these photos, in the order of revisions."""
        with self._connection.transaction():
            self._connection.execute("set transaction isolation level repeatable read, read only")
            head = self.head()
            is_everything = since < head.oldest
            since = 0 if is_everything else since
            people = self._rows("select id::text, name, revision from person where revision > %s order by 3", since)
            photos = self._rows(
                "select encode(sha256, 'hex'), person::text, file_name, revision from photo "
                "where revision > %s or sha256 = any(%s) order by 4",
                since,
                [bytes.fromhex(sha256) for sha256 in waiting],
            )
        return Changes(
            [PersonRow(*row) for row in people], [PhotoRow(*row) for row in photos], head.revision, is_everything
        )

    def data(self, sha256: str) -> Optional[bytes]:
        """The bytes of a photo; None if it was deleted meanwhile."""
        rows = self._rows("select data from photo where sha256 = %s", bytes.fromhex(sha256))
        return None if not rows or rows[0][0] is None else bytes(rows[0][0])

    def add(self, photo: NewRow, name: str, known: Optional[str]) -> Outcome:
        """Shares a photo. `known` is the person's id, if the device knows one.

        A photo that another device has deleted, or one of a person who was deleted, is refused: the device had not
        heard of it. The device that deleted a photo may add it again.
        """
        with self._changing():
            if known is not None and self._rows(
                "select 1 from person where id = %s and deleted and changed_by is distinct from %s", known, self._device
            ):
                return Deleted()
            found = self._rows(
                "select p.gone, p.changed_by::text, p.revision, o.id::text, o.name, o.revision from photo p "
                "left join person o on o.id = p.person where p.sha256 = %s",
                bytes.fromhex(photo.sha256),
            )
            if found:
                gone, changed_by, revision, person, theirs, person_revision = found[0]
                if gone and changed_by != self._device:
                    return Deleted()
                if not gone and theirs == name:
                    return Accepted(person, name, person_revision, revision)
                if not gone:
                    return Differs(theirs, person, person_revision, revision)
            person, person_revision = self._person(name)
            (revision,) = self._row(
                "insert into photo(sha256, person, file_name, data, crop, changed_by) values (%s, %s, %s, %s, %s, %s) "
                "on conflict (sha256) do update set person = excluded.person, file_name = excluded.file_name, "
                "data = excluded.data, crop = excluded.crop, gone = false, changed_by = excluded.changed_by, "
                "changed_at = now() returning revision",
                bytes.fromhex(photo.sha256),
                person,
                photo.file_name,
                photo.data,
                photo.crop,
                self._device,
            )
        return Accepted(person, name, person_revision, revision)

    def remove(self, sha256: str) -> None:
        """Deletes a photo, with everything that was computed of it; only that it was deleted stays for a while."""
        with self._changing():
            found = self._rows("select person::text from photo where sha256 = %s and not gone", bytes.fromhex(sha256))
            if not found:
                return
            self._connection.execute(
                "update photo set gone = true, person = null, data = null, crop = null, file_name = '', "
                "changed_by = %s, changed_at = now() where sha256 = %s",
                [self._device, bytes.fromhex(sha256)],
            )
            self._connection.execute("delete from embedding where photo = %s", [bytes.fromhex(sha256)])
            self._forget_without_photos(found[0][0], deleted=True)

    def move(self, sha256: str, name: str, base: int) -> Outcome:
        """Makes it a photo of another person, unless it was changed after revision `base`."""
        with self._changing():
            found = self._rows(
                "select p.revision, o.id::text, o.name, o.revision from photo p join person o on o.id = p.person "
                "where p.sha256 = %s",
                bytes.fromhex(sha256),
            )
            if not found:
                return Deleted()
            revision, before, theirs, person_revision = found[0]
            if theirs == name:
                return Accepted(before, name, person_revision, revision)
            if revision != base:
                return Differs(theirs, before, person_revision, revision)
            person, person_revision = self._person(name)
            (revision,) = self._row(
                "update photo set person = %s, changed_by = %s, changed_at = now() where sha256 = %s "
                "returning revision",
                person,
                self._device,
                bytes.fromhex(sha256),
            )
            self._forget_without_photos(before, deleted=False)
        return Accepted(person, name, person_revision, revision)

    def rename(self, person: str, name: str, base: int) -> Outcome:
        """Gives a person another name, unless that was changed after revision `base`. Where another person has the
        name, both become one."""
        with self._changing():
            found = self._rows("select name, revision from person where id = %s and not gone", person)
            if not found:
                return Deleted()
            theirs, revision = found[0]
            if theirs == name:
                return Accepted(person, name, revision, revision)
            if revision != base:
                return Differs(theirs, person, revision, revision)
            other = self._rows("select id::text, revision from person where name = %s and not gone", name)
            if other:
                target, revision = other[0]
                self._connection.execute(
                    "update photo set person = %s, changed_by = %s, changed_at = now() where person = %s",
                    [target, self._device, person],
                )
                self._forget_without_photos(person, deleted=False)
                return Accepted(target, name, revision, revision)
            (revision,) = self._row(
                "update person set name = %s, changed_by = %s, changed_at = now() where id = %s returning revision",
                name,
                self._device,
                person,
            )
        return Accepted(person, name, revision, revision)

    def allow_again(self, sha256: str) -> bool:
        """Forgets that a photo was deleted, so that it can be added; whether it was."""
        with self._changing():
            return bool(self._rows("delete from photo where sha256 = %s and gone returning 1", bytes.fromhex(sha256)))

    def without_embedding(self, embedder: str) -> List[str]:
        """Photos of which this embedder's embedding is not shared yet."""
        rows = self._rows(
            "select encode(sha256, 'hex') from photo where not gone and not exists "
            "(select from embedding where photo = sha256 and embedder = %s)",
            embedder,
        )
        return [sha256 for (sha256,) in rows]

    def add_embedding(self, sha256: str, embedder: str, vector: bytes) -> None:
        """Does nothing for a photo that is deleted at the same time: the lock waits for that."""
        self._connection.execute(
            "insert into embedding(photo, embedder, vector) "
            "select sha256, %s, %s from photo where sha256 = %s and not gone for share on conflict do nothing",
            [embedder, vector, bytes.fromhex(sha256)],
        )

    def keep_conflicts(self, conflicts: Iterable[Tuple[str, str, str, str]]) -> None:
        """Shows exactly these conflicts of this device, as (subject, kind, mine, theirs). Notices stay for a while, if
        the photo was not added again."""
        wanted = list(conflicts)
        with self._connection.transaction():
            self._connection.execute(
                "delete from conflict where device = %s and subject <> all(%s) and (kind <> 'deleted' "
                "or recorded_at < now() - make_interval(days => %s) "
                "or subject in (select 'photo ' || encode(sha256, 'hex') from photo where not gone))",
                [self._device, [subject for subject, *_ in wanted], KEEP_NOTICES_DAYS],
            )
            for row in wanted:
                self._connection.execute(
                    "insert into conflict(device, subject, kind, mine, theirs) values (%s, %s, %s, %s, %s) "
                    "on conflict (device, subject) do update set kind = excluded.kind, mine = excluded.mine, "
                    "theirs = excluded.theirs",
                    [self._device, *row],
                )

    def notice(self, subject: str, mine: str) -> None:
        """Shows for a while that a change of this device was not made, because a deletion wins."""
        self._connection.execute(
            "insert into conflict(device, subject, kind, mine, theirs) values (%s, %s, 'deleted', %s, '') "
            "on conflict (device, subject) do update set kind = 'deleted', mine = excluded.mine, theirs = '', "
            "recorded_at = now()",
            [self._device, subject, mine],
        )

    def conflicts(self) -> List[ConflictRow]:
        """Of all devices."""
        rows = self._rows(
            "select d.name, d.id::text = %s, c.kind, c.mine, c.theirs from conflict c join device d on d.id = c.device "
            "order by d.name, c.recorded_at, c.subject",
            self._device,
        )
        return [ConflictRow(*row) for row in rows]

    def size(self) -> Size:
        people, photos, megabytes = self._row(
            "select count(distinct person), count(*), coalesce(sum(length(data) + coalesce(length(crop), 0)), 0) / 1e6 "
            "from photo where not gone"
        )
        embeddings = self._rows("select embedder, count(*) from embedding group by 1 order by 1")
        return Size(people, photos, float(megabytes), [(embedder, count) for embedder, count in embeddings])

    def forget_old_deletions(self) -> None:
        with self._changing():
            self._connection.execute(
                "with old as (delete from photo where gone and changed_at < now() - make_interval(days => %(days)s) "
                "returning revision), people as (delete from person where gone and changed_at < now() - "
                "make_interval(days => %(days)s) returning revision) update head set oldest = greatest(oldest, "
                "(select max(revision) from (select * from old union all select * from people) deleted))",
                {"days": KEEP_DELETIONS_DAYS},
            )

    def _person(self, name: str) -> Tuple[str, int]:
        """The id and the revision of the person with this name, who is made if there is none."""
        found = self._rows("select id::text, revision from person where name = %s and not gone", name)
        if found:
            return str(found[0][0]), int(found[0][1])
        row = self._row(
            "insert into person(id, name, changed_by) values (%s, %s, %s) returning id::text, revision",
            new_id(),
            name,
            self._device,
        )
        return str(row[0]), int(row[1])

    def _forget_without_photos(self, person: str, deleted: bool) -> None:
        """A person without photos has no name in the database any more."""
        self._connection.execute(
            "update person set gone = true, deleted = %s, name = null, changed_by = %s, changed_at = now() "
            "where id = %s and not gone and not exists (select from photo where photo.person = person.id)",
            [deleted, self._device, person],
        )

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with self._connection.transaction():
            self._connection.execute("select from head for update")
            yield

    def _rows(self, query: str, *values: Any) -> List[Tuple[Any, ...]]:
        return self._connection.execute(query.encode(), values).fetchall()

    def _row(self, query: str, *values: Any) -> Tuple[Any, ...]:
        (row,) = self._rows(query, *values)
        return row
