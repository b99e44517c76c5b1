"""Python and its packages."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any, List, NamedTuple

from app.inference.onnx import onnx_providers
from app.text import install_hint
from app.tools.doctor.checks import Finding, note, ok, problem, warning

MIN_PYTHON = (3, 8)
FROM_INSTALLER = "run make install; on a Jetson ./jetson_setup.sh"


class Package(NamedTuple):
    """A package that is required or useful."""

    module: str
    title: str
    purpose: str
    required: bool = False
    distribution: str = ""
    """Its name for pip, if it can be installed with pip."""


PACKAGES = (
    Package("numpy", "NumPy", "arrays", required=True),
    Package("yaml", "PyYAML", "settings and catalogue", required=True),
    Package("cv2", "OpenCV", "pictures and cameras", required=True),
    Package("faiss", "FAISS", "the gallery's index", required=True),
    Package("onnxruntime", "ONNX Runtime", "runs networks on the CPU", distribution="onnxruntime"),
    Package("openvino", "OpenVINO", "runs networks faster on many CPUs", distribution="openvino"),
    Package("tensorrt", "TensorRT", "runs networks on NVIDIA GPUs"),
    Package("pycuda.driver", "pycuda", "GPU memory for TensorRT; without it, CUDA's runtime library is used directly"),
    Package("onnx", "onnx", "engines inspect and import", distribution="onnx"),
    Package("av", "PyAV", "videos as H.264", distribution="av"),
    Package("prometheus_client", "prometheus-client", "--metrics-port", distribution="prometheus-client"),
    Package("starlette", "Starlette", "serve, with seven smaller packages", distribution="starlette"),
    Package("pyarrow", "pyarrow", "batch; in the extra archive", distribution="pyarrow"),
    Package("psycopg", "psycopg", "fleet.database; in the extra fleet", distribution="psycopg[binary]"),
    Package("PIL", "Pillow", "names in every script on the picture", distribution="pillow"),
)


def check_python() -> List[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < MIN_PYTHON:
        return [problem(f"Python {version} is too old", "Python 3.8 or newer is required; " + FROM_INSTALLER)]
    return [ok(f"Python {version}, {'virtual environment' if sys.prefix != sys.base_prefix else 'system Python'}")]


def check_packages(is_jetson: bool) -> List[Finding]:
    """Imports each one: a package that is installed and cannot be imported counts as broken."""
    return [finding for package in PACKAGES for finding in _check_package(package, is_jetson)]


def _check_package(package: Package, is_jetson: bool) -> List[Finding]:
    try:
        module = importlib.import_module(package.module)
    except ModuleNotFoundError:
        text = f"{package.title} is not installed ({package.purpose})"
        if package.required:
            return [problem(text, FROM_INSTALLER)]
        return [note(text + (f": {install_hint(package.distribution)}" if package.distribution else ""))]
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        text = f"{package.title} is installed but cannot be imported: {error}"
        advice = preload_advice(str(error)) or (FROM_INSTALLER if package.required else "reinstall or uninstall it")
        return [problem(text, advice) if package.required else warning(text, advice)]
    version = getattr(module, "__version__", None) or getattr(module, "VERSION", "")
    version = ".".join(map(str, version)) if isinstance(version, tuple) else str(version).partition("-")[0]
    findings = [ok(f"{package.title} {version}".rstrip())]
    if package.module == "cv2":
        findings += _check_opencv(module, is_jetson)
    elif package.module == "onnxruntime":
        # Those that the program would try: the package also lists providers that need a service elsewhere.
        names = (provider.replace("ExecutionProvider", "") for provider in onnx_providers())
        findings.append(note("ONNX Runtime computes on: " + ", ".join(names)))
    return findings


def preload_advice(error: str) -> str:
    """On ARM, a library that is loaded late may find no room for its thread-local memory; loaded first, it does."""
    found = re.match(r"(\S+): cannot allocate memory in static TLS block", error)
    return f"load it first: export LD_PRELOAD={found[1]}" if found else ""


def _check_opencv(cv2: Any, is_jetson: bool) -> List[Finding]:
    # Imported here, where OpenCV is known to be installed: both modules need it.
    from app.output.display import gui_toolkit
    from app.text import opencv_has_gstreamer

    build = cv2.getBuildInformation()
    findings = []
    if opencv_has_gstreamer(build):
        findings.append(ok("OpenCV has GStreamer"))
    elif is_jetson:
        findings.append(note("OpenCV has no GStreamer, which runs in a process of its own instead"))
    else:
        findings.append(note("OpenCV has no GStreamer: cameras and videos are read with FFmpeg"))
    toolkit = gui_toolkit(build)
    findings.append(ok(f"OpenCV shows windows ({toolkit})") if toolkit else note("OpenCV was built without windows"))
    return findings
