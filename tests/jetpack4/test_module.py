"""The module itself: how it is built, when it refuses to load, which names it has, and what it does with errors."""

import json
import re
import subprocess
import sys

import pytest
from environments import ROOT, SURFACES
from used_names import read_uses

pytestmark = pytest.mark.timeout(300)  # the first test compiles

SURFACE = """
import tensorrt

def names_of(thing):
    return [name for name in dir(thing) if not name.startswith("_")]

surface = {"": names_of(tensorrt), "Severity": names_of(tensorrt.ILogger.Severity)}
surface.update({name: names_of(getattr(tensorrt, name)) for name in surface[""]})
answer(surface)
"""


@pytest.fixture(scope="module")
def surface(board):
    return board.answer(SURFACE)


@pytest.fixture(scope="module")
def real():
    """The names of NVIDIA's module, version 8.2."""
    return json.loads((SURFACES / "8.2.json").read_text(encoding="utf-8"))


def test_it_has_only_names_that_nvidias_module_has(surface, real):
    assert {name: inner for name, inner in surface.items() if not set(inner) <= {*real[name], "name", "value"}} == {}


def test_it_has_all_names_that_our_source_uses(surface, real):
    uses, _ = read_uses({name for name in real if name})
    in_8_2 = {(use.owner, use.name) for use in uses if use.name in real.get(use.owner, ())}
    missing = {(owner, name) for owner, name in in_8_2 if name not in surface.get(owner, ())}
    assert len(in_8_2) > 60 and not missing


@pytest.mark.slow
def test_a_library_of_another_version_is_refused(board, older_board):
    """Its classes have another layout, and calling them would crash."""
    done = board.run(
        """
from app.inference.tensorrt_api import load_tensorrt
try:
    load_tensorrt()
except ModelError as error:
    print(error)
""",
        libraries=older_board.libraries,
    )
    assert done.returncode == 0, done.stderr
    assert "built for TensorRT 8.2.1" in done.stdout and "is 8.0.1" in done.stdout
    assert "install/jetpack4/build.py" in done.stdout


def test_without_its_library_it_is_reported_as_broken(board, tmp_path):
    done = board.run(
        """
from app.inference.tensorrt_api import load_tensorrt
try:
    load_tensorrt()
except ModelError as error:
    print(error)
""",
        libraries=tmp_path,
    )
    assert "libnvinfer.so.8" in done.stdout, done.stderr


def test_a_module_that_loads_is_not_built_again(board):
    (module,) = (board.site / "tensorrt").glob("_tensorrt*.so")
    before = module.stat().st_mtime_ns
    done = board.build()
    assert done.returncode == 0 and "built already" in done.stdout
    assert module.stat().st_mtime_ns == before


def test_nvidias_module_is_not_overwritten(board, tmp_path):
    there = type(board)(tmp_path, 2)
    there.headers, there.libraries = board.headers, board.libraries
    package = tmp_path / "site" / "tensorrt" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text("from .tensorrt import *\n", encoding="utf-8")
    done = there.build()
    assert done.returncode == 1 and str(package.parent) in done.stderr
    assert package.read_text(encoding="utf-8") == "from .tensorrt import *\n"


def test_a_missing_header_is_named_with_its_package(board, tmp_path):
    headers = tmp_path / "include"
    headers.mkdir()
    headers.joinpath("NvInfer.h").write_text("#include <driver_missing.h>\n", encoding="utf-8")
    there = type(board)(tmp_path, 2)
    there.libraries = board.libraries
    done = there.build()
    assert done.returncode == 1
    assert "libnvinfer-dev" in done.stderr and "driver_missing.h" in done.stderr
    assert not (tmp_path / "site" / "tensorrt").exists()


def test_libraries_without_names_for_linking_can_be_used(board, tmp_path):
    """The NVIDIA runtime mounts libnvinfer.so.8, and in some releases not libnvinfer.so."""
    sys.path.insert(0, str(ROOT / "install" / "jetpack4"))
    import build

    assert build.library_options([str(board.headers)], [board.libraries])[-2:] == ["-lnvinfer", "-lnvonnxparser"]
    for name in ("libnvinfer.so.8", "libnvonnxparser.so.8"):
        (tmp_path / name).symlink_to(board.libraries / "libnvinfer.so.8")
    assert build.library_options([str(board.headers)], [tmp_path])[-1] == "-l:libnvonnxparser.so.8"


