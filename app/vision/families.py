"""Which class reads which model, one row a family. Another model of a known family is data: a catalogue entry."""

from __future__ import annotations

from typing import Callable, Dict, Mapping, Tuple

from app.inference.engine import Engine
from app.settings import DetectionSettings
from app.vision.catalog import ModelEntry
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder
from app.vision.retinaface import RetinaFace, RetinaFaceAnchors


def _retinaface(engine: Engine, entry: ModelEntry, settings: DetectionSettings) -> FaceDetector:
    return RetinaFace(engine, entry.preprocessing, settings, RetinaFaceAnchors(entry.min_sizes))


def _arcface(engine: Engine, entry: ModelEntry) -> FaceEmbedder:
    return FaceEmbedder(engine, entry.preprocessing, entry.crop, entry.dimensions)


DETECTORS: Dict[str, Callable[[Engine, ModelEntry, DetectionSettings], FaceDetector]] = {"retinaface": _retinaface}
EMBEDDERS: Dict[str, Callable[[Engine, ModelEntry], FaceEmbedder]] = {"arcface": _arcface}

FAMILIES: Mapping[str, Tuple[str, ...]] = {"detection": tuple(DETECTORS), "embedding": tuple(EMBEDDERS)}
"""By task: the families whose models can be run."""


def can_run(entry: ModelEntry) -> bool:
    """Whether there is a class that reads this model's outputs."""
    return entry.family in FAMILIES.get(entry.task, ())
