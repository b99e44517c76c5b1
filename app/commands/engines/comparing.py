"""`engines compare`: whether another backend or arithmetic gives the same answers."""

from __future__ import annotations

import argparse
import contextlib
import json
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, List, Optional, Union

import numpy as np

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ModelError
from app.files import check_writable, write_text
from app.settings import Settings
from app.text import install_hint

if TYPE_CHECKING:
    from app.tools.comparison import Comparison
    from app.vision.detector import FaceDetector
    from app.vision.embedder import FaceEmbedder

DESCRIPTION = """Runs a model on two backends with the same pictures: a, the reference, in fp32, and b, in the
arithmetic that --precision says. Prints how far their outputs lie apart and what that does: to the faces that a
detector finds, or to an embedder's embeddings. Without --images it takes the demo's pictures."""

EXAMPLES = """examples:
  python -m app engines compare retinaface_mnet025 --b openvino
  python -m app engines compare mobilefacenet --b trt --precision fp16 --images photos/
  python -m app engines compare mobilefacenet --a openvino --b openvino --precision bf16 --json bf16.json
  python -m app engines compare retinaface_mnet025                     # what the program takes, against onnx

Differences divided by rms(a), the root mean square of a's values: 1e-2 is one per cent of a usual value. A cosine
of 1 means that both embeddings are the same. What a difference costs in recognition is measured by
  python -m app evaluate verification --backend NAME --precision NAME"""

BACKENDS = ("onnx", "openvino", "tensorrt", "auto")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a detector or embedder of the catalogue")
    for side, default, meaning in (("a", "onnx", "the reference"), ("b", "auto", "what is compared with it")):
        parser.add_argument(
            f"--{side}",
            metavar="BACKEND",
            type=_backend,
            default=default,
            help=f"{meaning}: {', '.join(BACKENDS)} (default: {default}); trt is short for tensorrt",
        )
    parser.add_argument("--images", metavar="DIR", help="pictures with faces (default: the demo's)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here as well")
    add_settings_options(parser, sections=("models.detector", "models.precision"))


def _backend(text: str) -> str:
    name = {"trt": "tensorrt"}.get(text, text)
    if name not in BACKENDS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected one of {', '.join(BACKENDS)}")
    return name


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    progress = configure_logging("warning")
    check_writable(arguments.json)
    from app.models.loading import leave_cores_to_networks

    leave_cores_to_networks()
    pictures = _pictures(arguments.images, progress.counter("comparing, picture"))
    result = _compare(arguments.model, settings, arguments.a, arguments.b, pictures)
    progress.clear()
    print(result.text())
    if arguments.json is not None:
        write_text(arguments.json, json.dumps(result.as_json(), indent=1, allow_nan=False) + "\n")
    return 0


def _compare(model: str, settings: Settings, a: str, b: str, pictures: Iterable[np.ndarray]) -> Comparison:
    from app.models.loading import ModelLoader
    from app.tools.comparison import compare_detectors, compare_embedders

    loader = ModelLoader(settings)
    task = loader.catalog.require(model).task
    if task not in ("detection", "embedding"):
        raise ModelError(f"{model} is for {task}; compared are detectors and embedders")
    chosen = loader.with_models(**{"detector" if task == "detection" else "embedder": model})
    loader_a = chosen.with_models(backend=a, precision="fp32")
    loader_b = chosen.with_models(backend=b)
    with contextlib.ExitStack() as stack:
        detector_a = stack.enter_context(contextlib.closing(loader_a.open_detector()))
        if task == "detection":
            detector_b = stack.enter_context(contextlib.closing(loader_b.open_detector(exact_precision=True)))
            _refuse_the_same(detector_a, detector_b, b)
            return compare_detectors(model, pictures, detector_a, detector_b)
        embedder_a = stack.enter_context(contextlib.closing(loader_a.open_embedder()))
        embedder_b = stack.enter_context(contextlib.closing(loader_b.open_embedder(exact_precision=True)))
        _refuse_the_same(embedder_a, embedder_b, b)
        return compare_embedders(model, pictures, detector_a, embedder_a, embedder_b)


def _refuse_the_same(
    a: Union[FaceDetector, FaceEmbedder], b: Union[FaceDetector, FaceEmbedder], asked_for: str
) -> None:
    """Who names the same backend twice gets what was asked for; who left the choice open wants to see a difference."""
    if asked_for == "auto" and a.runs_on and b.runs_on:
        place = f"{b.runs_on.label} in {b.runs_on.precision}"
        if place == f"{a.runs_on.label} in {a.runs_on.precision}":
            raise ModelError(
                f"nothing to compare: both are {place} ({b.runs_on.reason}); "
                f"name another backend, such as OpenVINO: {install_hint('openvino')}, then --b openvino"
            )


def _pictures(folder: Optional[str], count: Callable[[int, int], None]) -> Iterator[np.ndarray]:
    """A folder that is not there is told at once."""
    from app.capture.pictures import picture_files

    made = _demo_pictures() if folder is None else []
    return _read(made, [] if folder is None else picture_files(folder), count)


def _read(made: List[np.ndarray], files: List[Path], count: Callable[[int, int], None]) -> Iterator[np.ndarray]:
    """One by one: a folder may hold thousands."""
    from app.capture.pictures import read_picture

    total = len(made) + len(files)
    for done, picture in enumerate(chain(made, map(read_picture, files)), 1):
        yield picture
        count(done, total)


def _demo_pictures() -> List[np.ndarray]:
    from app.tools.demo.portraits import crowd_picture, load_portraits

    portraits = load_portraits()
    return [*(portrait.image for portrait in portraits), *(crowd_picture(portraits, faces) for faces in (2, 8))]
