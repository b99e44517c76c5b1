"""Parts: the rows of a shard as a Parquet file, whose bytes follow from the rows."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Sequence

import numpy as np

from app.archive.job import Job
from app.archive.rows import QUALITIES, Row
from app.errors import AppError, OutputError
from app.text import install_hint

if TYPE_CHECKING:
    import pyarrow

CORNERS = ("x1", "y1", "x2", "y2")
TEMPORARY = ".part-*.tmp"
DECIMALS = {"box": 2, "landmarks": 2, "score": 4, "quality": 4}
"""More would be noise, and would not compress."""


@dataclass(frozen=True)
class Part:
    """A finished part, as the manifest lists it."""

    file: str
    rows: int
    faces: int
    errors: int
    sha256: str

    def as_json(self) -> Dict[str, Any]:
        return asdict(self)


def require_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        if importlib.util.find_spec("pyarrow") is not None:
            raise AppError(f"archives need pyarrow, for Parquet, which cannot be imported: {error}") from error
        # PyAV is for videos.
        packages = ["pyarrow", *([] if importlib.util.find_spec("av") else ["av"])]
        raise AppError(f"archives need pyarrow, for Parquet; install with:\n  {install_hint(*packages)}") from error


def write_part(job: Job, number: int, rows: Sequence[Row], dimension: int) -> Part:
    """Raises OutputError, also where the disk is full; then there is no file."""
    import pyarrow.parquet as parquet

    path = job.part(number)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp")
    table = _table(rows, dimension, job.embeddings)
    counts = {"job": job.name, "faces": str(sum(len(row.faces) for row in rows))}
    counts["errors"] = str(sum(row.error is not None for row in rows))
    table = table.replace_schema_metadata(counts)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            parquet.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        part = described(temporary)
        temporary.replace(path)
    except (OSError, AppError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if path.exists():  # another run made it, and cleaned up
            return described(path)
        if isinstance(error, AppError):
            raise
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    return Part(path.name, part.rows, part.faces, part.errors, part.sha256)


def described(path: Path, job: str = "", with_hash: bool = True) -> Part:
    """Reads the counts and the hash of a part. Raises AppError if it is none, or of another job than this one."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while with_hash and (block := file.read(1 << 20)):
                digest.update(block)
        facts = parquet.read_metadata(path)
        counts = facts.metadata or {}
        if job and counts[b"job"].decode() != job:
            raise AppError(f"{path}: belongs to another job; use another --out")
        return Part(
            path.name,
            facts.num_rows,
            int(counts[b"faces"]),
            int(counts[b"errors"]),
            digest.hexdigest() if with_hash else "",
        )
    except (OSError, KeyError, ValueError, arrow.ArrowInvalid) as error:
        raise AppError(f"{path}: damaged ({error}); delete it, and run the batch again") from error


def part_files(out: Path) -> List[Path]:
    return sorted(out.glob("part-*.parquet"))


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Dict[str, Any]]:
    """The rows of a part with these columns."""
    import pyarrow.parquet as parquet

    yield from parquet.read_table(path, columns=list(columns)).to_pylist()


def _table(rows: Sequence[Row], dimension: int, embeddings: str) -> pyarrow.Table:
    import pyarrow as arrow

    counts = [len(row.faces) for row in rows]
    offsets = arrow.array(np.cumsum([0, *counts]), arrow.int32())

    def column(name: str, shape: Sequence[int] = ()) -> np.ndarray:
        parts = [getattr(row.faces, name) for row in rows if len(row.faces)]
        return np.concatenate(parts) if parts else np.empty((0, *shape), np.float32)

    def floats(values: np.ndarray, kind: str) -> pyarrow.Array:
        return arrow.array(np.round(values.astype(np.float64), DECIMALS[kind]).astype(np.float32))

    boxes = column("boxes", (4,))
    measured = [row.quality for row in rows if row.quality is not None]
    qualities = [
        floats(np.concatenate([getattr(one, name) for one in measured] or [np.empty(0)]), "quality")
        for name in QUALITIES
    ]
    vectors = column("embeddings", (dimension,)).astype(embeddings).reshape(-1)
    landmarks = column("landmarks", (5, 2)).reshape(-1)
    faces = arrow.StructArray.from_arrays(
        [
            *(floats(boxes[:, at], "box") for at in range(4)),
            floats(column("scores"), "score"),
            arrow.FixedSizeListArray.from_arrays(floats(landmarks, "landmarks"), 10),
            arrow.StructArray.from_arrays(qualities, names=list(QUALITIES)),
            arrow.FixedSizeListArray.from_arrays(arrow.array(vectors), dimension),
        ],
        names=[*CORNERS, "score", "landmarks", "quality", "embedding"],
    )
    return arrow.table(
        {
            "file": arrow.array([row.file for row in rows], arrow.string()),
            "position_s": arrow.array([row.position_s for row in rows], arrow.float64()),
            "width": arrow.array([row.width for row in rows], arrow.int32()),
            "height": arrow.array([row.height for row in rows], arrow.int32()),
            "error": arrow.array([row.error for row in rows], arrow.string()),
            "faces": arrow.ListArray.from_arrays(offsets, faces),
        }
    )
