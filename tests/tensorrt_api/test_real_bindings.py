"""Our side of TensorRT against NVIDIA's real Python bindings with empty libraries behind them, and TensorRT-RTX.

`make test-tensorrt` gets them; without it these tests are skipped.
"""

import json
import re
from pathlib import Path

import pytest
from environments import CUDART, ROOT, SURFACES, VERSIONS, relevant, run_in

FOLDER = ROOT / "build" / "tensorrt-api"


@pytest.fixture(params=sorted(VERSIONS))
def bindings(request):
    """The folder of one version's bindings."""
    folder = FOLDER / request.param
    if not (folder / "surface.json").exists():
        pytest.skip(f"the bindings of TensorRT {request.param} are not here; make test-tensorrt gets them")
    return folder


@pytest.fixture(params=sorted(CUDART))
def cudart(request):
    """The folder of one version of CUDA's runtime library."""
    folder = FOLDER / request.param
    if not (folder / "surface.json").exists():
        pytest.skip(f"{request.param} is not here; make test-tensorrt gets it")
    return folder


def load(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_the_committed_surface_is_the_real_one(bindings):
    expected = load(SURFACES / f"{bindings.name}.json")
    assert relevant(load(bindings / "surface.json")) == {
        name: sorted(inner) if name else inner for name, inner in expected.items()
    }


def test_our_wrapper_works_with_the_real_module(bindings):
    """The logger is a real subclass, and a constructor that gives nothing becomes our error in its own words."""
    done = run_in(
        bindings,
        """
import logging, sys, tensorrt_bindings
sys.modules["tensorrt"] = tensorrt_bindings
from app.errors import ModelError
from app.inference.tensorrt_api import called, has_named_tensors, load_tensorrt, make_logger, numpy_dtype
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(levelname)s %(message)s")
trt = load_tensorrt()
assert has_named_tensors(trt)
logger = make_logger(trt)
assert make_logger(trt) is logger and isinstance(logger, trt.ILogger)
logger.log(trt.ILogger.Severity.WARNING, "a warning")
logger.log(trt.ILogger.Severity.ERROR, "what went wrong")
assert [str(numpy_dtype(trt, dtype)) for dtype in (trt.float32, trt.float16, trt.int8, trt.int32, trt.bool)] == [
    "float32", "float16", "int8", "int32", "bool"]
try:
    numpy_dtype(trt, trt.DataType.FP8)
except ModelError as error:
    print("refused:", error)
assert tuple(trt.Dims((1, -1, 3))) == (1, -1, 3)
for create in (trt.Runtime, trt.Builder):
    try:
        called(create, logger, what=f"making a {create.__name__}", trt_logger=logger)
    except ModelError as error:
        print("error:", error)
""",
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING TensorRT: a warning" in done.stdout and "ERROR TensorRT: what went wrong" in done.stdout
    assert "refused: TensorRT's type DataType.FP8" in done.stdout
    assert re.search(r"error: TensorRT: making a Runtime .*pybind11::init\(\)", done.stdout)
    assert "what went wrong" in done.stdout.split("error:")[1]
    assert re.search(r"error: TensorRT: making a Builder .*pybind11::init\(\)", done.stdout)


def test_without_its_libraries_the_module_is_reported_as_broken(bindings):
    done = run_in(
        bindings,
        """
import importlib.abc, os, sys
if os.environ.pop("LD_LIBRARY_PATH", None):
    os.execv(sys.executable, [sys.executable, "-c", PROGRAM])
""".replace(
            "PROGRAM",
            repr(
                """
import sys, types
class Alias:
    def find_spec(self, name, path, target=None):
        if name == "tensorrt":
            import tensorrt_bindings
sys.meta_path.insert(0, Alias())
from app.errors import ModelError
from app.inference.tensorrt_api import load_tensorrt
try:
    load_tensorrt()
except ModelError as error:
    print(error)
"""
            ),
        ),
    )
    assert ": libnv" in done.stdout, done.stderr
    assert "JetPack" in done.stdout


def test_the_real_runtime_library_is_found_where_pip_puts_it_and_is_called(cudart):
    """Without a driver its first call fails, in the library's own words."""
    done = run_in(
        cudart,
        f"""
import sysconfig
sysconfig.get_path = lambda name: {str(cudart / "packages")!r}
from app.errors import ModelError
from app.inference.cuda import NoGpuError, load_cudart, open_gpu, probe_gpu
library = load_cudart()
assert {str(cudart)!r} in library._name, library._name
try:
    print("there is a", probe_gpu())
except NoGpuError:
    try:
        open_gpu()
    except ModelError as error:
        print(error)
""",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("there is a", "CUDA: cudaSetDevice failed: cudaError")), done.stdout


def test_a_file_that_is_no_engine_is_refused_by_the_real_library():
    folder = FOLDER / "tensorrt-rtx"
    if not (folder / "surface.json").exists():
        pytest.skip("TensorRT-RTX is not here; make test-tensorrt gets it")
    done = run_in(
        folder,
        """
import pathlib, sys, tensorrt_rtx_bindings
sys.modules["tensorrt"] = tensorrt_rtx_bindings
from app.errors import ModelError
from app.inference.tensorrt_api import load_tensorrt
from app.inference.tensorrt_plan import read_plan, start_runtime
trt = load_tensorrt()
try:
    read_plan(trt, start_runtime(trt), pathlib.Path("README.md"))
except ModelError as error:
    print(error)
""",
    )
    assert done.returncode == 0, done.stderr
    assert "TensorRT: reading README.md failed: " in done.stdout and "Serialization" in done.stdout, done.stderr
    assert " -m app engines build" in done.stdout
