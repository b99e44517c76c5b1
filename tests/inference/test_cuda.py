"""The GPU as the driver reports it, and the shared access to its memory."""

import atexit
import ctypes
import shutil
import subprocess
import threading

import gpu_double
import numpy as np
import pytest
from cuda_in_c import DRIVER_IN_C, RUNTIME_IN_C

from app.errors import BackendError, ModelError
from app.inference import cuda
from app.inference.cuda import GpuInfo, NoGpuError, borrow_gpu, give_back_gpu, probe_gpu


def test_the_gpu_is_described(monkeypatch):
    gpu_double.install_driver(monkeypatch, gpu_double.Driver())
    facts = probe_gpu()
    assert facts == GpuInfo("Pretended GPU", (8, 7), 8 << 30, (12, 6))
    assert str(facts) == "Pretended GPU (compute capability 8.7, 8.0 GiB)"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_driver_is_called_with_the_types_of_its_c_interface(monkeypatch, tmp_path):
    library = tmp_path / "driver.so"
    command = ["gcc", "-shared", "-fPIC", "-xc", "-", "-o", str(library)]
    subprocess.run(command, input=DRIVER_IN_C, text=True, check=True)
    gpu_double.install_driver(monkeypatch, ctypes.CDLL(str(library)))
    assert probe_gpu() == GpuInfo("Orin", (8, 7), 7989788672, (12, 6), shares_memory=True)


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        (None, "no NVIDIA driver: libcuda.so.1"),
        (gpu_double.Driver(gpus=0), "CUDA_VISIBLE_DEVICES"),
        (gpu_double.Driver(status=100), r"cuInit failed, error 100 \(no CUDA-capable device is detected\)"),
    ],
)
def test_a_missing_gpu_is_an_error_with_its_reason(monkeypatch, driver, message):
    gpu_double.install_driver(monkeypatch, driver)
    with pytest.raises(NoGpuError, match=message):
        probe_gpu()


@pytest.fixture(params=["cudart", "pycuda"])
def gpu(request, monkeypatch):
    gpu = gpu_double.Gpu()
    gpu_double.install_memory(monkeypatch, request.param, gpu)
    return gpu


def test_copied_data_is_unchanged(gpu):
    shared = borrow_gpu()
    host, back = shared.allocate_host(64), shared.allocate_host(64)
    address = shared.allocate(64)
    host[:] = np.arange(64)
    shared.copy_in(address, host[:48].view(np.float32).reshape(3, 4))
    shared.copy_out(back[:40], address)
    assert not back.any(), "a copy is only started"
    shared.synchronize()
    np.testing.assert_array_equal(back, [*range(40), *[0] * 24])
    shared.free(address)
    shared.free_host(host)
    shared.free_host(back)
    give_back_gpu()
    assert gpu.clean


def test_the_gpu_is_shared_and_closed_by_the_last_user(gpu):
    first, second = borrow_gpu(), borrow_gpu()
    assert first is second
    give_back_gpu()
    assert gpu.stream_open
    give_back_gpu()
    assert gpu.clean and cuda._Shared.gpu is None
    again = borrow_gpu()
    assert again is not first and gpu.stream_open
    give_back_gpu()


def test_the_gpu_belongs_to_the_thread_that_opened_it(gpu):
    shared, messages = borrow_gpu(), []

    def use():
        try:
            shared.allocate(16)
        except ModelError as error:
            messages.append(str(error))

    thread = threading.Thread(target=use, name="webserver")
    thread.start()
    thread.join()
    give_back_gpu()
    (message,) = messages
    assert "'MainThread'" in message and "'webserver'" in message


def test_a_thread_of_tensorrt_may_use_it_while_its_own_waits(gpu):
    shared = borrow_gpu()
    host, address, outcomes = shared.allocate_host(16), shared.allocate(16), []

    def call_back():
        with shared.lent_to_this_thread():
            shared.copy_in(address, host)
            shared.synchronize()
        try:
            shared.synchronize()
        except ModelError:
            outcomes.append("refused afterwards")

    thread = threading.Thread(target=call_back)
    thread.start()
    thread.join()
    assert outcomes == ["refused afterwards"]
    shared.free(address)
    shared.free_host(host)
    give_back_gpu()
    assert gpu.clean


def test_pycuda_is_preferred_to_the_runtime_library(monkeypatch):
    built_here, other = gpu_double.Gpu(), gpu_double.Gpu()
    gpu_double.install_memory(monkeypatch, "pycuda", built_here)
    gpu_double.install_library(monkeypatch, "libcudart", gpu_double.Cudart(other))
    borrow_gpu()
    assert built_here.stream_open and other.calls == []
    give_back_gpu()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_runtime_library_is_called_with_the_types_of_its_c_interface(monkeypatch, tmp_path):
    library = tmp_path / "runtime.so"
    command = ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-xc", "-", "-o", str(library)]
    subprocess.run(command, input=RUNTIME_IN_C, text=True, check=True)
    runtime = ctypes.CDLL(str(library))
    gpu_double.install_memory(monkeypatch, "none", gpu_double.Gpu())
    gpu_double.install_library(monkeypatch, "libcudart", runtime)
    shared = borrow_gpu()
    host, back = shared.allocate_host(64), shared.allocate_host(64)
    address = shared.allocate(64)
    assert shared.stream > 1 << 32 and address > 1 << 32, "the test needs addresses of more than 32 bits"
    host[:] = np.arange(64)
    shared.copy_in(address, host)
    shared.copy_out(back, address)
    shared.synchronize()
    np.testing.assert_array_equal(back, host)
    with pytest.raises(BackendError, match=r"^CUDA: cudaMalloc failed: cudaErrorMemoryAllocation$"):
        shared.allocate((1 << 33) + 1)
    shared.free(address)
    shared.free_host(host)
    shared.free_host(back)
    give_back_gpu()
    assert runtime.live_allocations() == 0


def test_pycuda_leaves_its_context_also_when_the_stream_fails(monkeypatch):
    healthy = gpu_double.Gpu()
    gpu_double.install_memory(monkeypatch, "pycuda", healthy)
    borrow_gpu()
    give_back_gpu()
    failing = gpu_double.Gpu(failing_call=healthy.calls.index("Stream"))
    gpu_double.install_memory(monkeypatch, "pycuda", failing)
    with pytest.raises(ModelError, match="CUDA: Stream failed"):
        borrow_gpu()
    assert failing.clean and failing.calls[-2:] == ["pop", "detach"]
    assert cuda._Shared.users == 0


def test_pycudas_context_is_left_when_the_program_ends_without_closing(monkeypatch):
    """Otherwise pycuda aborts the process, and the original error is lost."""
    gpu, at_exit = gpu_double.Gpu(), []
    gpu_double.install_memory(monkeypatch, "pycuda", gpu)
    monkeypatch.setattr(atexit, "register", at_exit.append)
    left_open = cuda.open_gpu()
    assert gpu.contexts_open and left_open.stream
    (leave,) = at_exit
    leave()
    assert gpu.clean


def test_pycuda_has_all_names_of_its_double():
    """Runs only where pycuda can be imported, which needs a driver."""
    driver = pytest.importorskip("pycuda.driver")
    for owner, names in gpu_double.PYCUDA.items():
        where = getattr(driver, owner) if owner else driver
        assert [name for name in names if not hasattr(where, name)] == [], owner
