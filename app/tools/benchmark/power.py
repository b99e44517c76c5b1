"""What the machine draws while something is measured, where it tells: a Jetson's rails, a PC processor's counters.

Both are read from files of the kernel. The rails' files are those of NVIDIA's drivers in JetPack 4 (IIO) and in 5 and
newer (hwmon); the counters are Linux's power capping interface, which most systems let only root read.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

SAMPLE_EVERY_S = 0.1
"""A sensor averages over some milliseconds, and reading one takes a while: more often costs more than it tells."""

_WHOLE_BOARD = ("VDD_IN", "POM_5V_IN", "5V_IN", "VIN")
"""Rails through which everything else is fed; a board that has one is not summed up."""

Rail = Callable[[], Optional[float]]
"""Reads one rail, in watts."""


class PowerMeter:
    """Mean power between `start` and `stop`; `sample` is called now and then in between."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._rails = _whole_board_or_all(jetson_rails(root))
        self._counters = [] if self._rails else energy_counters(root)
        self._samples: List[float] = []
        self._sampled_at = 0.0
        self._started_at = 0.0
        self._energy_uj: List[Optional[int]] = []

    @property
    def source(self) -> str:
        """What is measured; empty when this machine does not tell."""
        if self._rails:
            return "the board's rails " + ", ".join(self._rails)
        return "the processor's energy counters (RAPL)" if self._counters else ""

    def start(self) -> None:
        self._samples = []
        self._started_at = self._clock()
        self._sampled_at = self._started_at
        self._energy_uj = [_number(counter) for counter, _ in self._counters]

    def sample(self) -> None:
        now = self._clock()
        if self._rails and now - self._sampled_at >= SAMPLE_EVERY_S:
            self._sampled_at = now
            watts = [rail() for rail in self._rails.values()]
            if None not in watts:
                self._samples.append(sum(value for value in watts if value is not None))

    def stop(self) -> Optional[float]:
        """Watts; None where this machine does not tell, or where it was too short to be measured."""
        if self._samples:
            return sum(self._samples) / len(self._samples)
        seconds = self._clock() - self._started_at
        if not self._counters or seconds <= 0:
            return None
        spent = [
            _difference(before, _number(counter), largest)
            for (counter, largest), before in zip(self._counters, self._energy_uj)
        ]
        known = [value for value in spent if value is not None]
        return sum(known) / 1e6 / seconds if len(known) == len(spent) else None


def jetson_rails(root: Path = Path("/")) -> Dict[str, Rail]:
    """The rails of the INA3221 sensors by name."""
    rails: Dict[str, Rail] = {}
    for folder in sorted(root.glob("sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*")):
        for channel in (1, 2, 3):
            label = _text(folder / f"in{channel}_label")
            if label and label != "NC":
                rails[label] = _hwmon_rail(folder, channel)
    for folder in sorted(root.glob("sys/bus/i2c/drivers/ina3221*/*/iio:device*")):
        for channel in (0, 1, 2):
            label = _text(folder / f"rail_name_{channel}")
            if label and label != "NC":
                rails[label] = _iio_rail(folder / f"in_power{channel}_input")
    return rails


def energy_counters(root: Path = Path("/")) -> List[Tuple[Path, int]]:
    """For each processor socket the file that counts microjoules, and where that count starts again from 0."""
    counters = []
    for folder in sorted(root.glob("sys/class/powercap/intel-rapl:*")):
        is_socket = folder.name.count(":") == 1
        if is_socket and _number(folder / "energy_uj") is not None:
            counters.append((folder / "energy_uj", _number(folder / "max_energy_range_uj") or 0))
    return counters


def _whole_board_or_all(rails: Dict[str, Rail]) -> Dict[str, Rail]:
    for name in _WHOLE_BOARD:
        if name in rails:
            return {name: rails[name]}
    return rails


def _hwmon_rail(folder: Path, channel: int) -> Rail:
    def watts() -> Optional[float]:
        millivolts, milliamperes = _number(folder / f"in{channel}_input"), _number(folder / f"curr{channel}_input")
        return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6

    return watts


def _iio_rail(file: Path) -> Rail:
    def watts() -> Optional[float]:
        milliwatts = _number(file)
        return None if milliwatts is None else milliwatts / 1e3

    return watts


def _difference(before: Optional[int], after: Optional[int], largest: int) -> Optional[int]:
    if before is None or after is None:
        return None
    return after - before if after >= before else after - before + largest


def _number(file: Path) -> Optional[int]:
    text = _text(file)
    try:
        return int(text)
    except ValueError:
        return None


def _text(file: Path) -> str:
    """Empty for what is not there or may not be read."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
