"""Gets NVIDIA's real Python bindings of several versions of TensorRT and CUDA, and writes down their names.

The bindings are small; TensorRT's libraries behind them, of several GB, are replaced by empty ones, which is enough
to import the module and to look at it. What is not available is reported and skipped. 8.2, of JetPack 4, cannot be
installed: surfaces/8.2.json has the names of NVIDIA's bindings 8.2.1, compiled from their source.

    python tests/tensorrt_api/environments.py build/tensorrt-api            # make what is missing there
    python tests/tensorrt_api/environments.py build/tensorrt-api --write    # and renew surfaces/*.json from it
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SURFACES = Path(__file__).parent / "surfaces"
VERSIONS = {
    "8.6.1": "tensorrt-bindings==8.6.1",
    "10.3.0": "tensorrt-cu12-bindings==10.3.0",
    "10.16.1": "tensorrt-cu13-bindings==10.16.1.11",
    "11.4.0": "tensorrt-cu13-bindings==11.4.0.106",
}
CUDART = {
    "cudart-11": "nvidia-cuda-runtime-cu11~=11.7.99",
    "cudart-12": "nvidia-cuda-runtime-cu12~=12.6",
    "cudart-13": "nvidia-cuda-runtime~=13.0",
}
"""CUDA's real runtime library. Without a driver, every call says so."""
TENSORRT_RTX = {"tensorrt-rtx": "tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116"}
"""TensorRT for graphics cards. Its library parses and builds without a GPU, and truly fails where one is needed."""
PYTHONS = ("3.11", "3.10", "3.9", "3.8")
"""Those for which all of these packages exist."""

LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")
LINKED_SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
    "_ZN11nvuffparser15createUffParserEv",
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser117createCaffeParserEv",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
)
IRRELEVANT = re.compile(r"Layer$|Plugin|Caffe|Uff|Refit|^IAlgorithm|^Permutation|^Weights|V2$|V3|^I?Debug|^IStream")
INTROSPECTION = """
import json, sys, tensorrt_bindings as trt

def names_of(thing):
    return [name for name in dir(thing) if not name.startswith("_")]

surface = {"": names_of(trt), "Severity": names_of(trt.ILogger.Severity)}
for name in surface[""]:
    if isinstance(getattr(trt, name), type):
        surface[name] = names_of(getattr(trt, name))
json.dump(surface, sys.stdout)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="renew the committed surfaces")
    options = parser.parse_args()
    python = find_python()
    if python is None or shutil.which("gcc") is None:
        sys.stdout.write(f"skipped: needs gcc and a Python of {', '.join(PYTHONS)}\n")
        return
    for name, requirement in {**VERSIONS, **CUDART, **TENSORRT_RTX}.items():
        folder = (options.folder / name).absolute()
        problem = "" if (folder / "surface.json").exists() else make_environment(python, folder, requirement)
        sys.stdout.write(f"{requirement}: {problem or 'ready'}\n")
    if options.write:
        write_surfaces(options.folder)


def find_python():
    """One that runs, has pip, and for which the bindings exist."""
    for version in PYTHONS:
        found = subprocess.run(
            ["sh", str(ROOT / "install" / "find_python.sh"), version], stdout=subprocess.PIPE, text=True
        )
        if found.returncode == 0:
            return found.stdout.strip()
    return None


def make_environment(python, folder, requirement):
    """Why it could not be made; empty when it could."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    command += ["--retries", "1", "--timeout", "15"]
    for package, target in (("numpy", folder.parent / "numpy"), (requirement, folder / "packages")):
        if not target.exists():
            words = [*command, "--target", str(target), *package.split()]
            done = subprocess.run(words, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                return f"{package} is not available here: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"
    (folder / "python").write_text(python, encoding="utf-8")
    if folder.name in VERSIONS:
        make_libraries(folder, major=folder.name.partition(".")[0])
    surface = run_in(folder, introspection(folder.name))
    if surface.returncode:
        return f"cannot be imported: {surface.stderr.strip()}"
    (folder / "surface.json").write_text(surface.stdout, encoding="utf-8")
    return ""


def introspection(name):
    if name in CUDART:
        return "print({})"
    return (
        INTROSPECTION.replace("tensorrt_bindings", "tensorrt_rtx_bindings") if name in TENSORRT_RTX else INTROSPECTION
    )


def make_libraries(folder, major):
    source = "".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in LINKED_SYMBOLS)
    for library in LIBRARIES:
        name = f"lib{library}.so.{major}"
        link = ["gcc", "-shared", "-fPIC", "-xc", "-", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run(link, input=source, text=True, check=True)


def run_in(folder, program):
    """Runs a Python program where `tensorrt_bindings` is this version's."""
    places = ":".join(str(place) for place in (folder / "packages", folder.parent / "numpy", ROOT))
    environment = dict(os.environ, LD_LIBRARY_PATH=str(folder), PYTHONPATH=places)
    return subprocess.run(
        [(folder / "python").read_text(encoding="utf-8"), "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def relevant(surface):
    """Without what no program of ours could use: the layers of a network that is made by hand, plugins, old parsers."""
    kept = {name: sorted(inner) for name, inner in surface.items() if not IRRELEVANT.search(name)}
    kept[""] = [name for name in kept[""] if not IRRELEVANT.search(name)]
    return kept


def write_surfaces(folder):
    def made(name):
        return json.loads((folder / name / "surface.json").read_text(encoding="utf-8"))

    for version in VERSIONS:
        write_surface(SURFACES / f"{version}.json", relevant(made(version)))


def write_surface(path, surface):
    """One class a line, so that a difference shows which class it is in."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(surface[name])}" for name in sorted(surface))
    path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
