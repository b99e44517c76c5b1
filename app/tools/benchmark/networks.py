"""How fast networks are by themselves, for each backend, precision and batch.

The variants of one network are measured in turns, one run each, again and again: on a machine whose speed wavers, all
of them waver alike.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from app.errors import ModelError
from app.inference.engine import batch_size
from app.models.loading import InputsFor
from app.tools.benchmark.power import PowerMeter
from app.tools.benchmark.stopwatch import Sample, Spread
from app.tools.benchmark.subjects import OpenedSubject, Size, Subject, open_subject
from app.tools.machine import memory_mb

logger = logging.getLogger(__name__)

WARM_UP_RUNS = 2
FEWEST_RUNS = 3


@dataclass(frozen=True)
class Demand:
    """What is to be measured of every network, and how long."""

    batches: Tuple[int, ...]
    backends: Tuple[str, ...] = ("auto",)
    precisions: Tuple[str, ...] = ("auto",)
    threads: int = 0
    most_runs: int = 100
    seconds: float = 3.0
    """For each figure. Slow networks end here, after FEWEST_RUNS at least."""
    inputs_for: Optional[InputsFor] = None
    """What int8 is learnt from."""

    @property
    def variants(self) -> List[Tuple[str, str]]:
        return [(backend, precision) for backend in self.backends for precision in self.precisions]


@dataclass(frozen=True)
class NetworkSpeed:
    """One network, one size, one batch, one backend."""

    model: str
    task: str
    random_weights: bool
    backend: str
    label: str
    """The backend in words, with what it computes on."""
    precision: str
    reason: str
    """Why the program took this backend; empty where it was asked for."""
    size: Size
    batch: int
    at_once: int
    """How many of them the backend takes in one run."""
    prepare: Spread
    transfer: Optional[Spread]
    inference: Spread
    decode: Optional[Spread]
    """None where the weights are drawn by lot: there is nothing to read."""
    total: Spread
    singly: Optional[Spread]
    """Embedders: the same pictures, one call each."""
    memory_mb: float
    """By how much the process has grown since before this network was opened."""
    gpu_memory_mb: Optional[float]
    power_w: Optional[float]

    @property
    def images_per_s(self) -> float:
        return self.batch * 1000 / self.total.p50

    def as_json(self) -> Dict[str, Any]:
        facts = {key: value for key, value in vars(self).items() if not isinstance(value, Spread)}
        spreads = {key: value.as_json() for key, value in vars(self).items() if isinstance(value, Spread)}
        return {**facts, **{f"{key}_ms": value for key, value in spreads.items()}, "images_per_s": self.images_per_s}


@dataclass(frozen=True)
class NotMeasured:
    """Something that this machine could not run."""

    model: str
    size: Size
    backend: str
    precision: str
    reason: str


Outcome = Union[NetworkSpeed, NotMeasured]
Count = Callable[[int, int], None]


def measure_networks(
    subjects: Sequence[Tuple[Subject, Demand]], picture: np.ndarray, count: Count
) -> Iterator[Outcome]:
    """The outcomes one after another, so that whoever stops early keeps what there is."""
    total = sum(len(demand.variants) * len(demand.batches) for _, demand in subjects)
    done = 0
    meter = PowerMeter()
    for subject, demand in subjects:
        count(done, total)
        with contextlib.ExitStack() as stack:
            variants: List[_Variant] = []
            for backend, precision in demand.variants:
                try:
                    variants.append(_Variant(subject, demand, backend, precision, picture, stack))
                except (ModelError, MemoryError) as error:
                    yield NotMeasured(subject.entry.name, subject.size, backend, precision, str(error) or "no memory")
            for batch in demand.batches:
                yield from _measure_batch(variants, batch, demand, meter)
                done += len(demand.variants)
                count(done, total)


class _Variant:
    """One subject on one backend, and what has been measured of it at the present batch."""

    def __init__(
        self,
        subject: Subject,
        demand: Demand,
        backend: str,
        precision: str,
        picture: np.ndarray,
        stack: contextlib.ExitStack,
    ) -> None:
        before = memory_mb()
        self.subject = subject
        self.asked = (backend, precision)
        self.opened: OpenedSubject = open_subject(
            subject, backend, precision, max(demand.batches), demand.threads, picture, demand.inputs_for
        )
        stack.callback(self.opened.engine.close)
        self.memory_mb = memory_mb() - before
        self.samples: List[Sample] = []
        self.singly_ms: List[float] = []

    def warm_up(self, batch: int) -> None:
        before = memory_mb()
        for _ in range(WARM_UP_RUNS):
            self.opened.run(batch)
        self.memory_mb += memory_mb() - before
        self.samples, self.singly_ms = [], []

    def measure(self, batch: int) -> None:
        self.samples.append(self.opened.engine.time(lambda: self.opened.run(batch)))
        if batch > 1 and not self.subject.detects:
            self.singly_ms.append(self._one_by_one(batch))

    def _one_by_one(self, batch: int) -> float:
        start = time.perf_counter()
        for _ in range(batch):
            self.opened.run(1)
        return (time.perf_counter() - start) * 1000

    def speed(self, batch: int, power_w: Optional[float]) -> NetworkSpeed:
        transfers = [sample.transfer for sample in self.samples if sample.transfer is not None]
        return NetworkSpeed(
            model=self.subject.entry.name,
            task=self.subject.entry.task,
            random_weights=self.subject.random_weights,
            backend=self.opened.backend,
            label=self.opened.label,
            precision=self.opened.precision,
            reason=self.opened.reason if self.asked[0] == "auto" else "",
            size=self.subject.size,
            batch=batch,
            at_once=min(batch, batch_size(self.opened.engine) or batch),
            prepare=Spread.of([sample.prepare for sample in self.samples]),
            transfer=Spread.of(transfers) if transfers else None,
            inference=Spread.of([sample.inference for sample in self.samples]),
            decode=None if self._decodes_nothing else Spread.of([sample.decode for sample in self.samples]),
            total=Spread.of([sample.total for sample in self.samples]),
            singly=Spread.of(self.singly_ms) if self.singly_ms else None,
            memory_mb=self.memory_mb,
            gpu_memory_mb=self.opened.gpu_memory_mb,
            power_w=power_w,
        )

    @property
    def _decodes_nothing(self) -> bool:
        return self.subject.random_weights and self.subject.detects

    def not_measured(self, reason: str) -> NotMeasured:
        return NotMeasured(self.subject.entry.name, self.subject.size, *self.asked, reason)


def _measure_batch(variants: Sequence[_Variant], batch: int, demand: Demand, meter: PowerMeter) -> Iterator[Outcome]:
    running: List[_Variant] = []
    for variant in variants:
        try:
            variant.warm_up(batch)
            running.append(variant)
        except (ModelError, MemoryError) as error:
            yield variant.not_measured(f"batch {batch}: {str(error) or 'no memory'}")
    until = time.perf_counter() + demand.seconds * len(running)
    runs = 0
    meter.start()
    while running and (runs < FEWEST_RUNS or (runs < demand.most_runs and time.perf_counter() < until)):
        for variant in running:
            variant.measure(batch)
            meter.sample()
        runs += 1
    # With several variants in turns nobody can tell which of them drew it.
    power_w = meter.stop() if len(running) == 1 else None
    for variant in running:
        yield variant.speed(batch, power_w)
