"""What the programs in these tests share. Imported by them in a process of its own, where `tensorrt` is our module."""

import contextlib
import ctypes
import gc
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from app.errors import ModelError
from app.inference import cuda
from app.inference.engine import NetworkSpec
from app.inference.tensorrt import TensorRTEngine
from app.inference.tensorrt_api import current_target
from app.inference.tensorrt_builder import BuildJob, BuildOptions, build_plan
from app.inference.tensorrt_plan import describe_plan

__all__ = [
    "ModelError",
    "TensorRTEngine",
    "answer",
    "build",
    "control",
    "describe_plan",
    "gc",
    "live",
    "np",
    "pictures",
    "start",
]

LARGEST = (8, 3, 80, 96)


class _Libraries:
    nvinfer = None
    cudart = None


def start(libraries):
    """Lets the program use the doubles in this folder, and no GPU that the machine may have."""
    _Libraries.cudart = ctypes.CDLL(f"{libraries}/libcudart.so.10.2")
    cuda.DRIVER_LIBRARY = f"{libraries}/libcuda.so.1"
    cuda.load_cudart = lambda: _Libraries.cudart
    sys.modules["pycuda"] = None
    with contextlib.suppress(OSError):
        _Libraries.nvinfer = ctypes.CDLL("libnvinfer.so.8")


def answer(value):
    sys.stdout.write(json.dumps(value) + "\n")


def control():
    """The double's functions for tests."""
    return _Libraries.nvinfer


def live():
    """Objects of TensorRT and allocations of CUDA that have not been freed."""
    gc.collect()
    return [control().live_objects(), _Libraries.cudart.live_allocations()]


def pictures(count=5):
    rest = list(np.random.default_rng(0).normal(0, 1, (count, 1, *LARGEST[1:])).astype(np.float32))
    return lambda: rest.pop(0) if rest else None


def build(folder, precision="fp32", next_picture=None, network="double-network input data -1 3 -1 -1 scale 2", **spec):
    """Builds an engine and writes it and its by-products, as the program does."""
    path = Path(folder) / "net.onnx"
    path.write_text(network, encoding="utf-8")
    made = NetworkSpec("net", path, hashlib.sha256(path.read_bytes()).hexdigest(), LARGEST, **spec)
    has_pictures = next_picture is not None
    job = BuildJob(made, precision, BuildOptions(force=True), current_target(), 64 << 20, has_pictures, 0)
    result = build_plan(job, next_picture or (lambda: None), lambda text: None)
    result.path.write_bytes(result.plan)
    for product, content in result.by_products.items():
        product.write_bytes(content)
    return result
