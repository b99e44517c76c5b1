"""Questions about an archive: who is in there, where is a person, what are they called."""

from __future__ import annotations

import contextlib
import heapq
import os
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from app.archive.appearances import Appearance, appearances
from app.archive.faces import ArchivedFaces, archived_faces
from app.archive.job import Job
from app.archive.sheet import Group, Shown, place
from app.errors import OutputError
from app.files import remove_leftovers
from app.gallery.who import one_face_per_name
from app.identity.gates import rejections
from app.identity.grouping import grouped, members, shares_of_pairs
from app.identity.index import PersonIndex
from app.recognizer import Recognizer
from app.settings import QualityLimits
from app.types import Match

GROUPS_FILE, NAMES_FILE = "groups.parquet", "names.parquet"
SHOWN_FACES = 8
"""Of each group, on the page."""


class Found(NamedTuple):
    """A face that resembles the one that is looked for."""

    similarity: float
    file: str
    position_s: Optional[float]
    box: Tuple[float, float, float, float]


def nearest_faces(job: Job, embedding: np.ndarray, limits: QualityLimits, top: int) -> List[Found]:
    """The most similar faces that are good enough to be compared, the most similar first."""
    best: List[Tuple[float, int, Found]] = []
    count = 0
    for part in archived_faces(job):
        part = part[part.good_enough(limits)]
        similarities = part.embeddings @ embedding
        for row in np.argsort(-similarities, kind="stable")[:top].tolist():
            similarity = round(float(similarities[row]), 4)
            count += 1
            entry = (similarity, -count, Found(similarity, part.files[row], part.positions_s[row], _box(part, row)))
            if len(best) < top:
                heapq.heappush(best, entry)
            else:
                heapq.heappushpop(best, entry)
    return [found for _, _, found in sorted(best, key=lambda entry: entry[:2], reverse=True)]


@dataclass(frozen=True, eq=False)
class GroupedFaces:
    """All comparable faces of an archive, the clearest first, and the group of each."""

    parts: List[ArchivedFaces]
    """Without their embeddings."""
    where: np.ndarray
    """N x 2: part and row of each face."""
    groups: np.ndarray
    left_out: int

    def shown(self, most: int, min_faces: int) -> List[Group]:
        """The largest groups."""
        found = []
        for number, rows in enumerate(members(self.groups)[:most], 1):
            if len(rows) < min_faces:
                break
            in_video = dict(map(self._picture, rows.tolist()))
            moments = sum(in_video.values())
            shown = [self._face(row) for row in rows[:SHOWN_FACES].tolist()]
            found.append(Group(_title(number - 1), len(rows), len(in_video) - moments, moments, shown))
        return found

    def in_order(self) -> Iterator[Tuple[ArchivedFaces, int, int]]:
        """Part, row and group of each face, in the order of the archive."""
        order = np.lexsort((self.where[:, 1], self.where[:, 0]))
        for (part, row), group in zip(self.where[order].tolist(), self.groups[order].tolist()):
            yield self.parts[part], row, group

    def seen(self) -> Iterator[Tuple[str, str, Optional[float]]]:
        """Group, file and position of each face, for `appearances`."""
        return ((_title(group), part.files[row], part.positions_s[row]) for part, row, group in self.in_order())

    def like_folders(self) -> Tuple[int, float, float]:
        """Where each folder of pictures is one person, of whom the largest face of each picture is: how many there are;
        and `shares_of_pairs` of these faces."""
        rows = [
            (group, str(PurePosixPath(part.files[row]).parent))
            for part, row, group in self.in_order()
            if part.largest[row] and part.positions_s[row] is None
        ]
        folders, people = np.unique([folder for _, folder in rows], return_inverse=True)
        return (len(folders), *shares_of_pairs(np.array([group for group, _ in rows], np.int64), people))

    def _picture(self, row: int) -> Tuple[Tuple[int, int], bool]:
        """Which one the face is in, and whether that is a moment of a video."""
        part, face = self.where[row].tolist()
        found = self.parts[part]
        return (part, int(found.pictures[face])), found.positions_s[face] is not None

    def _face(self, row: int) -> Shown:
        part, face = self.where[row].tolist()
        found = self.parts[part]
        return Shown(found.files[face], found.positions_s[face], _box(found, face))


def _title(group: int) -> str:
    return f"group {group + 1}"


def faces_by_group(job: Job, limits: QualityLimits, similarity: float) -> GroupedFaces:
    """Clearest first: groups begin with faces whose embeddings are sure."""
    parts: List[ArchivedFaces] = []
    where: List[np.ndarray] = []
    vectors: List[np.ndarray] = []
    left_out = 0
    for part in archived_faces(job):
        rows = part.good_enough(limits)
        left_out += len(part) - len(rows)
        where.append(np.stack([np.full(len(rows), len(parts)), np.arange(len(rows))], axis=1))
        kept = part[rows]
        vectors.append(kept.embeddings)
        parts.append(replace(kept, faces=replace(kept.faces, embeddings=None)))
    if not parts:
        return GroupedFaces([], np.empty((0, 2), np.int64), np.empty(0, np.int64), left_out)
    places = np.concatenate(where)
    quality = [part.quality for part in parts]
    turned = np.concatenate([np.hypot(one.yaw, one.pitch) for one in quality])
    size = np.concatenate([one.size_px for one in quality])
    clarity = np.minimum(size, 112) / 112 * np.cos(np.radians(np.minimum(turned, 90)))
    order = np.argsort(-clarity, kind="stable")
    return GroupedFaces(parts, places[order], grouped(_in_order(vectors, order), similarity), left_out)


