"""An archive as a Lance dataset: a row for each face, for searches by vector and for what reads Lance."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List

import numpy as np

from app.archive.faces import face_places
from app.archive.job import Job
from app.archive.parts import part_files
from app.archive.running import finished_parts
from app.errors import AppError, OutputError
from app.files import CAN_LOCK, try_lock
from app.text import install_hint
from app.types import ProgressCallback

if TYPE_CHECKING:
    import pyarrow

OLDEST_LANCE = 1
PICTURES_AT_A_TIME = 1000
OF_PICTURES = ("file", "position_s", "width", "height")
OF_FACES = ("x1", "y1", "x2", "y2", "score", "landmarks", "quality", "embedding")


def require_lance() -> None:
    try:
        import lance
    except ImportError as error:
        if error.name != "lance":
            raise AppError(f"--lance needs pylance, which cannot be imported: {error}") from error
        raise AppError(f"--lance needs pylance; install with:\n  {install_hint('pylance')}") from error
    if int(lance.__version__.split(".")[0]) < OLDEST_LANCE:
        raise AppError(
            f"--lance needs pylance {OLDEST_LANCE} or newer, for which Python 3.9 is needed: version "
            f"{lance.__version__} stores no missing values"
        )


def export(job: Job, target: Path, replace: bool, show: ProgressCallback) -> int:
    """Writes the faces of all finished parts to a dataset that is there completely or not at all, and returns how many
    there are. One that exists is replaced, on request, by a new version, which readers see at once; the old one is
    removed. Raises AppError, OutputError if `target` cannot be written."""
    import lance

    exists = target.exists() and (not target.is_dir() or any(target.iterdir()))
    if exists:
        _require_dataset(target)
        if not replace:
            raise OutputError(f"{target} already exists; choose another folder, or pass --replace")
    named = target.resolve()
    folder = target if exists else named.with_name(f".{named.name}.part")
    total = sum(part.faces for part in finished_parts(job, with_hashes=False))
    failures: List[AppError] = []

    def batches() -> Iterator[pyarrow.RecordBatch]:
        done = 0
        try:
            for batch in face_batches(job):
                yield batch
                done += batch.num_rows
                show(done, total)
        except AppError as error:  # Lance reports what its source raises as an OSError of its own
            failures.append(error)
            raise

    schema = _schema(job)
    with _claimed(folder), contextlib.ExitStack() as on_failure:
        try:
            if not exists:
                on_failure.callback(shutil.rmtree, folder, ignore_errors=True)
                for left in folder.iterdir():  # by an export that was killed
                    shutil.rmtree(left)
            written = lance.write_dataset(
                batches(), str(folder), schema=schema, mode="overwrite" if exists else "create"
            )
            count = int(written.count_rows())
            if exists:
                written.cleanup_old_versions(timedelta(0), delete_unverified=True)
                for left in (folder / "data").glob(".tmp*"):  # by an export that was killed
                    left.unlink()
            else:
                folder.replace(target)
            on_failure.pop_all()
        except OSError as error:
            if failures:
                raise failures[0] from error
            raise OutputError(f"{target} cannot be written: {error.strerror or _cause(error)}") from error
    return count


def face_batches(job: Job) -> Iterator[pyarrow.RecordBatch]:
    """The faces of each part, with what is known of their pictures. Embeddings become numbers of 32 bits, the values
    stay the same."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    schema = _schema(job)
    for path in part_files(job.out):
        try:
            with parquet.ParquetFile(path) as file:
                for pictures in file.iter_batches(PICTURES_AT_A_TIME, columns=[*OF_PICTURES, "faces"]):
                    lists = pictures.column("faces")
                    rows, numbers = face_places(lists)
                    faces = lists.flatten()
                    columns = {name: pictures.column(name).take(arrow.array(rows)) for name in OF_PICTURES}
                    columns["face"] = arrow.array(numbers.astype(np.int32))
                    columns.update({name: faces.field(name) for name in OF_FACES})
                    if len(rows):
                        yield arrow.RecordBatch.from_arrays(
                            [columns[field.name].cast(field.type) for field in schema], schema=schema
                        )
        except (OSError, arrow.ArrowInvalid) as error:
            raise AppError(f"{path}: damaged ({error}); delete it, and run the batch again") from error


def _schema(job: Job) -> pyarrow.Schema:
    """Landmarks have no fixed length here: then the embedding is the only vector, which tools find by themselves."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    paths = part_files(job.out)
    if not paths:
        raise AppError(f"{job.out}: no part is finished yet; run: batch --out {job.out}")
    stored = parquet.read_schema(paths[0])
    faces = stored.field("faces").type.value_type
    types = {
        **{name: stored.field(name).type for name in OF_PICTURES},
        "face": arrow.int32(),
        **{name: faces.field(name).type for name in OF_FACES},
        "landmarks": arrow.list_(arrow.float32()),
        "embedding": arrow.list_(arrow.float32(), faces.field("embedding").type.list_size),
    }
    return arrow.schema(list(types.items()), metadata={"job": job.name, "embedder": job.facts["embedder"]})


def _require_dataset(target: Path) -> None:
    import lance

    try:
        lance.dataset(str(target))
    except (OSError, ValueError) as error:
        raise OutputError(f"{target} exists and is not a Lance dataset; choose another folder") from error


def _cause(error: OSError) -> str:
    """Without the line of Lance's source, which is at its end."""
    return re.sub(r"^LanceError\(\w+\): |, /\S+$", "", str(error).splitlines()[0])


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder exists, is readable by its owner only if it is new, and no other export writes it meanwhile."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY) if CAN_LOCK else None
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        if handle is not None and not try_lock(handle):
            raise OutputError(f"{folder} is written by another export; stop that one, or choose another folder")
        yield
    finally:
        if handle is not None:
            os.close(handle)
