"""How long an archive would take and how large it would be, measured on some of its pictures and moments of videos."""

from __future__ import annotations

import random
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
    sample: int
    faces: int
    errors: int
    seconds: float
    processor_seconds: float
    """Without waiting for the disk, and for other programs."""
    size: int
    """Of the sample's part, in bytes."""

    @property
    def rate(self) -> float:
        """Per second and core."""
        return self.sample / max(self.seconds, 1e-9)

    @property
    def processor_rate(self) -> float:
        return self.sample / max(self.processor_seconds, 1e-9)

    def seconds_with(self, cores: int) -> float:
        return self.count / self.rate / cores

    @property
    def size_of_all(self) -> float:
        """In bytes."""
        return self.size / self.sample * self.count


def sample_of_pictures(inputs: Inputs, sample: int) -> List[Shard]:
    """Up to `sample` of the pictures, chosen at random but always the same ones."""
    files = [file for file, _ in inputs.pictures]
    chosen = sorted(random.Random(_SEED).sample(files, min(sample, len(files))))
    return [Shard(0, tuple(chosen))] if chosen else []


def sample_of_videos(inputs: Inputs, sample: int, every_s: float) -> Tuple[List[Shard], int]:
    """A stretch of each of some videos, and how many moments all of them have."""
    choice = random.Random(_SEED)
    counts = [(video, sample_count(inputs.root / video, every_s)) for video, _ in inputs.videos]
    chosen = sorted(choice.sample(counts, min(VIDEOS, len(counts))))
    shards = []
    for video, count in chosen:
        length = min(count, max(1, sample // len(chosen)))
        shards.append(Shard(0, video=video, first=choice.randint(0, count - length), count=length))
    return shards, sum(count for _, count in counts)


def estimate(
    root: Path,
    shards: Sequence[Shard],
    count: int,
    recognizer: Recognizer,
    facts: Dict[str, Any],
    settings: Settings,
    show: ProgressCallback,
) -> Estimate:
    """Reads these shards, whose kind has `count` pictures or moments in all. The first one is read once before the
    clock starts: networks take longer in their first run."""
    total = sum(shard.items for shard in shards)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), root, "", facts, settings, 1, total)
        next(rows_of(job, shards[0], recognizer), None)
        rows: List[Row] = []
        began, processor_began = time.perf_counter(), time.process_time()
        for shard in shards:
            for row in rows_of(job, shard, recognizer):
                rows.append(row)
                show(len(rows), total)
        part = write_part(job, 0, rows, recognizer.embedder.dimensions)
        spent, processor_spent = time.perf_counter() - began, time.process_time() - processor_began
        size = job.part(0).stat().st_size
    return Estimate(count, max(1, len(rows)), part.faces, part.errors, spent, processor_spent, size)
