"""Which class reads which model, one row a family. Another model of a known family is data: a catalogue entry."""

from __future__ import annotations

from typing import Callable, Dict, Mapping, Tuple, Type

from app.inference.engine import Engine
from app.models.entry import ModelEntry
from app.settings import DetectionSettings
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder
from app.vision.grid_detector import GridDetector
from app.vision.grid_families import DSFD, SCRFD, CenterFace, RetinaFaceMXNet, YuNet
from app.vision.retinaface import RetinaFace, RetinaFaceAnchors

DetectorFactory = Callable[[Engine, ModelEntry, DetectionSettings], FaceDetector]


def _plain(detector: Type[GridDetector]) -> DetectorFactory:
    """For a family that needs to know nothing but what all detectors do."""
    return lambda engine, entry, settings: detector(engine, entry.preprocessing, settings)


DETECTORS: Dict[str, DetectorFactory] = {
    "retinaface": lambda engine, entry, settings: RetinaFace(
        engine, entry.preprocessing, settings, RetinaFaceAnchors(entry.min_sizes)
    ),
    "retinaface_mxnet": lambda engine, entry, settings: RetinaFaceMXNet(
        engine, entry.preprocessing, settings, entry.landmark_scale
    ),
    "scrfd": _plain(SCRFD),
    "centerface": _plain(CenterFace),
    "dsfd": _plain(DSFD),
    "yunet": _plain(YuNet),
}
EMBEDDERS: Dict[str, Callable[[Engine, ModelEntry], FaceEmbedder]] = {
    "arcface": lambda engine, entry: FaceEmbedder(engine, entry.preprocessing, entry.crop, entry.dimensions)
}

FAMILIES: Mapping[str, Tuple[str, ...]] = {
    "detection": tuple(DETECTORS),
    "embedding": tuple(EMBEDDERS),
    "attributes": ("gender_age", "mask"),
    "landmarks": ("landmarks106",),
    "antispoof": ("antispoof",),
}
"""By task: the families whose models can be run."""


def can_run(entry: ModelEntry) -> bool:
    """Whether there is a class that reads this model's outputs."""
    return entry.family in FAMILIES.get(entry.task, ())
