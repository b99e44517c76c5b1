"""What is measured: one network at one input size, opened on one backend."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
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
from app.models.loading import ModelLoader
from app.settings import DetectionSettings
from app.tools.benchmark.stopwatch import StopwatchEngine
from app.tools.importing.onnx_writer import write_architecture
from app.vision.detector import rounded_up
from app.vision.preprocessing import Preprocessing

Size = Tuple[int, int]
"""Width and height."""

_ARCFACE = {
    "task": "embedding",
    "family": "arcface",
    "preprocessing": Preprocessing("rgb", (127.5, 127.5, 127.5), 127.5),
    "crop": (112, 112),
}
_RETINAFACE = {
    "task": "detection",
    "family": "retinaface",
    "preprocessing": Preprocessing("bgr", (104, 117, 123), 1),
    "min_sizes": ((16, 32), (64, 128), (256, 512)),
}
_DSFD = {"task": "detection", "family": "dsfd", "preprocessing": Preprocessing("bgr", (104, 117, 123), 1)}
_SCRFD = {
    "task": "detection",
    "family": "scrfd",
    "preprocessing": Preprocessing("rgb", (127.5, 127.5, 127.5), 128),
}
ARCHITECTURES: Dict[str, Dict[str, Any]] = {
    "retinaface_r50": _RETINAFACE,
    "dsfd_r152": _DSFD,
    "arcface_r50": {**_ARCFACE, "dimensions": 512},
    "arcface_r100": {**_ARCFACE, "dimensions": 512},
    "scrfd_500m": _SCRFD,
    "scrfd_2.5g": _SCRFD,
    "scrfd_10g": _SCRFD,
}
"""Networks whose speed can be measured with random weights, since it does not depend on them."""


@runtime_checkable
class UsesGpuMemory(Protocol):
    """An engine that reports its memory on the GPU, without the weights."""

    gpu_bytes: int


@dataclass(frozen=True)
class BenchmarkCase:
    """One network at one input size."""

    entry: ModelEntry
    size: Size
    random_weights: bool = False
    """The right architecture with random weights: its speed is valid, its results are meaningless."""

    @property
    def detects(self) -> bool:
        return self.entry.task == "detection"


@dataclass(frozen=True)
class OpenedCase:
    """Ready to be measured."""

    engine: StopwatchEngine
    backend: str
    label: str
    """The name of the backend and of the device that it computes on."""
    precision: str
    reason: str
    run: Callable[[int], Any]
    """Processes a batch of this many pictures."""
    gpu_memory_mb: Optional[float]
    """Without the weights; None if the backend does not report it."""


def random_network(folder: Path, name: str) -> Optional[ModelEntry]:
    """Writes this architecture with random weights into the folder; returns None for an unknown architecture."""
    if name not in ARCHITECTURES:
        return None
    path = folder / f"{name}.onnx"
    if not path.is_file():
        write_architecture(name, path)
    return ModelEntry(
        name=name,
        file=path,
        sha256=sha256_of(path),
        licence="-",
        source="random weights, to measure the speed",
        **ARCHITECTURES[name],
    )


def case_of(entry: ModelEntry, size: Size, random_weights: bool = False) -> BenchmarkCase:
    """`size` is for detectors; embedders take the size of their crops."""
    if entry.task in ("detection", "embedding") and not can_run(entry):
        raise ModelError(f"{entry.name!r}: the family {entry.family!r} is not supported")
    if entry.task == "detection":
        return BenchmarkCase(entry, size, random_weights)
    if entry.task == "embedding":
        return BenchmarkCase(entry, entry.crop, random_weights)
    raise ModelError(f"{entry.name!r} is for {entry.task}; only detectors and embedders can be measured")


def open_case(
    case: BenchmarkCase,
    backend: str,
    precision: str,
    max_batch: int,
    threads: int,
    picture: np.ndarray,
    loader: Optional[ModelLoader] = None,
) -> OpenedCase:
    """Opens it as the program does, for batches up to `max_batch`. Detectors get `picture` as their input.

    TensorRT builds an engine for these batches in a temporary folder; the engines of the program are not touched.
    """
    entry = case.entry
    width, height = case.size
    if case.detects:
        width, height = rounded_up(width), rounded_up(height)
    largest_input = (max_batch, 3, height, width)
    pictures = None if loader is None or case.random_weights else partial(loader.calibration_inputs, entry)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        calibrations = entry.file.parent.glob(f"{entry.file.stem}.{entry.sha256[:12]}.*")
        for file in (entry.verified_file(), *entry.file.parent.glob("*.timing"), *calibrations):
            Path(folder, file.name).symlink_to(file.resolve())
        path = Path(folder, entry.file.name)
        int8_path = entry.verified_int8_file() if precision == "int8" and entry.int8_file is not None else None
        choice = open_network(
            NetworkSpec(entry.name, path, entry.sha256, largest_input, precision, threads, pictures, int8_path),
            backend,
        )
    engine = StopwatchEngine(choice.engine)
    try:
        run = _detecting(case, engine, picture) if case.detects else _embedding(case, engine)
    except BaseException:
        engine.close()
        raise
    return OpenedCase(
        engine,
        choice.backend,
        choice.label,
        choice.precision,
        choice.reason,
        run,
        choice.engine.gpu_bytes / 1e6 if isinstance(choice.engine, UsesGpuMemory) else None,
    )


def _detecting(case: BenchmarkCase, engine: StopwatchEngine, picture: np.ndarray) -> Callable[[int], Any]:
    settings = DetectionSettings(input_size=max(case.size), min_score=case.entry.min_score)
    detector = DETECTORS[case.entry.family](engine, case.entry, settings)
    cropped = crop_to(picture, case.size)
    if case.random_weights:
        # Random boxes would take unrealistically long in non-maximum suppression.
        return lambda batch: detector.infer(detector.prepare([cropped] * batch))
    return lambda batch: detector.detect([cropped] * batch, close_ups=False)


def _embedding(case: BenchmarkCase, engine: StopwatchEngine) -> Callable[[int], Any]:
    embedder = EMBEDDERS[case.entry.family](engine, case.entry)
    width, height = embedder.crop_size
    crop = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return lambda batch: embedder.embed(np.repeat(crop[None], batch, axis=0))


def crop_to(picture: np.ndarray, size: Size) -> np.ndarray:
    """Crops the picture to the aspect ratio of `size` around its centre, and resizes it."""
    height, width = picture.shape[:2]
    scale = min(width / size[0], height / size[1])
    part_width, part_height = round(size[0] * scale), round(size[1] * scale)
    left, top = (width - part_width) // 2, (height - part_height) // 2
    part = picture[top : top + part_height, left : left + part_width]
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