def _in_order(vectors: List[np.ndarray], order: np.ndarray) -> np.ndarray:
    """All vectors in this order. The list is emptied meanwhile: they may fill the memory only once."""
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    found = np.empty((len(order), vectors[0].shape[1]), np.float32)
    end = len(order)
    while vectors:
        last = vectors.pop()
        found[places[end - len(last) : end]] = last
        end -= len(last)
    return found


def write_groups(job: Job, found: GroupedFaces) -> None:
    """`groups.parquet`: the group of each face, from 1 for the largest."""
    import pyarrow as arrow

    rows = list(found.in_order())
    table = arrow.table(
        {
            "file": arrow.array([part.files[row] for part, row, _ in rows], arrow.string()),
            "position_s": arrow.array([part.positions_s[row] for part, row, _ in rows], arrow.float64()),
            "face": arrow.array([int(part.numbers[row]) for part, row, _ in rows], arrow.int32()),
            "group": arrow.array([group + 1 for _, _, group in rows], arrow.int32()),
        }
    )
    with _written(job.out / GROUPS_FILE, table.schema) as writer:
        writer.write_table(table)


class PersonFound(NamedTuple):
    """An enrolled person in an archive."""

    name: str
    pictures: int
    moments: int
    """Of videos."""
    best: str
    """Where the person resembles the photos most."""
    similarity: float


def write_names(
    job: Job, recognizer: Recognizer, index: PersonIndex, limits: QualityLimits, gap_s: float
) -> Tuple[List[PersonFound], int, List[Appearance]]:
    """`names.parquet`: the verdict on each face. Returns the people, those who were found most often first, how many
    faces have no name, and when the people are in videos."""
    import pyarrow as arrow

    schema = arrow.schema(
        [
            ("file", arrow.string()),
            ("position_s", arrow.float64()),
            ("face", arrow.int32()),
            ("name", arrow.string()),
            ("reason", arrow.string()),
            ("similarity", arrow.float32()),
            ("nearest", arrow.string()),
            ("confidence", arrow.float32()),
        ]
    )
    pictures: Counter[str] = Counter()
    moments: Counter[str] = Counter()
    best: Dict[str, Tuple[float, str]] = {}
    unnamed = 0

    def named(writer: Any) -> Iterator[Tuple[str, str, Optional[float]]]:
        nonlocal unnamed
        for part in archived_faces(job):
            matches = _verdicts(part, recognizer, index, limits)
            for row, match in enumerate(matches):
                if match.name is None:
                    unnamed += 1
                    continue
                (pictures if part.positions_s[row] is None else moments)[match.name] += 1
                if match.similarity > best.get(match.name, (-2.0, ""))[0]:
                    best[match.name] = match.similarity, place(part.files[row], part.positions_s[row])
                yield match.name, part.files[row], part.positions_s[row]
            writer.write_table(arrow.table(_columns(part, matches), schema=schema))

    with _written(job.out / NAMES_FILE, schema) as writer:
        ranges = list(appearances(named(writer), gap_s))
    people = [
        PersonFound(name, pictures[name], moments[name], best[name][1], round(best[name][0], 4))
        for name, _ in sorted((pictures + moments).items(), key=lambda item: (-item[1], item[0]))
    ]
    return people, unnamed, ranges


def _verdicts(part: ArchivedFaces, recognizer: Recognizer, index: PersonIndex, limits: QualityLimits) -> List[Match]:
    """What a run over these pictures would say of each face."""
    rejected = rejections(part.quality, limits)
    matches = {
        row: Match(None, rejection.reason, measured=rejection.measured, limit=rejection.limit)
        for row, rejection in enumerate(rejected)
        if rejection is not None
    }
    rows = [row for row in range(len(part)) if row not in matches]
    if rows:
        matches.update(zip(rows, recognizer.identify(part.faces, index, rows)))
    verdicts: Dict[int, Match] = {}
    for picture in np.unique(part.pictures).tolist():
        verdicts.update(
            one_face_per_name({row: matches[row] for row in np.flatnonzero(part.pictures == picture).tolist()})
        )
    return [verdicts[row] for row in range(len(part))]


def _columns(part: ArchivedFaces, matches: List[Match]) -> Dict[str, List[Any]]:
    compared = [match if match.candidates else None for match in matches]
    return {
        "file": part.files,
        "position_s": part.positions_s,
        "face": part.numbers.tolist(),
        "name": [match.name for match in matches],
        "reason": [str(match.reason) for match in matches],
        "similarity": [None if match is None else match.similarity for match in compared],
        "nearest": [None if match is None else match.nearest for match in compared],
        "confidence": [match.confidence for match in matches],
    }


@contextlib.contextmanager
def _written(path: Path, schema: Any) -> Iterator[Any]:
    """A Parquet file that appears once it is complete."""
    import pyarrow.parquet as parquet

    remove_leftovers(path.parent)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
                    yield writer
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _box(part: ArchivedFaces, row: int) -> Tuple[float, float, float, float]:
    x1, y1, x2, y2 = np.round(part.faces.boxes[row].astype(float), 1).tolist()
    return x1, y1, x2, y2
