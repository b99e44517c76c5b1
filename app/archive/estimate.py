"""How long an archive would take and how large it would be, measured on some of its pictures."""

from __future__ import annotations

import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

from app.archive.inputs import Inputs
from app.archive.job import Job, Shard
from app.archive.parts import write_part
from app.archive.rows import Row, rows_of
from app.errors import AppError
from app.recognizer import Recognizer
from app.settings import Settings
from app.types import ProgressCallback

_SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A sample of pictures, read by one process with one thread."""

    pictures: int
    faces: int
    errors: int
    seconds: float
    processor_seconds: float
    """Without waiting for the disk, and for other programs."""
    size: int
    """Of the sample's part, in bytes."""

    @property
    def rate(self) -> float:
        """Pictures per second and core."""
        return self.pictures / max(self.seconds, 1e-9)

    @property
    def processor_rate(self) -> float:
        return self.pictures / max(self.processor_seconds, 1e-9)

    def seconds_for(self, pictures: int, cores: int) -> float:
        return pictures / self.rate / cores

    def size_of(self, pictures: int) -> float:
        """In bytes."""
        return self.size / self.pictures * pictures


def estimate(
    inputs: Inputs,
    recognizer: Recognizer,
    facts: Dict[str, Any],
    settings: Settings,
    sample: int,
    show: ProgressCallback,
) -> Estimate:
    """Reads up to `sample` of the pictures, chosen at random but always the same ones. Raises AppError if there are
    none."""
    files = [file for file, _ in inputs.pictures]
    if not files:
        raise AppError("an estimate needs pictures; videos are left out of it")
    chosen = sorted(random.Random(_SEED).sample(files, min(sample, len(files))))
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), inputs.root, "", facts, settings, 1, len(chosen))
        rows: List[Row] = []
        began, processor_began = time.perf_counter(), time.process_time()
        for row in rows_of(job, Shard(0, tuple(chosen)), recognizer):
            rows.append(row)
            show(len(rows), len(chosen))
        part = write_part(job, 0, rows, recognizer.embedder.dimensions)
        spent, processor_spent = time.perf_counter() - began, time.process_time() - processor_began
        size = job.part(0).stat().st_size
    return Estimate(len(rows), part.faces, part.errors, spent, processor_spent, size)
