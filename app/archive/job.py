"""A job: what it reads and how, divided into shards, all of which follows from its name.

The folder of a job holds `job.json`, `plan.jsonl` with a shard on each line, a `part-NNNNNN.parquet` for each shard
that is done, and at the end `manifest.json`. A part follows from the job and its number alone, so it does not matter
which process makes it, or how often.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

from app.archive.inputs import Inputs
from app.archive.video import sample_count
from app.errors import AppError, OutputError, SettingsError
from app.files import locked, write_whole
from app.models.loading import ModelLoader
from app.recognizer import Recognizer
from app.settings import Settings
from app.text import counted

FORMAT = 1
JOB_FILE, PLAN_FILE, MANIFEST_FILE = "job.json", "plan.jsonl", "manifest.json"
PLAN_LOCK = ".plan.lock"
"""Held while a plan is written, so that two runs that begin at once do not mix theirs."""
PLAN_LOCK_WAIT_S = 60.0
MAX_SHARDS = 10_000
LARGE_SHARD, MIN_SHARD, MAX_SHARD = 500, 8, 10_000
VIDEO_SHARD_S = 600.0
"""Of a recording, since all frames are decoded, however few are looked at."""


@dataclass(frozen=True)
class Shard:
    """A part of the work: some pictures, or some moments of one recording."""

    number: int
    pictures: Tuple[str, ...] = ()
    video: str = ""
    first: int = 0
    """Index of the first moment."""
    count: int = 0

    @property
    def items(self) -> int:
        return self.count if self.video else len(self.pictures)


@dataclass(frozen=True)
class Job:
    """What a process needs to know to make a part."""

    out: Path
    root: Path
    """The folder from which the files count."""
    name: str
    facts: Dict[str, Any]
    """What decides the result, besides the files."""
    settings: Settings
    shards: int
    items: int
    """Pictures, and moments of videos."""
    moments: int = 0

    @property
    def pictures(self) -> int:
        return self.items - self.moments

    def of_pictures(self, number: int) -> bool:
        """Whether this shard has pictures: those come first. The others have moments of videos."""
        return number * int(self.facts["shard_size"]) < self.pictures

    @property
    def every_s(self) -> float:
        return float(self.facts["every_s"])

    @property
    def embeddings(self) -> str:
        """`float16` or `float32`."""
        return str(self.facts["embeddings"])

    def part(self, number: int) -> Path:
        return self.out / f"part-{number:06d}.parquet"

    def plan(self) -> Iterator[Shard]:
        """All shards. Raises AppError, at the end at the latest, if they are not those of this job."""
        path = self.out / PLAN_FILE
        advice = "write it again with the command that began the job, with its folders, lists and files"
        digest = hashlib.sha256(_head(self.facts))
        try:
            with path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines):
                    digest.update(line.encode())
                    yield read_shard(number, line)
        except FileNotFoundError:
            raise AppError(f"{path} is missing; {advice}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AppError(f"{path}: cannot be read ({error}); delete it, and {advice}") from error
        if digest.hexdigest() != self.name:
            raise AppError(f"{path}: damaged, or of another job; delete it, and {advice}")


def shown_items(pictures: int, moments: int) -> str:
    """`9 pictures`, `4 moments of videos`, or both."""
    words = [counted(pictures, "picture")] if pictures or not moments else []
    words += [counted(moments, "moment of a video", "moments of videos")] if moments else []
    return " and ".join(words)


def read_shard(number: int, line: str) -> Shard:
    entry = json.loads(line)
    if "video" in entry:
        return Shard(number, video=entry["video"], first=entry["first"], count=entry["count"])
    return Shard(number, tuple(file for file, _ in entry["pictures"]))


def _head(facts: Dict[str, Any]) -> bytes:
    """What a job's name is the hash of, before the lines of its plan."""
    return json.dumps(facts, sort_keys=True).encode() + b"\n"


def one_thread(settings: Settings) -> Settings:
    """Each process runs its networks with one thread: many processes use the cores better than one does."""
    return replace(settings, models=replace(settings.models, threads=1))


def networks_of(recognizer: Recognizer) -> Dict[str, str]:
    """What the networks run on: backends and precisions differ in the last digits."""
    found = {"detector": recognizer.detector.runs_on, "embedder": recognizer.embedder.runs_on}
    return {name: "" if opened is None else f"{opened.label}, {opened.precision}" for name, opened in found.items()}


def deciding_facts(
    loader: ModelLoader, recognizer: Recognizer, every_s: float, embeddings: str, shard_size: int
) -> Dict[str, Any]:
    return {
        "format": FORMAT,
        "detector": loader.detector_entry.name,
        "embedder": loader.embedder_id,
        "detection": asdict(loader.settings.detection),
        "models": hashlib.sha256(loader.fingerprint.encode()).hexdigest()[:16],
        "networks": networks_of(recognizer),
        "every_s": every_s,
        "embeddings": embeddings,
        "shard_size": shard_size,
    }


