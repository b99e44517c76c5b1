"""Who in the whole fleet resembles a face: enrolled people, and strangers of all devices.

With pgvector the server compares, otherwise the device does, a part of the embeddings at a time. Both compare a face
with every embedding of its embedder, without an approximate index, so that they give the same answer.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from app.database.connection import Connection
from app.database.pgvector import Binary, as_vector, as_vectors, register_binary, server_search
from app.database.strangers import Sighting

_AT_ONCE = 2000
"""Embeddings that are in memory together."""
_ROWS_EACH = 8
"""Of a person, that are looked at first."""


class NearPerson(NamedTuple):
    name: str
    photo: str
    """The file's name of the most similar photo."""
    similarity: float


class NearStranger(NamedTuple):
    person: str
    """The same for all numbers of one person."""
    name: Optional[str]
    similarity: float
    seen: Tuple[Sighting, ...]
    """The latest first."""


class Shared(NamedTuple):
    """What can be compared with faces of an embedder."""

    embedder: str
    photos: int
    strangers: int


class FleetSearch:
    """Compares faces with what the fleet has of one embedder: on the server if it can, unless `by_server` is False."""

    def __init__(self, connection: Connection, embedder: str, by_server: bool = True) -> None:
        self._connection = connection
        self.embedder = embedder
        self.by_server = by_server and server_search(connection).is_on
        if self.by_server:
            register_binary(connection)

    def people(self, faces: np.ndarray, top: int) -> List[List[NearPerson]]:
        """The enrolled people who resemble each face (N x D, of unit length) most, each by the most similar photo."""
        if not self.by_server:
            rows = self._parts(
                "select o.name, p.file_name, e.vector from embedding e join photo p on p.sha256 = e.photo "
                "join person o on o.id = p.person where e.embedder = %s and not p.gone"
            )
            found = _nearest(faces, rows, "<f4", top)
            return [[NearPerson(name, photo, similarity) for name, photo, similarity in one] for one in found]
        self._fill_photos(faces.shape[1])
        query = (
            "select o.name, p.file_name, 1 - n.distance from (select photo, face <=> %s::vector as distance "
            "from search_photo where embedder = %s and face is not null order by 2 limit %s) n "
            "left join photo p on p.sha256 = n.photo and not p.gone left join person o on o.id = p.person "
            "order by n.distance, o.name"
        )
        return [[NearPerson(*row) for row in self._first_of_each(query, face, top)] for face in faces]

    def strangers(self, faces: np.ndarray, top: int) -> List[List[NearStranger]]:
        """The strangers who resemble each face most. Those who are one person are one."""
        if not self.by_server:
            rows = self._parts(
                "select coalesce(s.merged_into, s.id)::text, null, s.prototype from stranger s "
                "where s.embedder = %s and not s.gone and s.expires > now()"
            )
            found = _nearest(faces, rows, "<f2", top)
        else:
            self._fill_strangers(faces.shape[1])
            query = (
                "select coalesce(s.merged_into, s.id)::text, null, 1 - n.distance from (select stranger, "
                "face <=> %s::vector as distance from search_stranger where embedder = %s and face is not null "
                "order by 2 limit %s) n left join stranger s on s.id = n.stranger and not s.gone "
                "and s.expires > now() order by n.distance, 1"
            )
            found = [self._first_of_each(query, face, top) for face in faces]
        seen = self._seen(sorted({one for near in found for one, _, _ in near}))
        return [
            [
                NearStranger(one, next((place.name for place in seen[one]), None), similarity, tuple(seen[one]))
                for one, _, similarity in near
            ]
            for near in found
        ]

    def shared(self) -> List[Shared]:
        """What there is to compare with, by embedder."""
        rows = self._rows(
            "select embedder, sum(photos)::int, sum(strangers)::int from ("
            "select embedder, count(*) as photos, 0 as strangers from embedding group by 1 union all "
            "select embedder, 0, count(*) from stranger where not gone and expires > now() group by 1) one "
            "group by 1 order by 1"
        )
        return [Shared(*row) for row in rows]

    def _first_of_each(self, query: str, face: np.ndarray, top: int) -> List[Tuple[str, Any, float]]:
        """The nearest row of each of the nearest people. The query has a row without anybody for what does not count;
        where somebody has many rows, it is asked for more of them."""
        depth = _ROWS_EACH * top
        while True:
            rows = self._rows(query, as_vector(face), self.embedder, depth)
            nearest: Dict[str, Tuple[str, Any, float]] = {}
            for who, what, similarity in rows:
                if who is not None:
                    nearest.setdefault(who, (who, what, similarity))
            if len(nearest) >= top or len(rows) < depth:
                return list(nearest.values())[:top]
            depth *= _ROWS_EACH

    def _seen(self, people: Sequence[str]) -> Dict[str, List[Sighting]]:
        seen: Dict[str, List[Sighting]] = {one: [] for one in people}
        for row in self._rows(
            "select coalesce(s.merged_into, s.id)::text, coalesce(root.name, s.name), d.name, "
            "'stranger-' || at.number, at.channel, at.first_seen, at.last_seen from stranger s "
            "join stranger_at at on at.stranger = s.id join device d on d.id = at.device "
            "left join stranger root on root.id = s.merged_into "
            "where (s.id = any(%s::uuid[]) or s.merged_into = any(%s::uuid[])) and at.expires > now() "
            "order by at.last_seen desc, d.name, at.number",
            people,
            people,
        ):
            if row[0] in seen:
                seen[row[0]].append(Sighting(*row))
        return seen

    def _fill_photos(self, dimension: int) -> None:
        """Adds what the server lacks. Several devices may do so at once; one that changes or deletes a photo waits for
        a part, and what it has changed meanwhile is not added."""
        last = b""
        while True:
            rows = self._rows(
                "select e.photo, e.vector from embedding e where e.embedder = %s and e.photo > %s and not exists "
                "(select from search_photo s where s.photo = e.photo and s.embedder = e.embedder) "
                "order by e.photo limit %s",
                self.embedder,
                last,
                _AT_ONCE,
            )
            if not rows:
                return
            photos, vectors = zip(*rows)
            last = photos[-1]
            with self._connection.transaction():
                self._connection.execute("select from head for update")
                self._connection.execute(
                    "insert into search_photo(photo, embedder, face) select e.photo, e.embedder, new.face "
                    "from unnest(%s::bytea[], %s::bytea[], %s::vector[]) as new(photo, vector, face) join embedding e "
                    "on e.photo = new.photo and e.embedder = %s and e.vector = new.vector on conflict do nothing",
                    [list(photos), list(vectors), self._vectors(vectors, "<f4", dimension), self.embedder],
                )

    def _fill_strangers(self, dimension: int) -> None:
        """The same. They come in the order of their revisions, so whoever is missing has a later one than all in the
        table had when they were added."""
        ((last,),) = self._rows(
            "select coalesce(max(revision), -1) from search_stranger where embedder = %s", self.embedder
        )
        while True:
            rows = self._rows(
                "select id, prototype, revision, exists (select from search_stranger where stranger = id) "
                "from stranger where embedder = %s and not gone and revision > %s order by revision limit %s",
                self.embedder,
                last,
                _AT_ONCE,
            )
            if not rows:
                return
            last = rows[-1][2]
            missing = [row for row in rows if not row[3]]
            if not missing:
                continue
            ids, prototypes, revisions, _ = zip(*missing)
            with self._connection.transaction():
                self._connection.execute("select from stranger_head for update")
                self._connection.execute(
                    "insert into search_stranger(stranger, embedder, revision, face) select s.id, s.embedder, "
                    "new.revision, new.face from unnest(%s::uuid[], %s::bytea[], %s::bigint[], %s::vector[]) "
                    "as new(id, prototype, revision, face) join stranger s on s.id = new.id "
                    "and s.prototype = new.prototype on conflict do nothing",
                    [list(ids), list(prototypes), list(revisions), self._vectors(prototypes, "<f2", dimension)],
                )

    def _vectors(self, stored: Sequence[bytes], kind: str, dimension: int) -> Binary:
        ((oid,),) = self._rows("select 'vector'::regtype::oid")
        return as_vectors(unit_rows(stored, kind, dimension), oid)

    def _parts(self, query: str) -> Iterator[List[Tuple[Any, ...]]]:
        """The rows of a query about this embedder, a part at a time, so that not all are in memory."""
        with self._connection.transaction(), self._connection.cursor("parts", binary=True) as cursor:
            cursor.execute(query.encode(), [self.embedder])
            while True:
                rows = cursor.fetchmany(_AT_ONCE)
                if not rows:
                    return
                yield rows

    def _rows(self, query: str, *values: Any) -> List[Tuple[Any, ...]]:
        return self._connection.execute(query.encode(), values, binary=True).fetchall()


