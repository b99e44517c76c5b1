"""Python and its packages."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Callable, Dict, List, NamedTuple

from app.inference.onnx import onnx_providers
from app.text import install_hint
from app.tools.doctor.findings import Finding, note, ok, problem, warning

OLDEST_PYTHON = (3, 8)
FROM_INSTALLER = "make install brings it; on a Jetson ./jetson_setup.sh"


class Package(NamedTuple):
    """A package that is needed or useful."""

    module: str
    title: str
    purpose: str
    required: bool = False
    distribution: str = ""
    """What pip calls it, where pip is the way to it."""


PACKAGES = (
    Package("numpy", "NumPy", "arrays", required=True),
    Package("yaml", "PyYAML", "settings and catalogue", required=True),
    Package("cv2", "OpenCV", "pictures and cameras", required=True),
    Package("faiss", "FAISS", "the gallery's index", required=True),
    Package("onnxruntime", "ONNX Runtime", "runs networks on the processor", distribution="onnxruntime"),
    Package("openvino", "OpenVINO", "runs networks faster on many processors", distribution="openvino"),
    Package("tensorrt", "TensorRT", "runs networks on NVIDIA GPUs"),
    Package("pycuda.driver", "pycuda", "the GPU's memory, for TensorRT: JetPack 5, and where CUDA is installed"),
    Package("cuda.bindings.runtime", "cuda-python", "the same: JetPack 6 and newer, PCs"),
    Package("onnx", "onnx", "engines inspect and import", distribution="onnx"),
    Package("av", "PyAV", "films as H.264", distribution="av"),
    Package("PIL", "Pillow", "names in every script on the picture", distribution="pillow"),
)


def check_python() -> List[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    place = "in an environment of its own" if sys.prefix != sys.base_prefix else "the system's own, no environment"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return [problem(f"Python {version} is too old", "Python 3.8 or newer is needed; " + FROM_INSTALLER)]
    return [ok(f"Python {version}, {place}")]


def check_packages(is_jetson: bool) -> List[Finding]:
    """Imports each one: a package that is installed and cannot be loaded counts as broken."""
    return [finding for package in PACKAGES for finding in _look_at(package, is_jetson)]


def _look_at(package: Package, is_jetson: bool) -> List[Finding]:
    try:
        module = importlib.import_module(package.module)
    except ModuleNotFoundError:
        text = f"{package.title} is not installed ({package.purpose})"
        if package.required:
            return [problem(text, FROM_INSTALLER)]
        return [note(text + (f": {install_hint(package.distribution)}" if package.distribution else ""))]
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        text = f"{package.title} is installed but cannot be loaded: {error}"
        return [problem(text, FROM_INSTALLER) if package.required else warning(text, "install it again, or remove it")]
    details = DETAILS.get(package.module)
    return [
        ok(f"{package.title} {_version(module)}".rstrip()),
        *(details(module, is_jetson) if details else []),
    ]


def _version(module: Any) -> str:
    version = getattr(module, "__version__", None) or getattr(module, "VERSION", "")
    return ".".join(map(str, version)) if isinstance(version, tuple) else str(version).partition("-")[0]


def _opencv(cv2: Any, is_jetson: bool) -> List[Finding]:
    # Only here, where OpenCV is known to be there: both rooms need it.
    from app.capture.gstreamer import opencv_has_gstreamer
    from app.output.display import gui_toolkit

    build = cv2.getBuildInformation()
    findings = []
    if opencv_has_gstreamer(build):
        findings.append(ok("OpenCV has GStreamer"))
    elif is_jetson:
        cure = "use JetPack's own: remove opencv-python from the environment (.venv/bin/pip uninstall opencv-python)"
        findings.append(warning("OpenCV has no GStreamer: no hardware decoder and no CSI cameras", cure))
    else:
        findings.append(note("OpenCV has no GStreamer: cameras and films are read through FFmpeg"))
    toolkit = gui_toolkit(build)
    findings.append(ok(f"OpenCV shows windows ({toolkit})") if toolkit else note("OpenCV was built without windows"))
    return findings


def _onnxruntime(onnxruntime: Any, is_jetson: bool) -> List[Finding]:
    """What the program would try of it: a package also names what needs a service elsewhere."""
    names = (provider.replace("ExecutionProvider", "") for provider in onnx_providers())
    return [note("ONNX Runtime computes on: " + ", ".join(names))]


DETAILS: Dict[str, Callable[[Any, bool], List[Finding]]] = {"cv2": _opencv, "onnxruntime": _onnxruntime}