def default_shard_size(items: int) -> int:
    """A 64th of an archive, within limits, and at most 10,000 files in a large one."""
    small = min(LARGE_SHARD, max(MIN_SHARD, math.ceil(items / 64)))
    return min(MAX_SHARD, max(small, math.ceil(items / MAX_SHARDS)))


def shard_moments(shard_size: int, every_s: float) -> int:
    """How many moments of a video a shard has."""
    return max(1, min(shard_size, math.floor(VIDEO_SHARD_S / every_s)))


def prepare(out: Path, inputs: Inputs, facts: Dict[str, Any], settings: Settings) -> Job:
    """Writes the plan of a new job, or finds the one that is there and corrects its plan. Raises SettingsError where
    `out` holds another one."""
    digest = hashlib.sha256(_head(facts))
    shards = pictures = moments = 0
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{PLAN_FILE}.", suffix=".part", dir=out)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                for entry in _entries(inputs, facts):
                    line = json.dumps(entry) + "\n"
                    digest.update(line.encode())
                    file.write(line)
                    shards += 1
                    pictures += len(entry.get("pictures", ()))
                    moments += entry.get("count", 0)
                file.flush()
                os.fsync(file.fileno())
            job = Job(out, inputs.root, digest.hexdigest(), facts, settings, shards, pictures + moments, moments)
            with locked(out / PLAN_LOCK, PLAN_LOCK_WAIT_S) as lock:
                if lock is None:
                    raise OutputError(
                        f"{out} is in use by another program for more than {PLAN_LOCK_WAIT_S:g} s; try again later"
                    )
                is_new = not (out / JOB_FILE).exists()
                if not is_new:
                    _require_same(stored_job(out, settings), job)
                if is_new or not (out / PLAN_FILE).exists():
                    Path(temporary).replace(out / PLAN_FILE)
                if is_new:
                    write_whole(out / JOB_FILE, json.dumps(_as_json(job), indent=1).encode() + b"\n")
            return job
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}; choose another folder, or free space") from error


def stored_facts(out: Path) -> Dict[str, Any]:
    """`job.json`. Raises AppError if there is none."""
    try:
        facts: Dict[str, Any] = json.loads((out / JOB_FILE).read_text(encoding="utf-8"))
        facts["name"], facts["facts"]["shard_size"], facts["root"], facts["shards"], facts["items"]
        return facts
    except FileNotFoundError:
        raise AppError(f"{out}: no archive (it has no {JOB_FILE}); make one with: batch DIR --out {out}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AppError(f"{out / JOB_FILE}: cannot be read: {error}") from error


def stored_job(out: Path, settings: Settings, facts: Optional[Dict[str, Any]] = None) -> Job:
    """The job of this folder; with `facts`, to go on with it: raises SettingsError if they differ from its own."""
    stored = stored_facts(out)
    sizes = stored["shards"], stored["items"], stored.get("moments", 0)
    job = Job(out, Path(stored["root"]), stored["name"], stored["facts"], settings, *sizes)
    if facts is not None:
        _require_same(job, replace(job, facts=facts))
    return job


def _require_same(before: Job, now: Job) -> None:
    other = [
        f"{key} {before.facts.get(key)!r}, now {value!r}"
        for key, value in now.facts.items()
        if before.facts.get(key) != value
    ]
    if other:
        raise SettingsError(
            f"{now.out} was begun with other settings: {'; '.join(other)}. Use the same ones, or another --out"
        )
    if before.name != now.name:
        files, these = (f"{shown_items(job.pictures, job.moments)} in {job.root}" for job in (before, now))
        raise SettingsError(
            f"{now.out} was begun with other files: {files}, now {these}. To go on with those, give --out alone; for "
            "the new ones, another --out"
        )


def _as_json(job: Job) -> Dict[str, Any]:
    return {
        "name": job.name,
        "root": str(job.root),
        "shards": job.shards,
        "items": job.items,
        "moments": job.moments,
        "facts": job.facts,
    }


def _entries(inputs: Inputs, facts: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    size, every_s = facts["shard_size"], facts["every_s"]
    for start in range(0, len(inputs.pictures), size):
        yield {"pictures": inputs.pictures[start : start + size]}
    step = shard_moments(size, every_s)
    for file, bytes_ in inputs.videos:
        total = sample_count(inputs.root / file, every_s)
        for first in range(0, total, step):
            yield {"video": file, "size": bytes_, "first": first, "count": min(step, total - first)}
