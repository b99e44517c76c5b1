"""This machine: its name and packages, the memory of the process, and the power that is drawn.

Power is read from files of the kernel: the rails of a Jetson as NVIDIA's drivers provide them (IIO in JetPack 4, hwmon
in JetPack 5 and newer), and the energy counters of PC processors, which most systems let only root read.
"""

from __future__ import annotations

import importlib
import os
import platform
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

from app.errors import AppError
from app.inference.host import board_model, processor_name
from app.text import install_hint

LIBRARIES = {"cv2": "OpenCV", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "tensorrt": "TensorRT"}

MODULES = {"scikit-image": "skimage"}
"""Packages whose module has another name."""

PYTORCH_NOTE = "PyTorch is several gigabytes with its CUDA libraries; .onnx and .wts files and packs do not need it"

POWER_SAMPLE_EVERY_S = 0.1
"""A sensor averages over some milliseconds, and reading it takes time itself."""

WHOLE_BOARD_RAILS = ("VDD_IN", "POM_5V_IN", "5V_IN", "VIN")
"""Rails that supply the whole board: if there is one, the others are not added."""

Rail = Callable[[], Optional[float]]
"""Reads the power of one rail in watts."""


def describe_machine() -> str:
    """Board or processor, cores and versions. Call it after measuring: it lists the libraries that were imported."""
    versions = [
        f"{title} {str(sys.modules[name].__version__).partition('-')[0]}"
        for name, title in LIBRARIES.items()
        if name in sys.modules
    ]
    names = [name for name in (board_model(), processor_name()) if name]
    return ", ".join([*names, f"{os.cpu_count()} cores", f"Python {platform.python_version()}", *versions])


def require_packages(purpose: str, *names: str) -> None:
    """Raises an AppError with the command that installs the packages of these names that cannot be imported."""
    missing = []
    for name in names:
        try:
            importlib.import_module(MODULES.get(name, name))
        except ImportError:
            missing.append(name)
    if missing:
        note = f"\n  ({PYTORCH_NOTE})" if "torch" in missing else ""
        raise AppError(f"{purpose} needs {' and '.join(missing)}; install with:\n  {install_hint(*missing)}{note}")


def memory_mb() -> float:
    """Resident memory of this process."""
    fields = read_system_file(Path("/proc/self/statm")).split()
    if not fields:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def read_system_file(file: Path) -> str:
    """The text of a small file of the kernel; empty if it does not exist or may not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


class PowerMeter:
    """Mean power between `start` and `stop`; call `sample` regularly in between."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        rails = jetson_rails(root)
        whole_board = [name for name in WHOLE_BOARD_RAILS if name in rails]
        self._rails = {name: rails[name] for name in whole_board[:1]} or rails
        self._counters = [] if self._rails else energy_counters(root)
        self._samples: List[float] = []
        self._sampled_at = 0.0
        self._started_at = 0.0
        self._energy_uj: List[Optional[int]] = []

    @property
    def source(self) -> str:
        """What is measured; empty if this machine does not report its power."""
        if self._rails:
            return "the board's rails " + ", ".join(self._rails)
        return "the processor's energy counters (RAPL)" if self._counters else ""

    def start(self) -> None:
        self._samples = []
        self._started_at = self._sampled_at = self._clock()
        self._energy_uj = [_read_number(counter) for counter, _ in self._counters]

    def sample(self) -> None:
        now = self._clock()
        if self._rails and now - self._sampled_at >= POWER_SAMPLE_EVERY_S:
            self._sampled_at = now
            watts = [value for value in (rail() for rail in self._rails.values()) if value is not None]
            if len(watts) == len(self._rails):
                self._samples.append(sum(watts))

    def stop(self) -> Optional[float]:
        """Watts; None if this machine does not report them, or if the time was too short."""
        if self._samples:
            return sum(self._samples) / len(self._samples)
        seconds = self._clock() - self._started_at
        if not self._counters or seconds <= 0:
            return None
        joules = 0.0
        for (counter, largest), before in zip(self._counters, self._energy_uj):
            after = _read_number(counter)
            if before is None or after is None:
                return None
            joules += (after - before + (largest if after < before else 0)) / 1e6
        return joules / seconds


def jetson_rails(root: Path = Path("/")) -> Dict[str, Rail]:
    """The rails of the INA3221 sensors by name."""
    rails: Dict[str, Rail] = {}
    for folders, channels, label_file, read in (
        ("sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*", (1, 2, 3), "in{}_label", _read_hwmon_watts),
        ("sys/bus/i2c/drivers/ina3221*/*/iio:device*", (0, 1, 2), "rail_name_{}", _read_iio_watts),
    ):
        for folder in sorted(root.glob(folders)):
            for channel in channels:
                label = read_system_file(folder / label_file.format(channel))
                if label and label != "NC":
                    rails[label] = partial(read, folder, channel)
    return rails


def _read_hwmon_watts(folder: Path, channel: int) -> Optional[float]:
    millivolts, milliamperes = (_read_number(folder / f"{kind}{channel}_input") for kind in ("in", "curr"))
    return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6


def _read_iio_watts(folder: Path, channel: int) -> Optional[float]:
    milliwatts = _read_number(folder / f"in_power{channel}_input")
    return None if milliwatts is None else milliwatts / 1e3


def energy_counters(root: Path = Path("/")) -> List[Tuple[Path, int]]:
    """For each processor socket, the file that counts microjoules and the value at which it starts again from 0."""
    counters = []
    for folder in sorted(root.glob("sys/class/powercap/intel-rapl:*")):
        is_socket = folder.name.count(":") == 1
        if is_socket and _read_number(folder / "energy_uj") is not None:
            counters.append((folder / "energy_uj", _read_number(folder / "max_energy_range_uj") or 0))
    return counters


def _read_number(file: Path) -> Optional[int]:
    try:
        return int(read_system_file(file))
    except ValueError:
        return None
