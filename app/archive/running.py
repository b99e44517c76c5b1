"""A whole job: all parts that are missing, then the manifest."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Container, Dict, Iterable, Iterator, List

from app.archive.job import MANIFEST_FILE, Job, Shard
from app.archive.parts import TEMPORARY, Part, described
from app.archive.pool import Counts, Made
from app.archive.shard import attempts_file
from app.errors import OutputError
from app.files import locked, write_text
from app.text import counted, duration

LOCK_FILE = ".lock"

Work = Callable[[Job, Iterator[Shard]], Iterable[Made]]
"""Makes the parts of shards: `work_locally`, or on a cluster."""


@dataclass(frozen=True)
class State:
    """How far a job is."""

    job: Job
    parts: int
    counts: Counts
    """Of what is done, also of parts that are not finished."""
    before: int = 0
    """Rows that earlier runs made."""
    began_at: float = 0.0
    moments: int = 0
    """Rows of videos, of finished parts."""

    def line(self, now: float) -> str:
        """`[###-------] 35 % | 320 of 900 | 84.1/s | 7 s left | 641 faces`"""
        rows, items = self.counts.rows, self.job.items
        share = min(100, 100 * rows // max(1, items))
        bar = "#" * (share // 10)
        words = [f"[{bar:-<10}] {share} %", f"{rows} of {items}"]
        made, spent_s = rows - self.before, now - self.began_at
        if made > 0 and spent_s > 0:
            words.append(f"{made / spent_s:.1f}/s")
            words.append(f"{duration(max(0, items - rows) * spent_s / made)} left")
        words.append(counted(self.counts.faces, "face"))
        if self.counts.errors:
            words.append(f"{self.counts.errors} not readable")
        return " | ".join(words)


def run_job(job: Job, work: Work, show: Callable[[State], None]) -> State:
    """Makes the parts that are missing, and the manifest once there are all. It may run several times at once: then
    the first run begins at one end, and the others at the other one."""
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(job.out / LOCK_FILE, 0.0))
        except OSError as error:
            raise OutputError(f"{job.out} cannot be written: {error.strerror}") from error
        parts = {part.file: part for part in finished_parts(job)}
        missing = [shard for shard in job.plan() if job.part(shard.number).name not in parts]
        before = sum(part.rows for part in parts.values())
        state = State(job, len(parts), _total(parts.values()), before, time.monotonic())
        show(state)
        # The last word of several runs: one that another run has begun is begun again at the very end.
        for made in work(job, iter(missing if lock else missing[::-1])) if missing else ():
            parts.update({part.file: part for part in made.parts})
            counts = Counts(*map(sum, zip(_total(parts.values()), made.under_way)))
            state = State(job, len(parts), counts, before, state.began_at)
            show(state)
        # Processes that were stopped, and other runs, may have finished more than they said.
        parts.update({part.file: part for part in finished_parts(job, without=parts)})
        moments = moments_of(job, parts.values())
        state = State(job, len(parts), _total(parts.values()), before, state.began_at, moments)
        if len(parts) == job.shards:
            write_text(job.out / MANIFEST_FILE, json.dumps(manifest(job, list(parts.values())), indent=1) + "\n")
            if lock:
                _clean(job)
        return state


def manifest(job: Job, parts: List[Part]) -> Dict[str, Any]:
    """Everything that a job has made; the same however it was made."""
    total = _total(parts)
    listed = [part.as_json() for part in sorted(parts, key=lambda part: part.file)]
    return {"job": job.name, **total._asdict(), "parts": listed}


def finished_parts(job: Job, with_hashes: bool = True, without: Container[str] = ()) -> Iterator[Part]:
    """Those that are there, checked. Hashes take seconds per gigabyte. Raises AppError if one is damaged, or of another
    job."""
    for number in range(job.shards):
        path = job.part(number)
        if path.name not in without and path.exists():
            yield described(path, job.name, with_hashes)


def moments_of(job: Job, parts: Iterable[Part]) -> int:
    """How many rows are moments of videos."""
    of_pictures = {job.part(number).name for number in range(job.shards) if job.of_pictures(number)}
    return sum(part.rows for part in parts if part.file not in of_pictures)


def _total(parts: Iterable[Part]) -> Counts:
    found = [(part.rows, part.faces, part.errors) for part in parts]
    return Counts(*map(sum, zip(*found))) if found else Counts()


def _clean(job: Job) -> None:
    """Removes what processes left that were killed."""
    left: List[Path] = [*job.out.glob(TEMPORARY), *job.out.glob(".plan.jsonl.*.part")]
    left += [attempts_file(job.out, number) for number in range(job.shards)]
    for path in left:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        attempts_file(job.out, 0).parent.rmdir()
