"""From a name in the catalogue to a network that is ready to run."""

from __future__ import annotations

import contextlib
from typing import Dict, Iterator, Tuple, TypeVar

import cv2

from app.errors import ModelError
from app.inference.choice import open_network
from app.inference.engine import Engine
from app.inference.network import Network
from app.inference.onnx import OnnxEngine
from app.settings import DetectionSettings, ModelSettings
from app.vision.catalog import ModelEntry, read_catalog
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder
from app.vision.families import DETECTORS, EMBEDDERS

Factory = TypeVar("Factory")

MOST_FRAMES_AT_ONCE = 1
MOST_FACES_AT_ONCE = 16
"""What engines with a limited batch are built for; more than that is run in several goes."""


def load_detector(models: ModelSettings, detection: DetectionSettings) -> FaceDetector:
    """The chosen detector, opened; whoever asked closes it."""
    entry = detector_entry(models)
    factory = _family(DETECTORS, entry)
    side = detection.input_size
    with _opened(entry, models, (MOST_FRAMES_AT_ONCE, 3, side, side)) as engine:
        return factory(engine, entry, detection)


def load_embedder(models: ModelSettings) -> FaceEmbedder:
    """The chosen embedder, opened; whoever asked closes it."""
    entry = embedder_entry(models)
    factory = _family(EMBEDDERS, entry)
    width, height = entry.crop
    with _opened(entry, models, (MOST_FACES_AT_ONCE, 3, height, width)) as engine:
        return factory(engine, entry)


def detector_entry(models: ModelSettings) -> ModelEntry:
    return read_catalog(models.catalog).entry(models.detector, "detection")


def embedder_entry(models: ModelSettings) -> ModelEntry:
    return read_catalog(models.catalog).entry(models.embedder, "embedding")


def describe_network(entry: ModelEntry) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """The network's inputs and outputs as they stand in its file, each as `name shape type`."""
    engine = OnnxEngine(entry.verified_file(), threads=1)
    try:
        return tuple(map(str, engine.inputs)), tuple(map(str, engine.outputs))
    finally:
        engine.close()


def leave_cores_to_networks() -> None:
    """Keeps OpenCV to one thread: its own pool beside the networks' workers on the same cores slows both."""
    cv2.setNumThreads(1)


@contextlib.contextmanager
def _opened(entry: ModelEntry, models: ModelSettings, largest_input: Tuple[int, int, int, int]) -> Iterator[Engine]:
    """Whoever takes the engine over owns it; when nobody does, it is closed."""
    network = Network(entry.name, entry.verified_file(), entry.sha256, largest_input, models.precision, models.threads)
    engine = open_network(network, models.backend).engine
    try:
        yield engine
    except BaseException:
        engine.close()
        raise


def _family(families: Dict[str, Factory], entry: ModelEntry) -> Factory:
    if entry.family not in families:
        raise ModelError(
            f"model {entry.name!r} is of the family {entry.family!r}, which this version cannot run; "
            f"families for {entry.task} that work: {', '.join(families)}\n"
            "  python -m app engines list shows the models"
        )
    return families[entry.family]
