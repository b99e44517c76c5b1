"""The learning rate over a run, and the lines and curve that say how it goes."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Dict, Union


def learning_rate(peak: float, step: int, total_steps: int, warmup_steps: int) -> float:
    """Linear warm-up, then half a cosine down to a fiftieth of the peak."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


class Progress:
    """Speed and time left, from what was done since this process started."""

    def __init__(self, seen: int, total: int, unit: str) -> None:
        self._start_seen, self._total, self._unit = seen, total, unit
        self._started = time.monotonic()

    def describe(self, seen: int, values: Dict[str, float]) -> str:
        rate = (seen - self._start_seen) / max(time.monotonic() - self._started, 1e-9)
        minutes_left = (self._total - seen) / max(rate, 1e-9) / 60
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        return f"{seen}/{self._total} {self._unit}  {rate:.1f}/s  {minutes_left:.0f} min left  {shown}"


def append_to_curve(path: Path, record: Dict[str, Union[int, float, str]]) -> None:
    """One JSON object a line: survives restarts, and every plotting tool reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")
