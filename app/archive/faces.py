"""The faces of an archive, part after part, as arrays."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

import numpy as np

from app.archive.job import MANIFEST_FILE, Job, stored_job
from app.archive.parts import CORNERS, part_files, require_pyarrow
from app.archive.rows import QUALITIES
from app.errors import AppError
from app.identity.gates import rejections
from app.settings import QualityLimits, Settings
from app.types import FaceQuality, Faces

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ArchivedFaces:
    """Faces of one part as parallel arrays."""

    files: List[str]
    """The picture of each face, relative to the root of the archive."""
    positions_s: List[Optional[float]]
    pictures: np.ndarray
    """N: the row of the part that the face is in."""
    numbers: np.ndarray
    """N: which face of its picture it is, from 0."""
    largest: np.ndarray
    """N: whether it is the largest face of its picture."""
    faces: Faces
    quality: FaceQuality

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: np.ndarray) -> ArchivedFaces:
        return ArchivedFaces(
            [self.files[row] for row in rows],
            [self.positions_s[row] for row in rows],
            self.pictures[rows],
            self.numbers[rows],
            self.largest[rows],
            self.faces[rows],
            self.quality[rows],
        )

    @property
    def embeddings(self) -> np.ndarray:
        assert self.faces.embeddings is not None
        return self.faces.embeddings

    def good_enough(self, limits: QualityLimits) -> np.ndarray:
        """The rows that pass the quality gates."""
        return np.flatnonzero([rejection is None for rejection in rejections(self.quality, limits)])


def open_archive(out: Path, settings: Settings, embedder_id: str) -> Job:
    """Raises AppError if there is no archive, or if its embeddings are of another embedder."""
    require_pyarrow()
    job = stored_job(out, settings)
    if job.facts["embedder"] != embedder_id:
        raise AppError(
            f"{out}: its faces were embedded with {job.facts['embedder']}, which cannot be compared with "
            f"{embedder_id}; pass --embedder"
        )
    if not (out / MANIFEST_FILE).exists():
        logger.warning("%s is not complete: only finished parts are looked at", out)
    return job


def archived_faces(job: Job) -> Iterator[ArchivedFaces]:
    """One part after the other; those without faces are left out."""
    for path in part_files(job.out):
        found = _read(path)
        if len(found):
            yield found


def _read(path: Path) -> ArchivedFaces:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path, columns=["file", "position_s", "faces"]).combine_chunks()
    except (OSError, arrow.ArrowInvalid) as error:
        raise AppError(f"{path}: damaged ({error}); delete it, and run the batch again") from error
    lists = table["faces"].combine_chunks()
    pictures, numbers = face_places(lists)
    flat = lists.flatten()
    files, positions = table["file"].to_pylist(), table["position_s"].to_pylist()

    def numbers_of(column: str, shape: Tuple[int, ...] = ()) -> np.ndarray:
        values = flat.field(column)
        values = values.flatten() if shape else values
        return np.asarray(values.to_numpy(zero_copy_only=False), np.float32).reshape(len(flat), *shape)

    score = numbers_of("score")
    dimension = flat.type.field("embedding").type.list_size
    embeddings = numbers_of("embedding", (dimension,))
    lengths = np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-9)
    measured = flat.field("quality")
    columns = {name: measured.field(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in QUALITIES}
    assert {*columns, "score"} == {field.name for field in fields(FaceQuality)}
    faces = Faces(np.stack([numbers_of(name) for name in CORNERS], axis=1), score, numbers_of("landmarks", (5, 2)))
    return ArchivedFaces(
        [files[row] for row in pictures],
        [positions[row] for row in pictures],
        pictures,
        numbers,
        _largest(pictures, faces.boxes),
        # 16 bits shorten them a little.
        replace(faces, embeddings=np.asarray(embeddings / lengths, np.float32)),
        FaceQuality(score=score, **columns),
    )


def face_places(lists: Any) -> Tuple[np.ndarray, np.ndarray]:
    """The row of each face of the column `faces`, and which face of that row it is, from 0."""
    counts = lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    pictures = np.repeat(np.arange(len(counts)), counts)
    return pictures, np.arange(len(pictures)) - np.repeat(np.cumsum(counts) - counts, counts)


def _largest(pictures: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """N: whether a face is the largest one of its picture, the first one of several."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.lexsort((-areas, pictures))
    found = np.zeros(len(pictures), bool)
    found[order] = np.diff(pictures[order], prepend=-1) != 0
    return found
