"""This machine: what figures were measured on, and how much memory the process uses."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path

from app.inference.host import board_model, processor_name

LIBRARIES = {"cv2": "OpenCV", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "tensorrt": "TensorRT"}


def describe_machine() -> str:
    """Board or processor, cores and versions. Call it after measuring: it lists the libraries that were imported."""
    versions = [
        f"{title} {str(sys.modules[name].__version__).partition('-')[0]}"
        for name, title in LIBRARIES.items()
        if name in sys.modules
    ]
    names = [name for name in (board_model(), processor_name()) if name]
    return ", ".join([*names, f"{os.cpu_count()} cores", f"Python {platform.python_version()}", *versions])


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
