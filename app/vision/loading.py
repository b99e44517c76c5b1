"""From a name in the catalogue to a network that is ready to run."""

from __future__ import annotations

import contextlib
from typing import Callable, Dict, Iterator, Mapping, Tuple, TypeVar

import cv2

from app.errors import ModelError
from app.inference.engine import Engine
from app.inference.onnx import OnnxEngine
from app.settings import DetectionSettings, ModelSettings
from app.vision.catalog import ModelEntry, read_catalog
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder
from app.vision.retinaface import RetinaFace, RetinaFaceAnchors

Factory = TypeVar("Factory")


def _retinaface(engine: Engine, entry: ModelEntry, settings: DetectionSettings) -> FaceDetector:
    return RetinaFace(engine, entry.preprocessing, settings, RetinaFaceAnchors(entry.min_sizes))


def _arcface(engine: Engine, entry: ModelEntry) -> FaceEmbedder:
    return FaceEmbedder(engine, entry.preprocessing, entry.crop, entry.dimensions)


DETECTORS: Dict[str, Callable[[Engine, ModelEntry, DetectionSettings], FaceDetector]] = {"retinaface": _retinaface}
EMBEDDERS: Dict[str, Callable[[Engine, ModelEntry], FaceEmbedder]] = {"arcface": _arcface}

FAMILIES: Mapping[str, Tuple[str, ...]] = {"detection": tuple(DETECTORS), "embedding": tuple(EMBEDDERS)}
"""By task: the families whose models can be run."""


def load_detector(models: ModelSettings, detection: DetectionSettings) -> FaceDetector:
    """The chosen detector, opened; whoever asked closes it."""
    entry = detector_entry(models)
    factory = _family(DETECTORS, entry)
    with _closed_on_error(OnnxEngine(entry.verified_file(), models.threads)) as engine:
        return factory(engine, entry, detection)


def load_embedder(models: ModelSettings) -> FaceEmbedder:
    """The chosen embedder, opened; whoever asked closes it."""
    entry = embedder_entry(models)
    factory = _family(EMBEDDERS, entry)
    with _closed_on_error(OnnxEngine(entry.verified_file(), models.threads)) as engine:
        return factory(engine, entry)


def detector_entry(models: ModelSettings) -> ModelEntry:
    return read_catalog(models.catalog).entry(models.detector, "detection")


def embedder_entry(models: ModelSettings) -> ModelEntry:
    return read_catalog(models.catalog).entry(models.embedder, "embedding")


def can_run(entry: ModelEntry) -> bool:
    """Whether there is a class that reads this model's outputs."""
    return entry.family in FAMILIES.get(entry.task, ())


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
def _closed_on_error(engine: OnnxEngine) -> Iterator[OnnxEngine]:
    """Whoever takes the engine over owns it; when nobody does, it is closed."""
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
