"""GPU memory and copies to and from it, through pycuda or cuda-python."""

from __future__ import annotations

import atexit
import ctypes
import threading
from abc import ABC, abstractmethod
from typing import Any, Callable, Dict

import numpy as np

from app.errors import BackendError, ModelError


class Gpu(ABC):
    """One context and one stream, which executes everything in order.

    Belongs to the thread that opened it: a CUDA context is bound to a thread, and two threads on one stream would mix
    up their networks' inputs. Copies are asynchronous: call `synchronize` to wait for them.
    """

    stream: int
    """The stream's handle for TensorRT."""

    def __init__(self) -> None:
        self._thread = threading.current_thread()

    @abstractmethod
    def allocate(self, size: int) -> int:
        """Allocates bytes on the GPU and returns the address."""

    @abstractmethod
    def free(self, address: int) -> None: ...

    @abstractmethod
    def allocate_host(self, size: int) -> np.ndarray:
        """Allocates bytes of page-locked main memory, which the GPU can access."""

    @abstractmethod
    def free_host(self, memory: np.ndarray) -> None:
        """Takes the array that `allocate_host` returned; views of it become invalid."""

    @abstractmethod
    def copy_in(self, address: int, host: np.ndarray) -> None:
        """Starts copying all of `host`, a contiguous array, to the GPU."""

    @abstractmethod
    def copy_out(self, host: np.ndarray, address: int) -> None:
        """Starts filling all of `host` from the GPU."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits until everything that was started is finished."""

    @abstractmethod
    def close(self) -> None:
        """Call it after all memory has been freed."""

    def check_thread(self) -> None:
        if threading.current_thread() is not self._thread:
            raise ModelError(
                f"the GPU belongs to the thread '{self._thread.name}' but was used from "
                f"'{threading.current_thread().name}'; run all networks on one thread"
            )


class CudaPythonGpu(Gpu):
    """Through NVIDIA's cuda-python: `cuda.bindings.runtime` since 12.6, `cuda.cudart` before."""

    def __init__(self, runtime: Any) -> None:
        super().__init__()
        self._cuda = runtime
        self._call(runtime.cudaSetDevice, 0)
        self._stream = self._call(runtime.cudaStreamCreate)
        self.stream = int(self._stream)

    def allocate(self, size: int) -> int:
        return int(self._call(self._cuda.cudaMalloc, size))

    def free(self, address: int) -> None:
        self._call(self._cuda.cudaFree, address)

    def allocate_host(self, size: int) -> np.ndarray:
        address = int(self._call(self._cuda.cudaMallocHost, size))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_host(self, memory: np.ndarray) -> None:
        self._call(self._cuda.cudaFreeHost, memory.ctypes.data)

    def copy_in(self, address: int, host: np.ndarray) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self._cuda.cudaMemcpyAsync, address, host.ctypes.data, host.nbytes, kind, self._stream)

    def copy_out(self, host: np.ndarray, address: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(self._cuda.cudaMemcpyAsync, host.ctypes.data, address, host.nbytes, kind, self._stream)

    def synchronize(self) -> None:
        self._call(self._cuda.cudaStreamSynchronize, self._stream)

    def close(self) -> None:
        self._call(self._cuda.cudaStreamDestroy, self._stream)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.check_thread()
        try:
            error, *values = function(*arguments)
        except RuntimeError as error_of_driver:  # cuda-python 11.8 raises when the driver's library is missing
            raise BackendError(f"CUDA: {function.__name__} failed: {error_of_driver}") from error_of_driver
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise BackendError(f"CUDA: {function.__name__} failed: {error.name}")
        return values[0] if values else None


class PycudaGpu(Gpu):
    """Through pycuda. The context is the device's primary one, which TensorRT uses as well."""

    def __init__(self, driver: Any) -> None:
        super().__init__()
        self._cuda = driver
        self._allocations: Dict[int, Any] = {}
        self._call(driver.init)
        device = self._call(driver.Device, 0)
        self._context = self._call(device.retain_primary_context)
        self._call(self._context.push)
        # pycuda aborts a process that ends with a context in use, even after another error.
        atexit.register(self.close)
        try:
            self._stream = self._call(driver.Stream)
        except ModelError:
            self._leave_context()
            raise
        self.stream = int(self._stream.handle)

    def allocate(self, size: int) -> int:
        allocation = self._call(self._cuda.mem_alloc, size)
        self._allocations[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        self._call(self._allocations.pop(address).free)

    def allocate_host(self, size: int) -> np.ndarray:
        memory: np.ndarray = self._call(self._cuda.pagelocked_empty, size, np.uint8)
        return memory

    def free_host(self, memory: np.ndarray) -> None:
        self._call(memory.base.free)  # type: ignore[union-attr]

    def copy_in(self, address: int, host: np.ndarray) -> None:
        self._call(self._cuda.memcpy_htod_async, address, host, self._stream)

    def copy_out(self, host: np.ndarray, address: int) -> None:
        self._call(self._cuda.memcpy_dtoh_async, host, address, self._stream)

    def synchronize(self) -> None:
        self._call(self._stream.synchronize)

    def close(self) -> None:
        self.check_thread()
        self._stream = None  # destroyed with its last reference, while the context is still current
        self._leave_context()

    def _leave_context(self) -> None:
        atexit.unregister(self.close)
        self._call(self._context.pop)
        self._call(self._context.detach)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.check_thread()
        try:
            return function(*arguments)
        except self._cuda.Error as error:
            raise BackendError(f"CUDA: {function.__name__} failed: {error}") from error
