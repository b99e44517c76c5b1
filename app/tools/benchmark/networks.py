"""The speed of single networks, for each backend, precision and batch.

The variants of one network take turns, one run each: when the speed of the machine varies, it varies for all of them.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from app.errors import ModelError
from app.inference.engine import batch_size
from app.models.loading import ModelLoader
from app.tools.benchmark.cases import BenchmarkCase, OpenedCase, Size, open_case
from app.tools.benchmark.stopwatch import Sample, Spread
from app.tools.machine import PowerMeter, memory_mb
from app.types import ProgressCallback

WARM_UP_RUNS = 2
MIN_RUNS = 3


@dataclass(frozen=True)
class BenchmarkOptions:
    """What to measure of each network, and for how long."""

    batches: Tuple[int, ...]
    backends: Tuple[str, ...] = ("auto",)
    precisions: Tuple[str, ...] = ("auto",)
    threads: int = 0
    max_runs: int = 100
    seconds: float = 3.0
    """For each figure. Slow networks stop at this time, but do at least MIN_RUNS."""
    loader: Optional[ModelLoader] = None
    """Provides calibration inputs for int8."""

    @property
    def variants(self) -> List[Tuple[str, str]]:
        return [(backend, precision) for backend in self.backends for precision in self.precisions]


@dataclass(frozen=True)
class NetworkSpeed:
    """The speed of one network at one size and batch on one backend."""

    model: str
    task: str
    random_weights: bool
    backend: str
    label: str
    """The name of the backend and of the device that it computes on."""
    precision: str
    reason: str
    """Why the program chose this backend; empty if the user did."""
    size: Size
    batch: int
    at_once: int
    """How many pictures of the batch the backend takes in one run."""
    prepare: Spread
    transfer: Optional[Spread]
    inference: Spread
    decode: Optional[Spread]
    """None with random weights, whose outputs are not decoded."""
    total: Spread
    singly: Optional[Spread]
    """For embedders: the same pictures, one call each."""
    memory_mb: float
    """Growth of the process since before the network was opened."""
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
    """A variant that does not run on this machine."""

    model: str
    size: Size
    backend: str
    precision: str
    reason: str


Outcome = Union[NetworkSpeed, NotMeasured]


def measure_networks(
    cases: Sequence[Tuple[BenchmarkCase, BenchmarkOptions]], picture: np.ndarray, on_progress: ProgressCallback
) -> Iterator[Outcome]:
    """Yields each outcome as soon as it is known, so that the caller may stop early."""
    total = sum(len(options.variants) * len(options.batches) for _, options in cases)
    done = 0
    meter = PowerMeter()
    for case, options in cases:
        on_progress(done, total)
        with contextlib.ExitStack() as stack:
            variants: List[_Variant] = []
            for backend, precision in options.variants:
                try:
                    variants.append(_Variant(case, options, backend, precision, picture, stack))
                except (ModelError, MemoryError) as error:
                    reason = str(error) or "out of memory"
                    yield NotMeasured(case.entry.name, case.size, backend, precision, reason)
            for batch in options.batches:
                yield from _measure_batch(variants, batch, options, meter)
                done += len(options.variants)
                on_progress(done, total)


class _Variant:
    """One case on one backend, and the measurements of the current batch."""

    def __init__(
        self,
        case: BenchmarkCase,
        options: BenchmarkOptions,
        backend: str,
        precision: str,
        picture: np.ndarray,
        stack: contextlib.ExitStack,
    ) -> None:
        before = memory_mb()
        self.case = case
        self.requested = (backend, precision)
        self.opened: OpenedCase = open_case(
            case, backend, precision, max(options.batches), options.threads, picture, options.loader
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
        if batch > 1 and not self.case.detects:
            start = time.perf_counter()
            for _ in range(batch):
                self.opened.run(1)
            self.singly_ms.append((time.perf_counter() - start) * 1000)

    def speed(self, batch: int, power_w: Optional[float]) -> NetworkSpeed:
        transfers = [sample.transfer for sample in self.samples if sample.transfer is not None]
        decodes = not (self.case.random_weights and self.case.detects)
        return NetworkSpeed(
            model=self.case.entry.name,
            task=self.case.entry.task,
            random_weights=self.case.random_weights,
            backend=self.opened.backend,
            label=self.opened.label,
            precision=self.opened.precision,
            reason=self.opened.reason if self.requested[0] == "auto" else "",
            size=self.case.size,
            batch=batch,
            at_once=min(batch, batch_size(self.opened.engine) or batch),
            prepare=Spread.of([sample.prepare for sample in self.samples]),
            transfer=Spread.of(transfers) if transfers else None,
            inference=Spread.of([sample.inference for sample in self.samples]),
            decode=Spread.of([sample.decode for sample in self.samples]) if decodes else None,
            total=Spread.of([sample.total for sample in self.samples]),
            singly=Spread.of(self.singly_ms) if self.singly_ms else None,
            memory_mb=self.memory_mb,
            gpu_memory_mb=self.opened.gpu_memory_mb,
            power_w=power_w,
        )


def _measure_batch(
    variants: Sequence[_Variant], batch: int, options: BenchmarkOptions, meter: PowerMeter
) -> Iterator[Outcome]:
    running: List[_Variant] = []
    for variant in variants:
        try:
            variant.warm_up(batch)
            running.append(variant)
        except (ModelError, MemoryError) as error:
            reason = f"batch {batch}: {str(error) or 'out of memory'}"
            yield NotMeasured(variant.case.entry.name, variant.case.size, *variant.requested, reason)
    until = time.perf_counter() + options.seconds * len(running)
    runs = 0
    meter.start()
    while running and (runs < MIN_RUNS or (runs < options.max_runs and time.perf_counter() < until)):
        for variant in running:
            variant.measure(batch)
            meter.sample()
        runs += 1
    # With several variants in turns, the power cannot be attributed to one of them.
    power_w = meter.stop() if len(running) == 1 else None
    for variant in running:
        yield variant.speed(batch, power_w)
