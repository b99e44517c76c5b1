"""Builds `import tensorrt` for Python 3.8 on JetPack 4, against the TensorRT that is on this board.

    .venv/bin/python install/jetpack4/build.py

Run it with the Python of the environment; it takes about two minutes on a Nano and 0.5 GB of memory. A module that was
built earlier and still loads is kept. Run it again after an update of TensorRT.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import List, NoReturn

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "tensorrt.cpp"
PACKAGE = HERE / "tensorrt" / "__init__.py"
PYBIND11 = "pybind11==2.10.4"
CUDA = ("/usr/local/cuda/include", "/usr/local/cuda-10.2/include")
HEADERS = {
    "Python.h": ("PY_VERSION_HEX", "python{}.{}-dev".format(*sys.version_info[:2])),
    "NvInfer.h": ("NV_TENSORRT_MAJOR", "libnvinfer-dev cuda-cudart-dev-10-2 cuda-nvcc-10-2"),
    "NvOnnxParser.h": ("NV_ONNX_PARSER_MAJOR", "libnvonnxparsers-dev"),
}
"""What each header defines, as a container has empty files where nothing was mounted, and its Ubuntu packages."""
USES_BOTH_LIBRARIES = """
#include <NvInfer.h>
#include <NvOnnxParser.h>
void* runtime(nvinfer1::ILogger& log) { return nvinfer1::createInferRuntime(log); }
void* parser(nvinfer1::INetworkDefinition& network, nvinfer1::ILogger& log) {
  return nvonnxparser::createParser(network, log);
}
"""
LINKS = (["-lnvinfer", "-lnvonnxparser"], ["-l:libnvinfer.so.8", "-l:libnvonnxparser.so.8"])
"""A container has the libraries, but may lack the names that are meant for linking."""


def main() -> None:
    choices = parse_arguments()
    folder = choices.into / "tensorrt"
    if (folder / "__init__.py").exists() and "_tensorrt" not in (folder / "__init__.py").read_text(encoding="utf-8"):
        stop(f"{folder} is another module called tensorrt, which is kept. To use this one, remove that folder.")
    if not choices.force and loaded(choices.into) == source_sha256():
        say(f"{folder} is built already")
        return
    includes = [*map(str, choices.include), *CUDA, sysconfig.get_path("include"), pybind11_headers()]
    check_headers(includes)
    compile_module(folder, includes, library_options(includes, choices.library))
    shutil.copyfile(PACKAGE, folder / "__init__.py")
    check(choices.into)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--into", type=Path, default=Path(sysconfig.get_path("platlib")), help="default: this environment"
    )
    parser.add_argument("--include", type=Path, action="append", default=[], help="another folder of headers")
    parser.add_argument("--library", type=Path, action="append", default=[], help="another folder of libraries")
    parser.add_argument("--force", action="store_true", help="build it even if it is there")
    return parser.parse_args()


def source_sha256() -> str:
    return hashlib.sha256(SOURCE.read_bytes() + PACKAGE.read_bytes()).hexdigest()


def loaded(folder: Path) -> str:
    """The source of the module that can be loaded from there; empty if none can."""
    return run_python(folder, "import tensorrt; print(getattr(tensorrt, '__source__', ''))").stdout.strip()


def run_python(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    order = f"import sys; sys.path.insert(0, {str(folder)!r}); {program}"
    return subprocess.run([sys.executable, "-c", order], capture_output=True, text=True)


def pybind11_headers() -> str:
    try:
        import pybind11
    except ImportError:
        stop(f"pybind11 is missing: {sys.executable} -m pip install {PYBIND11}")
    return str(pybind11.get_include())


def check_headers(includes: List[str]) -> None:
    if shutil.which("g++") is None:
        stop("g++ is missing: sudo apt-get install g++")
    for header, (defined, packages) in HEADERS.items():
        words = ["g++", "-std=c++11", "-E", "-x", "c++", *include_options(includes), "-"]
        program = f"#include <{header}>\n#ifndef {defined}\n#error {header} is empty\n#endif\n"
        done = subprocess.run(words, input=program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            stop(f"{header} cannot be used: {on_the_board(packages)}\n{done.stderr.strip()}")


def on_the_board(packages: str) -> str:
    advice = f"sudo apt-get install {packages}"
    if not Path("/.dockerenv").exists():
        return advice
    return (
        f"on the board (not in the container): {advice}; and start the container with --runtime nvidia, which mounts "
        "it. If it is still missing, see docs/jetson.md"
    )


def include_options(includes: List[str]) -> List[str]:
    """As headers of the system, of which warnings are not shown."""
    return [word for folder in includes for word in ("-isystem", folder)]


def library_options(includes: List[str], folders: List[Path]) -> List[str]:
    """Tried before compiling, which takes minutes. An empty library can be linked, but defines nothing."""
    errors = []
    with tempfile.TemporaryDirectory() as unused:
        for names in LINKS:
            options = [f"-L{folder}" for folder in folders] + names
            command = ["g++", "-std=c++11", "-shared", "-fPIC", "-Wno-deprecated-declarations", "-Wl,--no-undefined"]
            command += [
                "-o",
                f"{unused}/linked.so",
                *include_options(includes),
                "-x",
                "c++",
                "-",
                "-x",
                "none",
                *options,
            ]
            done = subprocess.run(
                command, input=USES_BOTH_LIBRARIES, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            if done.returncode == 0:
                break
            errors.append(done.stderr.strip())
        else:
            packages = on_the_board("libnvinfer-dev libnvonnxparsers-dev")
            stop(f"TensorRT's libraries cannot be used: {packages}\n{errors[-1]}")
    return options


def compile_module(
    folder: Path, includes: List[str], libraries: List[str], compiler: str = "g++", suffix: str = ""
) -> None:
    """`suffix`: the end of the file's name, if the module is not for the Python that runs this."""
    say("compiling TensorRT's Python module (about two minutes on a Nano)")
    folder.mkdir(parents=True, exist_ok=True)
    name = f"_tensorrt{suffix or sysconfig.get_config_var('EXT_SUFFIX')}"
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        made = Path(unfinished) / name
        command = [compiler, "-std=c++11", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra"]
        command += ["-Wno-deprecated-declarations", "-Wl,--strip-all", f'-DSOURCE_SHA256="{source_sha256()}"']
        command += [*include_options(includes), str(SOURCE), "-o", str(made)]
        command += libraries
        if subprocess.run(command).returncode != 0:
            stop(
                "compiling failed, see the messages above. If the compiler was killed, memory was short: it needs "
                "0.6 GB; add swap (./jetson_setup.sh does)"
            )
        made.replace(folder / name)


def check(folder: Path) -> None:
    done = run_python(folder, "import tensorrt; print(tensorrt.__version__)")
    if done.returncode != 0:
        stop(f"it was compiled but cannot be imported: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    say(f"TensorRT {done.stdout.strip()} can be imported from {folder}")


def say(what: str) -> None:
    sys.stdout.write(f"==> {what}\n")
    sys.stdout.flush()


def stop(why: str) -> NoReturn:
    sys.exit(f"install/jetpack4/build.py: {why}")


if __name__ == "__main__":
    main()
