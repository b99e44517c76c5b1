"""The indexes of large galleries: memory, time to build, time of a search, and whether they agree.

The embeddings are made up: each person is a random direction, with fewer strong components than the vector has, as
embeddings of faces have; a photo is near its person's direction. Two photos of a person have a cosine of about 0.6,
and those of two people of 0 +- 0.08.
"""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple, Union

import numpy as np

from app.identity.calibration import Tail
from app.identity.index import EXACT_BELOW_THRESHOLD, Candidates, IndexKind, PersonIndex, decide

PHOTOS_EACH = 5
NOISE = 0.8
STRONG_COMPONENTS = 64
NOISE_OF_FACES = 1.4
"""Faces that are searched have between that of photos and this one, from which half of them get a name."""
FACES = 500
"""Of each sort: people who are enrolled, and strangers."""
MARGIN = 0.03
ACCEPTED_STRANGERS = 0.01
"""The threshold is that at which so many comparisons of strangers would give a name."""
SECONDS_EACH = 10.0
"""At most, for each measurement of a latency."""


@dataclass(frozen=True)
class IndexFigures:
    """One index of one gallery."""

    kind: str
    photos: int
    dimension: int
    threshold: float
    build_s: float
    """Time of one core. So are the other times: what else runs on the machine does not count."""
    rows_mb: float
    """The embeddings, which every index needs."""
    index_mb: float
    """What the index takes besides."""
    build_peak_mb: float
    """What it took at most while it was built, in addition to the embeddings."""
    known_1_ms: float
    """Median time to compare one face of an enrolled person."""
    known_8_ms: float
    """The same for eight faces of one frame."""
    stranger_1_ms: float
    stranger_8_ms: float
    faces: int
    """Compared, half of them strangers."""
    other_decisions: int
    """Names and reasons that differ from flat's."""
    other_names: int
    other_candidates: int
    """Answers in which any of the nearest three people or their similarities differ."""

    def as_json(self) -> Dict[str, Any]:
        return asdict(self)


class Made:
    """A gallery of made-up embeddings, and faces to search."""

    def __init__(self, photos: int, dimension: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._scale = (1 / (1 + np.arange(dimension) / STRONG_COMPONENTS)).astype(np.float32)
        self._centres = self._directions(-(-photos // PHOTOS_EACH))
        number = np.arange(photos) // PHOTOS_EACH
        self.rows = np.empty((photos, dimension), np.float32)
        for start in range(0, photos, 8192):
            self.rows[start : start + 8192] = self._looks(number[start : start + 8192])
        self.people = [f"person {one}" for one in number.tolist()]
        self.photos = [f"{name}/{row}.jpg" for row, name in enumerate(self.people)]
        noise = np.linspace(NOISE, NOISE_OF_FACES, FACES, dtype=np.float32)[:, None]
        self.known = self._looks(self._random.integers(0, len(self._centres), FACES), noise)
        self.strangers = self._directions(FACES)

    def _directions(self, count: int) -> np.ndarray:
        rows = self._random.standard_normal((count, len(self._scale)), dtype=np.float32) * self._scale
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def _looks(self, person: np.ndarray, noise: Union[float, np.ndarray] = NOISE) -> np.ndarray:
        rows = self._centres[person] + noise * self._directions(len(person))
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def measure(
    sizes: Sequence[int],
    dimension: int,
    kinds: Sequence[IndexKind],
    seed: int,
    on_step: Callable[[str], None] = lambda text: None,
) -> Iterator[IndexFigures]:
    """Each index as soon as it is measured. The flat one is always measured, as the others are compared with it."""
    for photos in sizes:
        on_step(f"making {photos} embeddings")
        made = Made(photos, dimension, seed)
        faces = np.concatenate([made.known, made.strangers])
        reference: List[Candidates] = []
        threshold = 0.0
        for kind in (IndexKind.FLAT, *(kind for kind in kinds if kind is not IndexKind.FLAT)):
            on_step(f"{kind}, {photos} photos")
            return_freed_memory()
            before = _resident_mb()
            started = time.thread_time()
            index = PersonIndex(made.rows, made.people, made.photos, kind=kind.value).finished()
            build_s = time.thread_time() - started
            peak = _resident_mb()
            return_freed_memory()
            taken = _resident_mb() - before
            if kind is IndexKind.FLAT:
                reference = search(index, faces, exact_from=-1.0)
                similar = np.array([one.similarity for one in reference[FACES:]])
                threshold = Tail.of(similar).threshold(ACCEPTED_STRANGERS)
            exact_from = threshold - EXACT_BELOW_THRESHOLD
            found = search(index, faces, exact_from)
            answers = [decide(one, threshold, MARGIN) for one in found]
            expected = [decide(one, threshold, MARGIN) for one in reference]
            yield IndexFigures(
                kind=kind.value,
                photos=photos,
                dimension=dimension,
                threshold=threshold,
                build_s=build_s,
                rows_mb=made.rows.nbytes / 2**20,
                index_mb=taken,
                build_peak_mb=peak - before,
                known_1_ms=_latency_ms(index, made.known, 1, exact_from),
                known_8_ms=_latency_ms(index, made.known, 8, exact_from),
                stranger_1_ms=_latency_ms(index, made.strangers, 1, exact_from),
                stranger_8_ms=_latency_ms(index, made.strangers, 8, exact_from),
                faces=len(faces),
                other_decisions=sum(
                    (one.name, one.reason) != (other.name, other.reason) for one, other in zip(answers, expected)
                ),
                other_names=sum(one.name != other.name for one, other in zip(answers, expected)),
                other_candidates=sum(one != other for one, other in zip(found, reference)),
            )
            del index


def search(index: PersonIndex, faces: np.ndarray, exact_from: float) -> List[Candidates]:
    """As a run searches settled faces, one at a time."""
    found: List[Candidates] = []
    for row in range(len(faces)):
        found += index.search(faces[row : row + 1], exact_from)
    return found


def _latency_ms(index: PersonIndex, faces: np.ndarray, at_once: int, exact_from: float) -> float:
    taken: List[float] = []
    end = time.perf_counter() + SECONDS_EACH
    for start in range(0, len(faces) - at_once + 1, at_once):
        began = time.thread_time()
        index.search(faces[start : start + at_once], exact_from)
        taken.append(1000 * (time.thread_time() - began))
        if time.perf_counter() > end:
            break
    return float(np.median(taken))


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def return_freed_memory() -> None:
    """So that what was freed before is not counted as free for the next index."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def table_rows(figures: Sequence[IndexFigures]) -> List[Tuple[str, ...]]:
    return [
        (
            f"{one.photos:,}",
            one.kind,
            f"{one.build_s:.1f}",
            f"{one.rows_mb:.0f} + {max(one.index_mb, 0):.0f}",
            f"{one.known_1_ms:.1f} / {one.known_8_ms:.1f}",
            f"{one.stranger_1_ms:.1f} / {one.stranger_8_ms:.1f}",
            f"{one.other_names} / {one.other_decisions} / {one.other_candidates} of {one.faces}",
        )
        for one in figures
    ]
