"""The NVIDIA GPU: detection, properties, and the connection to its memory that all networks share."""

from __future__ import annotations

import contextlib
import ctypes
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Tuple

from app.errors import ModelError
from app.inference.cuda_memory import CudartGpu, Gpu, PycudaGpu
from app.text import install_hint

DRIVER_LIBRARY = "libcuda.so.1"
CUDART_LIBRARIES = (
    "/usr/local/cuda/lib64/libcudart.so",
    "libcudart.so.13",
    "libcudart.so.12",
    "libcudart.so.11.0",
    "libcudart.so.10.2",
)
_INTEGRATED, _COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 18, 75, 76


class NoGpuError(ModelError):
    """No usable NVIDIA GPU, with the reason."""


@dataclass(frozen=True)
class GpuInfo:
    """Properties of the first GPU, from its driver."""

    name: str
    compute_capability: Tuple[int, int]
    memory_bytes: int
    driver_cuda: Tuple[int, int]
    """The newest CUDA version that the driver supports."""
    shares_memory: bool = False
    """Its memory is that of the processor, as on every Jetson."""

    def __str__(self) -> str:
        major, minor = self.compute_capability
        return f"{self.name} (compute capability {major}.{minor}, {self.memory_bytes / 2**30:.1f} GiB)"


def probe_gpu() -> GpuInfo:
    """Asks the driver only: TensorRT crashes the process if there is no GPU. Raises NoGpuError."""
    try:
        driver = ctypes.CDLL(DRIVER_LIBRARY)
    except OSError as error:
        raise NoGpuError(f"no NVIDIA driver: {DRIVER_LIBRARY} not found ({error})") from error
    _call(driver, "cuInit", ctypes.c_uint(0))
    count = ctypes.c_int()
    _call(driver, "cuDeviceGetCount", ctypes.byref(count))
    if count.value < 1:
        raise NoGpuError("the NVIDIA driver is installed but finds no GPU; is CUDA_VISIBLE_DEVICES set?")
    device = ctypes.c_int()
    _call(driver, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
    name = ctypes.create_string_buffer(256)
    _call(driver, "cuDeviceGetName", name, ctypes.c_int(len(name)), device)
    memory = ctypes.c_size_t()
    _call(driver, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    version = ctypes.c_int()
    _call(driver, "cuDriverGetVersion", ctypes.byref(version))
    return GpuInfo(
        name=name.value.decode("utf-8", "replace"),
        compute_capability=(
            _attribute(driver, device, _COMPUTE_CAPABILITY_MAJOR),
            _attribute(driver, device, _COMPUTE_CAPABILITY_MINOR),
        ),
        memory_bytes=memory.value,
        driver_cuda=(version.value // 1000, version.value % 1000 // 10),
        shares_memory=_attribute(driver, device, _INTEGRATED) == 1,
    )


def _attribute(driver: ctypes.CDLL, device: ctypes.c_int, attribute: int) -> int:
    value = ctypes.c_int()
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), device)
    return value.value


def _call(driver: ctypes.CDLL, function: str, *arguments: Any) -> None:
    status = getattr(driver, function)(*arguments)
    if status != 0:
        text = ctypes.c_char_p()
        if hasattr(driver, "cuGetErrorString"):
            driver.cuGetErrorString(ctypes.c_int(status), ctypes.byref(text))
        why = f" ({text.value.decode('utf-8', 'replace')})" if text.value else ""
        raise NoGpuError(f"the NVIDIA driver is installed but does not work: {function} failed, error {status}{why}")


class _Shared:
    gpu: Optional[Gpu] = None
    users = 0


def borrow_gpu() -> Gpu:
    """The GPU that all networks of this process share. Each caller gives it back once, after freeing its memory."""
    if _Shared.gpu is None:
        _Shared.gpu = open_gpu()
    _Shared.users += 1
    return _Shared.gpu


def give_back_gpu() -> None:
    """The last user closes it."""
    _Shared.users -= 1
    if _Shared.users == 0 and _Shared.gpu is not None:
        gpu, _Shared.gpu = _Shared.gpu, None
        gpu.close()


def open_gpu() -> Gpu:
    """Through pycuda if it is installed, otherwise through CUDA's runtime library."""
    try:
        import pycuda.driver
    except ImportError:
        return CudartGpu(load_cudart())
    return PycudaGpu(pycuda.driver)


def load_cudart() -> ctypes.CDLL:
    """CUDA's runtime library: the one that pip installed with TensorRT, the toolkit's, or one that the loader finds."""
    packages = Path(sysconfig.get_path("platlib"), "nvidia").glob("*/lib/libcudart.so.*")
    for name in [*map(str, sorted(packages, reverse=True)), *CUDART_LIBRARIES]:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    raise ModelError(
        f"TensorRT needs CUDA's runtime library, and it is not found (looked for {', '.join(CUDART_LIBRARIES)}). It "
        "belongs to JetPack and to the CUDA toolkit; on a PC: "
        f"{install_hint('nvidia-cuda-runtime-cu12')} (the number is CUDA's major version). To run without TensorRT: "
        "--backend onnx"
    )
