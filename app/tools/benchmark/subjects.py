"""What is measured: a network, opened on one backend, with a call that puts a batch of pictures through it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Protocol, Tuple, runtime_checkable

import cv2
import numpy as np

from app.errors import ModelError
from app.inference.backends import open_network
from app.inference.engine import NetworkSpec
from app.models.entry import ModelEntry, sha256_of
from app.models.families import DETECTORS, EMBEDDERS, can_run
from app.models.loading import InputsFor
from app.settings import DetectionSettings
from app.tools.benchmark.stopwatch import StopwatchEngine
from app.vision.detector import rounded_up
from app.vision.preprocessing import Preprocessing

Size = Tuple[int, int]
"""Width and height."""

LIKE_ARCFACE = {
    "task": "embedding",
    "family": "arcface",
    "preprocessing": Preprocessing("rgb", (127.5, 127.5, 127.5), 127.5),
    "crop": (112, 112),
}
LIKE_RETINAFACE = {
    "task": "detection",
    "family": "retinaface",
    "preprocessing": Preprocessing("bgr", (104, 117, 123), 1),
    "min_sizes": ((16, 32), (64, 128), (256, 512)),
}
LIKE_SCRFD = {
    "task": "detection",
    "family": "scrfd",
    "preprocessing": Preprocessing("rgb", (127.5, 127.5, 127.5), 128),
}
ARCHITECTURES: Dict[str, Dict[str, Any]] = {
    "retinaface_r50": LIKE_RETINAFACE,
    "arcface_r50": {**LIKE_ARCFACE, "dimensions": 512},
    "arcface_r100": {**LIKE_ARCFACE, "dimensions": 512},
    "scrfd_500m": LIKE_SCRFD,
    "scrfd_2.5g": LIKE_SCRFD,
    "scrfd_10g": LIKE_SCRFD,
}
"""Networks whose speed can be measured without their weights, for it does not depend on them."""


@runtime_checkable
class OnGpu(Protocol):
    """An engine that tells what it holds on the GPU, the weights not counted."""

    gpu_bytes: int


@dataclass(frozen=True)
class Subject:
    """One network at one input size."""

    entry: ModelEntry
    size: Size
    random_weights: bool = False
    """The right architecture with weights drawn by lot: its speed counts, what it finds means nothing."""

    @property
    def detects(self) -> bool:
        return self.entry.task == "detection"


@dataclass(frozen=True)
class OpenedSubject:
    """Ready to be measured."""

    engine: StopwatchEngine
    backend: str
    label: str
    """The backend in words, with what it computes on."""
    precision: str
    reason: str
    run: Callable[[int], Any]
    """Puts that many pictures through, in one batch."""
    gpu_memory_mb: Optional[float]
    """What the network holds on the GPU besides its weights, where the backend tells."""


def random_weights_entry(name: str, path: Path) -> ModelEntry:
    """The entry for an architecture whose file has been written."""
    return ModelEntry(
        name=name,
        file=path,
        sha256=sha256_of(path),
        licence="-",
        source="weights drawn by lot, to measure its speed",
        **ARCHITECTURES[name],
    )


def subject_of(entry: ModelEntry, size: Size, random_weights: bool = False) -> Subject:
    """Embedders have a size of their own."""
    if entry.task in ("detection", "embedding") and not can_run(entry):
        raise ModelError(f"{entry.name!r} is of the family {entry.family!r}, which this version cannot run")
    if entry.task == "detection":
        return Subject(entry, size, random_weights)
    if entry.task == "embedding":
        return Subject(entry, entry.crop, random_weights)
    raise ModelError(f"{entry.name!r} is for {entry.task}; detectors and embedders can be measured")


def open_subject(
    subject: Subject,
    backend: str,
    precision: str,
    largest_batch: int,
    threads: int,
    picture: np.ndarray,
    inputs_for: Optional[InputsFor] = None,
) -> OpenedSubject:
    """Opens it as the program does, for batches up to this; `picture` is what detectors are shown.

    TensorRT builds an engine for just these batches, apart from those that the program runs on.
    """
    entry = subject.entry
    width, height = subject.size
    if subject.detects:
        width, height = rounded_up(width), rounded_up(height)
    largest = (largest_batch, 3, height, width)
    pictures = None if inputs_for is None or subject.random_weights else partial(inputs_for, entry)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        learnt = entry.file.parent.glob(f"{entry.file.stem}.{entry.sha256[:12]}.*")
        for file in (entry.verified_file(), *entry.file.parent.glob("*.timing"), *learnt):
            Path(folder, file.name).symlink_to(file.resolve())
        path = Path(folder, entry.file.name)
        choice = open_network(
            NetworkSpec(entry.name, path, entry.sha256, largest, precision, threads, pictures), backend
        )
    engine = StopwatchEngine(choice.engine)
    try:
        run = _detecting(subject, engine, picture) if subject.detects else _embedding(subject, engine)
    except BaseException:
        engine.close()
        raise
    return OpenedSubject(
        engine,
        choice.backend,
        choice.label,
        choice.precision,
        choice.reason,
        run,
        choice.engine.gpu_bytes / 1e6 if isinstance(choice.engine, OnGpu) else None,
    )


def _detecting(subject: Subject, engine: StopwatchEngine, picture: np.ndarray) -> Callable[[int], Any]:
    settings = replace(DetectionSettings(), input_size=max(subject.size))
    detector = DETECTORS[subject.entry.family](engine, subject.entry, settings)
    shown = cut_to(picture, subject.size)
    if subject.random_weights:
        # Boxes drawn by lot would keep the suppression of overlaps busy with what no real network does.
        return lambda batch: detector.infer(detector.prepare([shown] * batch))
    return lambda batch: detector.detect([shown] * batch)


def _embedding(subject: Subject, engine: StopwatchEngine) -> Callable[[int], Any]:
    embedder = EMBEDDERS[subject.entry.family](engine, subject.entry)
    width, height = embedder.crop_size
    crop = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return lambda batch: embedder.embed(np.repeat(crop[None], batch, axis=0))


def cut_to(picture: np.ndarray, size: Size) -> np.ndarray:
    """The largest middle part of the picture that has the size's aspect, in that size."""
    height, width = picture.shape[:2]
    scale = min(width / size[0], height / size[1])
    part_width, part_height = round(size[0] * scale), round(size[1] * scale)
    left, top = (width - part_width) // 2, (height - part_height) // 2
    part = picture[top : top + part_height, left : left + part_width]
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
