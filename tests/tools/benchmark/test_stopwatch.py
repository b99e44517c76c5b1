"""A call's time is divided at the moments when the network starts and stops."""

import time

import numpy as np
import pytest

from app.inference.engine import TensorSpec
from app.tools.benchmark.stopwatch import Spread, StopwatchEngine


class Doubling:
    """An engine with a minimum time per run, which can report the time of its copies."""

    max_batch = None

    def __init__(self, takes_s=0.0, copies_ms=None):
        self.takes_s = takes_s
        self.inputs = (TensorSpec("x", (None,), np.dtype(np.float32)),)
        self.outputs = (TensorSpec("y", (None,), np.dtype(np.float32)),)
        if copies_ms is not None:
            self.times_transfer = False
            self.last_transfer_ms = None
        self._copies_ms = copies_ms

    def run(self, feeds):
        end = time.perf_counter() + self.takes_s
        while time.perf_counter() < end:
            pass
        if self._copies_ms is not None and self.times_transfer:
            self.last_transfer_ms = self._copies_ms
        return {"y": feeds["x"] * 2}

    def close(self):
        pass


def test_parts_add_up_to_the_whole_and_the_run_is_the_networks():
    engine = StopwatchEngine(Doubling(takes_s=0.01))
    sample = engine.time(lambda: engine.run({"x": np.ones(3, np.float32)}))
    assert sample.inference >= 10
    assert sample.transfer is None
    assert sample.total == pytest.approx(sample.prepare + sample.inference + sample.decode)
    assert sample.prepare >= 0 and sample.decode >= 0


def test_several_runs_in_one_call_count_together():
    engine = StopwatchEngine(Doubling(takes_s=0.005))

    def call():
        for _ in range(3):
            engine.run({"x": np.ones(3, np.float32)})

    assert engine.time(call).inference >= 15


def test_copies_that_the_engine_reports_are_subtracted_from_inference():
    engine = StopwatchEngine(Doubling(takes_s=0.01, copies_ms=4.0))
    sample = engine.time(lambda: (engine.run({"x": np.ones(1)}), engine.run({"x": np.ones(1)})))
    assert sample.transfer == 8.0
    assert sample.inference >= 12


def test_answers_pass_through():
    engine = StopwatchEngine(Doubling())
    assert engine.run({"x": np.array([1.5])})["y"] == [3.0]
    assert engine.inputs[0].name == "x" and engine.outputs[0].name == "y"


def test_spread():
    spread = Spread.of(range(1, 101))
    assert (spread.min, spread.p50, spread.runs) == (1.0, 50.5, 100)
    assert spread.p50 < spread.p95 < spread.p99
