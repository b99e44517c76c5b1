"""Folders as on a board with JetPack 4, with doubles of TensorRT, CUDA and the driver."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

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

    def make_doubles(self, cross=""):
        """`cross` is the beginning of the names of another machine's compilers, such as aarch64-linux-gnu-."""
        self.headers.mkdir(parents=True)
        self.libraries.mkdir()
        self.headers.joinpath("NvInfer.h").write_text(
            f'#define NV_TENSORRT_MINOR {self.minor}\n#include "{DOUBLE / "NvInfer.h"}"\n', encoding="utf-8"
        )
        shutil.copy(DOUBLE / "NvOnnxParser.h", self.headers)
        make_libnvinfer(self.libraries, self.headers, cross=cross)
        for source, name in ((DRIVER_IN_C, "libcuda.so.1"), (RUNTIME_IN_C, "libcudart.so.10.2")):
            command = [f"{cross}gcc", "-shared", "-fPIC", "-xc", "-", "-o", str(self.libraries / name)]
            subprocess.run(command, input=source, text=True, check=True)

    def make(self):
        self.make_doubles()
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


def make_libnvinfer(folder, headers, *options, cross=""):
    library = folder / "libnvinfer.so.8"
    command = [f"{cross}g++", "-std=c++11", "-Wall", "-Wextra", "-O1", "-fPIC", "-shared", "-pthread", *options]
    command += [f"-I{headers}", str(DOUBLE / "nvinfer.cpp"), "-o", str(library), f"-Wl,-soname,{library.name}"]
    subprocess.run(command, check=True)
    for name in ("libnvinfer.so", "libnvonnxparser.so"):
        (folder / name).symlink_to(library.name)
