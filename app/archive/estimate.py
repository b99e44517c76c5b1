"""How long an archive would take and how large it would be, measured on some of its pictures and moments of videos."""

from __future__ import annotations

import math
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from app.archive.inputs import Inputs
from app.archive.job import Job, Shard
from app.archive.parts import write_part
from app.archive.rows import Row, rows_of
from app.archive.video import sample_count
from app.recognizer import Recognizer
from app.settings import Settings
from app.types import ProgressCallback

_SEED = 0
VIDEOS = 5
"""Of which a stretch is read."""


@dataclass(frozen=True)
class Estimate:
    """A sample of pictures, or of moments of videos, read by one process with one thread."""

    count: int
    """Of all."""
    parts: int
    """That an archive of all would have."""
    sample: int
    faces: int
    errors: int
    seconds: float
    processor_seconds: float
    """Without waiting for the disk, and for other programs."""
    size_of_all: float
    """In bytes."""

    @property
    def rate(self) -> float:
        """Per second and core."""
        return self.sample / max(self.seconds, 1e-9)

    @property
    def processor_rate(self) -> float:
        return self.sample / max(self.processor_seconds, 1e-9)

    def seconds_with(self, cores: int) -> float:
        return self.count / self.rate / cores


def sample_of_pictures(inputs: Inputs, sample: int) -> List[Shard]:
    """Up to `sample` of the pictures, chosen at random but always the same ones."""
    files = [file for file, _ in inputs.pictures]
    chosen = sorted(random.Random(_SEED).sample(files, min(sample, len(files))))
    return [Shard(0, tuple(chosen))] if chosen else []


def sample_of_videos(inputs: Inputs, sample: int, every_s: float) -> Tuple[List[Shard], List[int]]:
    """A stretch of each of some videos, and how many moments each of all videos has."""
    choice = random.Random(_SEED)
    counts = [(video, sample_count(inputs.root / video, every_s)) for video, _ in inputs.videos]
    chosen = sorted(choice.sample(counts, min(VIDEOS, len(counts))))
    shards = []
    for video, count in chosen:
        length = min(count, max(1, sample // len(chosen)))
        shards.append(Shard(0, video=video, first=choice.randint(0, count - length), count=length))
    return shards, [count for _, count in counts]


def estimate(
    root: Path,
    shards: Sequence[Shard],
    count: int,
    parts: int,
    recognizer: Recognizer,
    facts: Dict[str, Any],
    settings: Settings,
    show: ProgressCallback,
) -> Estimate:
    """Reads these shards, whose kind has `count` pictures or moments in all, in `parts` parts. The first one is read
    once before the clock starts: networks take longer in their first run."""
    total = sum(shard.items for shard in shards)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), root, "", facts, settings, 1, total)

        def size_of(some: Sequence[Row]) -> int:
            job.part(0).unlink(missing_ok=True)
            write_part(job, 0, some, recognizer.embedder.dimensions)
            return job.part(0).stat().st_size

        next(rows_of(job, shards[0], recognizer), None)
        rows: List[Row] = []
        began, processor_began = time.perf_counter(), time.process_time()
        for shard in shards:
            for row in rows_of(job, shard, recognizer):
                rows.append(row)
                show(len(rows), total)
        length = max(1, min(len(rows), math.ceil(count / parts)))
        wholes = [rows[start : start + length] for start in range(0, max(1, len(rows) - length + 1), length)]
        whole = statistics.mean(map(size_of, wholes))
        spent, processor_spent = time.perf_counter() - began, time.process_time() - processor_began
        # Each part has its own schema and dictionaries, so its size is not in proportion to its rows.
        halves = [some[: length // 2] for some in wholes]
        growth = max(0.0, (whole - statistics.mean(map(size_of, halves))) / (length - length // 2))
    return Estimate(
        count,
        parts,
        max(1, len(rows)),
        sum(len(row.faces) for row in rows),
        sum(row.error is not None for row in rows),
        spent,
        processor_spent,
        parts * (whole + growth * (count / parts - length)),
    )