def _nearest(
    faces: np.ndarray, parts: Iterator[List[Tuple[Any, ...]]], kind: str, top: int
) -> List[List[Tuple[str, Any, float]]]:
    """By face: who resembles it most, with what belongs to the most similar embedding."""
    best: List[Dict[str, Tuple[float, Any]]] = [{} for _ in faces]
    for rows in parts:
        similarities = unit_rows([row[2] for row in rows], kind, faces.shape[1]) @ faces.T
        for near, column in zip(best, similarities.T):
            least = min(value for value, _ in near.values()) if len(near) == top else -1.1
            for at in np.flatnonzero(column >= least).tolist():
                who, what, _ = rows[at]
                similarity = float(column[at])
                if who not in near or similarity > near[who][0]:
                    near[who] = similarity, what
            ranked = sorted(near.items(), key=lambda item: (-item[1][0], item[0]))
            near.clear()
            near.update(ranked[:top])
    return [[(who, what, similarity) for who, (similarity, what) in near.items()] for near in best]


def unit_rows(stored: Sequence[bytes], kind: str, dimension: int) -> np.ndarray:
    """Stored embeddings (N x D, float32) at unit length; rows of NaN for what is no such embedding."""
    nothing = np.full(dimension, np.nan, kind).tobytes()
    content = b"".join(one if len(one) == len(nothing) else nothing for one in stored)
    rows = np.frombuffer(content, kind).astype(np.float32).reshape(len(stored), dimension)
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.where(np.isfinite(norms) & (norms > 0), rows / norms, np.nan).astype(np.float32)
