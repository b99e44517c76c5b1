"""`engines compare`: compares the results of a model on two backends."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, Optional, Union

import numpy as np

from app.commands.arguments import expected
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ModelError
from app.files import check_writable, write_text
from app.settings import all_settings
from app.text import install_hint

if TYPE_CHECKING:
    from app.vision.detector import FaceDetector
    from app.vision.embedder import FaceEmbedder

DESCRIPTION = """Runs a model on two backends with the same pictures: a, the reference, in fp32, and b in the precision
of --precision. Prints the differences of their outputs and the effect on the faces that a detector finds, or on an
embedder's embeddings. Without --images it uses the demo's pictures."""

EXAMPLES = """examples:
  python -m app engines compare retinaface_mnet025 --b openvino
  python -m app engines compare mobilefacenet --b trt --precision fp16 --images photos/
  python -m app engines compare mobilefacenet --a openvino --b openvino --precision bf16 --json bf16.json
  python -m app engines compare retinaface_mnet025                     # the default backend and ONNX Runtime

rms(a) is the root mean square of a's values: a relative difference of 1e-2 is one per cent of a typical value. A cosine
of 1 means that both embeddings are equal. To measure the effect on recognition:
  python -m app evaluate verification --backend NAME --precision NAME"""

BACKENDS = next(setting.choices or () for setting in all_settings() if setting.key == "models.backend")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a detector or embedder of the catalogue")
    for side, default, meaning in (("a", "onnx", "the reference"), ("b", "auto", "the backend to compare")):
        parser.add_argument(
            f"--{side}",
            metavar="BACKEND",
            type=_backend,
            default=default,
            help=f"{meaning}: {', '.join(BACKENDS)} (default: {default}); trt is short for tensorrt",
        )
    parser.add_argument("--images", metavar="DIR", help="pictures with faces (default: the demo's)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the results to this file")
    add_settings_options(parser, sections=("models.detector", "models.precision"))


def _backend(text: str) -> str:
    name = {"trt": "tensorrt"}.get(text, text)
    if name not in BACKENDS:
        raise expected(text, f"one of {', '.join(BACKENDS)}")
    return name


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    progress = configure_logging("warning")
    check_writable(arguments.json)
    from app.models.loading import ModelLoader, leave_cores_to_networks
    from app.tools.comparison import compare_detectors, compare_embedders

    leave_cores_to_networks()
    pictures = _pictures(arguments.images, progress.counter("comparing, picture"))
    loader = ModelLoader(settings)
    task = loader.catalog.require(arguments.model).task
    if task not in ("detection", "embedding"):
        raise ModelError(f"{arguments.model} is for {task}; only detectors and embedders can be compared")
    chosen = loader.with_models(**{"detector" if task == "detection" else "embedder": arguments.model})
    loader_a = chosen.with_models(backend=arguments.a, precision="fp32")
    loader_b = chosen.with_models(backend=arguments.b)
    with contextlib.ExitStack() as stack:
        detector_a = stack.enter_context(contextlib.closing(loader_a.open_detector()))
        if task == "detection":
            detector_b = stack.enter_context(contextlib.closing(loader_b.open_detector(exact_precision=True)))
            _refuse_same(detector_a, detector_b, arguments.b)
            result = compare_detectors(arguments.model, pictures, detector_a, detector_b)
        else:
            embedder_a = stack.enter_context(contextlib.closing(loader_a.open_embedder()))
            embedder_b = stack.enter_context(contextlib.closing(loader_b.open_embedder(exact_precision=True)))
            _refuse_same(embedder_a, embedder_b, arguments.b)
            result = compare_embedders(arguments.model, pictures, detector_a, embedder_a, embedder_b)
    progress.clear()
    print(result.text())
    if arguments.json is not None:
        write_text(arguments.json, json.dumps(result.as_json(), indent=1, allow_nan=False) + "\n")
    return 0


def _refuse_same(a: Union[FaceDetector, FaceEmbedder], b: Union[FaceDetector, FaceEmbedder], requested: str) -> None:
    """Refuses to compare a backend with itself, unless the user named it twice."""
    from app.tools.comparison import place_of

    if requested == "auto" and b.runs_on and place_of(a) == place_of(b):
        raise ModelError(
            f"nothing to compare: both run on {place_of(b)} ({b.runs_on.reason}); choose another backend, such as "
            f"OpenVINO: {install_hint('openvino')}, then --b openvino"
        )


def _pictures(folder: Optional[str], count: Callable[[int, int], None]) -> Iterator[np.ndarray]:
    """One by one, as a folder may contain thousands. A missing folder is reported at once."""
    from app.capture.pictures import picture_files, read_picture
    from app.tools.demo.portraits import crowd_picture, load_portraits

    if folder is None:
        portraits = load_portraits()
        demo = [*(portrait.image for portrait in portraits), *(crowd_picture(portraits, faces) for faces in (2, 8))]
        return _counted(iter(demo), len(demo), count)
    files = picture_files(folder)
    return _counted(map(read_picture, files), len(files), count)


def _counted(pictures: Iterator[np.ndarray], total: int, count: Callable[[int, int], None]) -> Iterator[np.ndarray]:
    for done, picture in enumerate(pictures, 1):
        yield picture
        count(done, total)