def test_libraries_that_cannot_be_linked_are_noticed_before_compiling(board, tmp_path):
    """A container has empty files where nothing was mounted."""
    for name in ("libnvinfer.so", "libnvonnxparser.so", "libnvinfer.so.8", "libnvonnxparser.so.8"):
        (tmp_path / name).touch()
    there = type(board)(tmp_path / "board", 2)
    there.headers, there.libraries = board.headers, tmp_path
    done = there.build()
    assert done.returncode == 1 and "libraries cannot be used" in done.stderr and "compiling" not in done.stdout
    assert not (there.site / "tensorrt").exists()


def test_its_versions_of_pybind11_agree():
    build = (ROOT / "install" / "jetpack4" / "build.py").read_text(encoding="utf-8")
    (version,) = re.findall(r"pybind11==[0-9.]+", build)
    for file in ("pyproject.toml", "install/constraints.txt", "install/constraints-numpy1.txt"):
        assert set(re.findall(r"pybind11==[0-9.]+", (ROOT / file).read_text(encoding="utf-8"))) == {version}, file


def test_the_log_takes_any_message_and_any_error(board):
    """A message that is not UTF-8, a logger that raises, one without the method, and an error that is being raised."""
    done = board.run(
        """
import tensorrt
messages = []

class Collecting(tensorrt.ILogger):
    def __init__(self):
        tensorrt.ILogger.__init__(self)
    def log(self, severity, message):
        messages.append([severity.name, message])

class Raising(Collecting):
    def log(self, severity, message):
        raise OSError("the disk is full")

class Silent(tensorrt.ILogger):
    def __init__(self):
        tensorrt.ILogger.__init__(self)

for kind in (Collecting, Raising, Silent):
    logger = kind()
    assert tensorrt.Runtime(logger).deserialize_cuda_engine(b"double-plan 1") is None
control().refuse_call(0)
try:
    tensorrt.Builder(Collecting())
except TypeError as error:
    messages.append(["TypeError", str(error)])
del logger
answer([messages, live()])
"""
    )
    assert done.returncode == 0, done.stderr
    messages, left = json.loads(done.stdout)
    assert [kind for kind, _ in messages] == ["ERROR", "ERROR", "TypeError"]
    assert messages[0][1].endswith("does not match \ufffd")
    assert "the disk is full" in done.stderr and "the method log is missing" in done.stderr
    assert left == [0, 0]


def test_a_shape_with_too_many_sizes_is_an_error(board):
    assert board.answer("""
import tensorrt
from app.inference.tensorrt_api import make_logger
profile = tensorrt.Builder(make_logger(tensorrt)).create_optimization_profile()
try:
    profile.set_shape("data", (1,) * 9, (1,) * 9, (1,) * 9)
except ValueError as error:
    answer(str(error))
""").startswith("a shape of 9 sizes")


def test_the_build_script_explains_itself():
    words = [sys.executable, str(ROOT / "install" / "jetpack4" / "build.py"), "--help"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0 and "--include" in done.stdout


def test_doctor_names_it(board):
    status, text = board.answer("""
from app.tools.doctor import hardware
from app.inference import cuda
hardware.load_cudart = cuda.load_cudart
(finding,) = hardware.check_tensorrt(hardware.jetpack_of("32.7.4"))
answer([finding.status.name, finding.text])
""")
    assert status == "OK" and "8.2.1" in text and "install/jetpack4" in text


def test_doctor_says_how_to_build_it_again(board):
    status, text, advice = board.answer("""
from app.tools.doctor import hardware
from app.inference import cuda
hardware.load_cudart = cuda.load_cudart
hardware.module_source = lambda: "another source"
(finding,) = hardware.check_tensorrt(hardware.jetpack_of("32.7.4"))
answer([finding.status.name, finding.text, finding.advice])
""")
    assert status == "WARNING" and "8.2.1" in text and "install/jetpack4/build.py" in advice
