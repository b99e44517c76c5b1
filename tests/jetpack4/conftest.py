"""Our `tensorrt` for JetPack 4, compiled as on a board, with doubles of TensorRT, CUDA and the driver behind it."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from cuda_in_c import DRIVER_IN_C, RUNTIME_IN_C

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUILD = ROOT / "install" / "jetpack4" / "build.py"
DOUBLE = HERE / "double"


class Board:
    """Folders with the headers and libraries of one TensorRT version, and the module that was built with them."""

    def __init__(self, folder, minor):
        self.headers, self.libraries, self.site = folder / "include", folder / "lib", folder / "site"
        self.minor = minor

    def make(self):
        self.headers.mkdir(parents=True)
        self.libraries.mkdir()
        self.headers.joinpath("NvInfer.h").write_text(
            f'#define NV_TENSORRT_MINOR {self.minor}\n#include "{DOUBLE / "NvInfer.h"}"\n', encoding="utf-8"
        )
        shutil.copy(DOUBLE / "NvOnnxParser.h", self.headers)
        make_libnvinfer(self.libraries, self.headers)
        for source, name in ((DRIVER_IN_C, "libcuda.so.1"), (RUNTIME_IN_C, "libcudart.so.10.2")):
            command = ["gcc", "-shared", "-fPIC", "-xc", "-", "-o", str(self.libraries / name)]
            subprocess.run(command, input=source, text=True, check=True)
        done = self.build()
        assert done.returncode == 0 and "warning" not in done.stderr, done.stdout + done.stderr

    def build(self, *more):
        words = ["--into", str(self.site), "--include", str(self.headers), "--library", str(self.libraries)]
        return subprocess.run(
            [sys.executable, str(BUILD), *words, *more], env=self.environment(), capture_output=True, text=True
        )

    def environment(self, libraries=None):
        places = (self.site, HERE, ROOT)
        return dict(os.environ, LD_LIBRARY_PATH=str(libraries or self.libraries), PYTHONPATH=":".join(map(str, places)))

    def run(self, program, libraries=None):
        """Runs a Python program that may use the stage."""
        stage = f"from jetpack4_stage import *\nstart({str(self.libraries)!r})\n"
        return subprocess.run(
            [sys.executable, "-c", stage + program],
            env=self.environment(libraries),
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    def answer(self, program):
        """What the program prints as JSON in its last line."""
        done = self.run(program)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def make_libnvinfer(folder, headers, *options):
    library = folder / "libnvinfer.so.8"
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-O1", "-fPIC", "-shared", "-pthread", *options]
    command += [f"-I{headers}", str(DOUBLE / "nvinfer.cpp"), "-o", str(library), f"-Wl,-soname,{library.name}"]
    subprocess.run(command, check=True)
    for name in ("libnvinfer.so", "libnvonnxparser.so"):
        (folder / name).symlink_to(library.name)


def made_board(minor):
    """Compiled once for all sessions, until something that it is made of changes."""
    pytest.importorskip("pybind11", reason="needs pybind11 (extra jetpack4)")
    if shutil.which("g++") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("needs g++ and the headers of this Python")
    sources = [HERE / "conftest.py", ROOT / "tests" / "inference" / "cuda_in_c.py"]
    sources += sorted(path for folder in (BUILD.parent, DOUBLE) for path in folder.rglob("*.*") if path.is_file())
    content = b"".join(path.read_bytes() for path in sources if path.suffix != ".pyc")
    key = hashlib.sha256(content + sys.version.encode()).hexdigest()[:16]
    folder = ROOT / "build" / "jetpack4" / f"8.{minor}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"8.{minor}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        board = Board(folder, minor)
        if not (folder / "complete").exists():
            for old in folder.parent.glob(f"8.{minor}-*"):
                shutil.rmtree(old)
            board.make()
            (folder / "complete").touch()
    return board


@pytest.fixture(scope="session")
def board():
    """JetPack 4.6.1 and newer: TensorRT 8.2."""
    return made_board(2)


@pytest.fixture(scope="session")
def older_board():
    """JetPack 4.6.0: TensorRT 8.0."""
    return made_board(0)
