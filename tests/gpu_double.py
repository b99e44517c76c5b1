"""A GPU made of ordinary memory, with CUDA's runtime, pycuda and the driver on top of it.

What is started on it is done when it is waited for and not before, so that data which is read or overwritten too early
is wrong data. Memory that was not taken, or was given back, cannot be touched. Every call is written down, and any one
of them can be made to fail.
"""

import ctypes
import sys
import types

import numpy as np

from app.inference import cuda

PYCUDA = {
    "": (
        "init",
        "Device",
        "Stream",
        "Error",
        "mem_alloc",
        "pagelocked_empty",
        "memcpy_htod_async",
        "memcpy_dtoh_async",
    ),
    "Device": ("retain_primary_context",),
    "Context": ("push", "pop", "detach"),
    "Stream": ("synchronize", "handle"),
    "DeviceAllocation": ("free", "__int__"),
    "PagelockedHostAllocation": ("free",),
}
"""What of pycuda stands here. It cannot be installed without CUDA; where it is, a test holds this against it."""

STREAM, CONTEXT = 0x57, 0xC0


class Gpu:
    def __init__(self, failing_call=None):
        self.calls = []
        self.live = {}
        self.stream_open = False
        self.contexts_open = 0
        self.most_memory = 0
        self._is_lost = False
        self._failing_call = failing_call
        self._started = []

    def call(self, name):
        """Writes the call down; whether it is the one that is to fail."""
        self.calls.append(name)
        return self._is_lost or len(self.calls) - 1 == self._failing_call

    def fail_next(self, after=0):
        """The next call fails, or the one after so many others."""
        self._failing_call = len(self.calls) + after

    def lose(self):
        """From now on every call fails; what was started is never done."""
        self._is_lost = True
        self._started.clear()

    def note(self, name):
        """Writes down what cannot fail."""
        self.calls.append(name)
        self._failing_call = None if self._failing_call is None else self._failing_call + 1

    def take(self, size):
        memory = ctypes.create_string_buffer(size)
        address = ctypes.addressof(memory)
        self.live[address] = memory
        self.most_memory = max(self.most_memory, sum(len(held) for held in self.live.values()))
        return address

    def give_back(self, address):
        assert address in self.live, "memory given back that is not taken"
        assert not self._started, "memory given back while work goes on"
        del self.live[address]

    def at(self, address, size):
        """That memory, as bytes; on a real GPU, to miss it would end the process."""
        for start, memory in self.live.items():
            if start <= address and address + size <= start + len(memory):
                return np.frombuffer(memory, np.uint8)[address - start :][:size]
        raise AssertionError(f"no {size} bytes are taken at {address:#x}")

    def start(self, work):
        assert self.stream_open
        self._started.append(work)

    def start_copy(self, target, source, size):
        self.at(target, size), self.at(source, size)
        self.start(lambda: self.at(target, size).__setitem__(slice(None), self.at(source, size)))

    def wait(self):
        for work in self._started:
            work()
        self._started.clear()

    @property
    def clean(self):
        return not (self.live or self._started or self.stream_open or self.contexts_open)


class Cudart:
    """libcudart, as ctypes would have loaded it: every function gives an error code, and writes what it made."""

    def __init__(self, gpu):
        def offer(name, does):
            def function(*arguments):
                assert len(arguments) == len(function.argtypes), name
                if gpu.call(name):
                    return 999
                does(*arguments)
                return 0

            setattr(self, name, function)

        def make(made, value):
            made._obj.value = value

        def set_stream(is_open):
            gpu.stream_open = is_open
            return STREAM

        def error_name(error):
            return b"cudaErrorUnknown"

        self.cudaGetErrorName = error_name
        offer("cudaSetDevice", lambda device: None)
        offer("cudaStreamCreate", lambda made: make(made, set_stream(True)))
        offer("cudaStreamDestroy", lambda stream: set_stream(False))
        offer("cudaStreamSynchronize", lambda stream: gpu.wait())
        offer("cudaMalloc", lambda made, size: make(made, gpu.take(size)))
        offer("cudaFree", gpu.give_back)
        offer("cudaMallocHost", lambda made, size: make(made, gpu.take(size)))
        offer("cudaFreeHost", gpu.give_back)
        offer("cudaMemcpyAsync", lambda target, source, size, kind, stream: gpu.start_copy(target, source, size))


