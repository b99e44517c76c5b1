"""The NVIDIA GPU: detection, properties, and the connection to its memory that all networks share."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from app.errors import ModelError
from app.inference.cuda_memory import CudaPythonGpu, Gpu, PycudaGpu
from app.text import install_hint

DRIVER_LIBRARY = "libcuda.so.1"
_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 75, 76


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
    """Through pycuda if it is installed, since it was built for the installed CUDA; otherwise through cuda-python."""
    problems: List[str] = []
    try:
        import pycuda.driver
    except ImportError as error:
        problems.append(f"pycuda: {error}")
    else:
        return PycudaGpu(pycuda.driver)
    runtime = _import_cuda_python(problems)
    if runtime is not None:
        return CudaPythonGpu(runtime)
    raise ModelError(
        f"TensorRT needs a package for GPU memory, and none can be loaded ({'; '.join(problems)}). Install one: "
        f"JetPack 5: {install_hint('pycuda')}; JetPack 6: {install_hint('cuda-python~=12.6')}; JetPack 7, or a PC with "
        f"CUDA 13: {install_hint('cuda-python~=13.0')} (its major version must match CUDA's). To run without TensorRT: "
        "--backend onnx"
    )


def _import_cuda_python(problems: List[str]) -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as newer:
        try:
            from cuda import cudart as runtime
        except ImportError:
            problems.append(f"cuda-python: {newer}")
            return None
    return runtime
