"""What figures were measured on, and how much memory they took."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path

from app.inference.processor import board_model, processor_name

LIBRARIES = {"cv2": "OpenCV", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "tensorrt": "TensorRT"}

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
        *filter(None, [board_model(), processor_name()]),
        f"{os.cpu_count()} cores",
        f"Python {platform.python_version()}",
        *versions,
    ]
    return ", ".join(parts)


def memory_mb() -> float:
    """What this process holds in memory at this moment."""
    try:
        pages = int(_OWN_PAGES.read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
