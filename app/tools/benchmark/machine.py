"""What figures were measured on, and how much memory they took."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path

LIBRARIES = {"cv2": "OpenCV", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "tensorrt": "TensorRT"}

_BOARD = Path("/proc/device-tree/model")
_CPUINFO = Path("/proc/cpuinfo")
_OWN_PAGES = Path("/proc/self/statm")


def machine() -> str:
    """Board or processor, cores and versions: what a figure is worth nothing without. Ask after measuring: it names
    the libraries that were used."""
    versions = [
        f"{title} {str(sys.modules[name].__version__).partition('-')[0]}"
        for name, title in LIBRARIES.items()
        if name in sys.modules
    ]
    parts = [
        *filter(None, [board_model(), processor()]),
        f"{os.cpu_count()} cores",
        f"Python {platform.python_version()}",
        *versions,
    ]
    return ", ".join(parts)


def board_model(file: Path = _BOARD) -> str:
    """A single-board computer's own name; empty on machines that have none."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def processor(file: Path = _CPUINFO) -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def memory_mb() -> float:
    """What this process holds in memory at this moment."""
    try:
        pages = int(_OWN_PAGES.read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
