"""GPU memory and copies to and from it, through pycuda or CUDA's runtime library."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import threading
from abc import ABC, abstractmethod
from typing import Any, Callable, Dict, Iterator

import numpy as np

from app.errors import BackendError, ModelError

_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_POINTER, _MADE = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
_SIGNATURES = {
    "cudaSetDevice": [ctypes.c_int],
    "cudaStreamCreate": [_MADE],
    "cudaStreamSynchronize": [_POINTER],
    "cudaStreamDestroy": [_POINTER],
    "cudaMalloc": [_MADE, ctypes.c_size_t],
    "cudaMallocHost": [_MADE, ctypes.c_size_t],
    "cudaFree": [_POINTER],
    "cudaFreeHost": [_POINTER],
    "cudaMemcpyAsync": [_POINTER, _POINTER, ctypes.c_size_t, ctypes.c_int, _POINTER],
    "cudaGetErrorName": [ctypes.c_int],
}
"""Without them ctypes would pass addresses as C's int, of 32 bits."""


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

    @contextlib.contextmanager
    def lent_to_this_thread(self) -> Iterator[None]:
        """For callbacks in a thread of TensorRT's, while the thread that owns the GPU waits for TensorRT."""
        owner, self._thread = self._thread, threading.current_thread()
        try:
            with self._current(owner):
                yield
        finally:
            self._thread = owner

    def _current(self, owner: threading.Thread) -> contextlib.AbstractContextManager[None]:
        """Makes the context this thread's; `owner`: the thread that has it already."""
        return contextlib.nullcontext()

    def check_thread(self) -> None:
        if threading.current_thread() is not self._thread:
            raise ModelError(
                f"the GPU belongs to the thread '{self._thread.name}' but was used from "
                f"'{threading.current_thread().name}'; run all networks on one thread"
            )


class CudartGpu(Gpu):
    """Through CUDA's own runtime library, which is wherever TensorRT is. The same calls since CUDA 10."""

    def __init__(self, library: Any) -> None:
        super().__init__()
        self._cuda = library
        for name, arguments in _SIGNATURES.items():
            getattr(library, name).argtypes = arguments
        library.cudaGetErrorName.restype = ctypes.c_char_p
        self._call("cudaSetDevice", 0)
        self.stream = self._make("cudaStreamCreate")

    def allocate(self, size: int) -> int:
        return self._make("cudaMalloc", size)

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def allocate_host(self, size: int) -> np.ndarray:
        address = self._make("cudaMallocHost", size)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_host(self, memory: np.ndarray) -> None:
        self._call("cudaFreeHost", memory.ctypes.data)

    def copy_in(self, address: int, host: np.ndarray) -> None:
        self._call("cudaMemcpyAsync", address, host.ctypes.data, host.nbytes, _HOST_TO_DEVICE, self.stream)

    def copy_out(self, host: np.ndarray, address: int) -> None:
        self._call("cudaMemcpyAsync", host.ctypes.data, address, host.nbytes, _DEVICE_TO_HOST, self.stream)

    def synchronize(self) -> None:
        self._call("cudaStreamSynchronize", self.stream)

    def close(self) -> None:
        self._call("cudaStreamDestroy", self.stream)

    def _make(self, name: str, *arguments: int) -> int:
        made = ctypes.c_void_p()
        self._call(name, ctypes.byref(made), *arguments)
        return made.value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        self.check_thread()
        error = getattr(self._cuda, name)(*arguments)
        if error:
            reason = self._cuda.cudaGetErrorName(error).decode("ascii", "replace")
            raise BackendError(f"CUDA: {name} failed: {reason}")


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

    @contextlib.contextmanager
    def _current(self, owner: threading.Thread) -> Iterator[None]:
        if owner is threading.current_thread():
            yield
            return
        self._call(self._context.push)
        try:
            yield
        finally:
            self._call(self._context.pop)

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
