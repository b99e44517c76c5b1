"""Divides the time of one call into preparation, transfer, inference and decoding."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Sequence, runtime_checkable

import numpy as np

from app.inference.engine import Engine


@dataclass(frozen=True)
class Spread:
    """Milliseconds of one stage over all repetitions."""

    p50: float
    p95: float
    p99: float
    min: float
    """The fastest run: other load on the machine affects it less than the others."""
    runs: int

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Spread:
        p50, p95, p99 = (float(value) for value in np.percentile(milliseconds, (50, 95, 99)))
        return cls(p50, p95, p99, float(min(milliseconds)), len(milliseconds))

    def as_json(self) -> Dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Sample:
    """One call, in milliseconds."""

    prepare: float
    inference: float
    decode: float
    transfer: Optional[float]
    """Copies to the device and back; None if there are none, or the backend does not report them."""

    @property
    def total(self) -> float:
        return self.prepare + self.inference + self.decode + (self.transfer or 0.0)


@runtime_checkable
class ReportsTransfer(Protocol):
    """An engine that copies to a device and back, and reports the time of the copies if `times_transfer` is set."""

    times_transfer: bool
    last_transfer_ms: Optional[float]


class StopwatchEngine:
    """Wraps an engine and notes when it is busy.

    The time before the first run of a call is preparation, the time after its last run is decoding.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._transferring = engine if isinstance(engine, ReportsTransfer) else None
        if self._transferring is not None:
            self._transferring.times_transfer = True
        self.inputs, self.outputs, self.max_batch = engine.inputs, engine.outputs, engine.max_batch
        self._first_start: Optional[float] = None
        self._last_end = 0.0
        self._transfer_ms: Optional[float] = None

    def run(self, feeds: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        start = time.perf_counter()
        if self._first_start is None:
            self._first_start = start
        outputs = self._engine.run(feeds)
        self._last_end = time.perf_counter()
        if self._transferring is not None and self._transferring.last_transfer_ms is not None:
            self._transfer_ms = (self._transfer_ms or 0.0) + self._transferring.last_transfer_ms
        return outputs

    def close(self) -> None:
        self._engine.close()

    def time(self, call: Callable[[], Any]) -> Sample:
        """Runs the call, which must use this engine."""
        self._first_start, self._transfer_ms = None, None
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        first = end if self._first_start is None else self._first_start
        busy_ms = (self._last_end - first) * 1000
        return Sample(
            prepare=(first - start) * 1000,
            inference=busy_ms - (self._transfer_ms or 0.0),
            decode=(end - self._last_end) * 1000,
            transfer=self._transfer_ms,
        )