class _PycudaError(Exception):
    pass


def pycuda_driver(gpu):
    """`pycuda.driver`: what is made is an object, and what fails raises."""
    module = types.ModuleType("pycuda.driver")

    def offered(name, does):
        assert any(name in names for names in PYCUDA.values()), f"pycuda has no {name}"

        def function(*arguments):
            if gpu.call(name):
                raise _PycudaError(f"{name}: unspecified launch failure")
            return does(*arguments)

        function.__name__ = name
        return function

    class Held:
        """Device memory, or page-locked memory that an array is based on."""

        def __init__(self, size):
            self.address = gpu.take(size)
            self.free = offered("free", lambda: gpu.give_back(self.address))
            self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (self.address, False), "version": 3}

        def __int__(self):
            return self.address

    class Stream:
        handle = STREAM

        def __init__(self):
            gpu.stream_open = True
            self.synchronize = offered("synchronize", lambda: gpu.wait())

        def __del__(self):
            assert gpu.contexts_open, "pycuda: a stream outlived its context"
            gpu.stream_open = False

    class Context:
        def __init__(self):
            self.push = offered("push", lambda: setattr(gpu, "contexts_open", gpu.contexts_open + 1))
            self.pop = offered("pop", lambda: setattr(gpu, "contexts_open", gpu.contexts_open - 1))
            self.detach = offered("detach", lambda: None)

    def address_of(array):
        return array.__array_interface__["data"][0]

    device = types.SimpleNamespace(retain_primary_context=offered("retain_primary_context", Context))
    module.Error = _PycudaError
    module.init = offered("init", lambda: None)
    module.Device = offered("Device", lambda number: device)
    module.Stream = offered("Stream", Stream)
    module.mem_alloc = offered("mem_alloc", Held)
    module.pagelocked_empty = offered("pagelocked_empty", lambda size, dtype: np.asarray(Held(size)))
    module.memcpy_htod_async = offered(
        "memcpy_htod_async", lambda target, source, stream: gpu.start_copy(target, address_of(source), source.nbytes)
    )
    module.memcpy_dtoh_async = offered(
        "memcpy_dtoh_async", lambda target, source, stream: gpu.start_copy(address_of(target), source, target.nbytes)
    )
    return module


class Driver:
    """libcuda, as ctypes would have loaded it."""

    def __init__(self, gpus=1, status=0, shares_memory=False):
        self._gpus, self._status, self._shares_memory = gpus, status, shares_memory

    def cuInit(self, flags):
        return self._status

    def cuDeviceGetCount(self, count):
        count._obj.value = self._gpus
        return 0

    def cuDeviceGet(self, device, number):
        device._obj.value = number.value
        return 0

    def cuDeviceGetName(self, name, size, device):
        name.value = b"Pretended GPU"
        return 0

    def cuDeviceTotalMem_v2(self, memory, device):
        memory._obj.value = 8 << 30
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = {18: int(self._shares_memory), 75: 8, 76: 7}[attribute.value]
        return 0

    def cuDriverGetVersion(self, version):
        version._obj.value = 12060
        return 0

    def cuGetErrorString(self, status, text):
        text._obj.value = b"no CUDA-capable device is detected"
        return 0


def install_library(monkeypatch, name, library):
    """Loading a library whose name contains this gives this one; None: there is none."""
    real = ctypes.CDLL

    def load(path, *arguments, **options):
        if name not in str(path):
            return real(path, *arguments, **options)
        if library is None:
            raise OSError(f"{path}: cannot open shared object file")
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)


def install_driver(monkeypatch, driver):
    install_library(monkeypatch, "libcuda.so", driver)


def install_memory(monkeypatch, kind, gpu):
    """GPU memory through `pycuda` or through `cudart` alone; `none`: neither is there."""
    modules = {"pycuda": None, "pycuda.driver": None}
    if kind == "pycuda":
        parent = types.ModuleType("pycuda")
        parent.driver = pycuda_driver(gpu)
        modules = {"pycuda": parent, "pycuda.driver": parent.driver}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    # A test that fails with its networks open leaves nothing to the next one.
    monkeypatch.setattr(cuda._Shared, "gpu", None)
    monkeypatch.setattr(cuda._Shared, "users", 0)
    install_library(monkeypatch, "libcudart", Cudart(gpu) if kind == "cudart" else None)
