"""Pictures turned into what a network is given at run time, to find the ranges of int8 with."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Iterable, Iterator

import numpy as np

from app.models.entry import ModelEntry
from app.models.loading import load_detector, load_embedder
from app.settings import DetectionSettings, ModelSettings
from app.vision.align import align_faces


def calibration_inputs(
    entry: ModelEntry, pictures: Iterable[np.ndarray], models: ModelSettings, detection: DetectionSettings
) -> Iterator[np.ndarray]:
    """One network input (1 x 3 x height x width) a frame for a detector, one a face for an embedder."""
    plain = dataclasses.replace(models, backend="onnx", precision="fp32")
    if entry.task == "detection":
        return _frames(pictures, dataclasses.replace(plain, detector=entry.name), detection)
    return _faces(pictures, dataclasses.replace(plain, embedder=entry.name), detection)


def _frames(
    pictures: Iterable[np.ndarray], models: ModelSettings, detection: DetectionSettings
) -> Iterator[np.ndarray]:
    with contextlib.closing(load_detector(models, detection)) as detector:
        for picture in pictures:
            yield detector.prepare([picture]).tensors[0].copy()


def _faces(pictures: Iterable[np.ndarray], models: ModelSettings, detection: DetectionSettings) -> Iterator[np.ndarray]:
    with contextlib.ExitStack() as opened:
        detector = opened.enter_context(contextlib.closing(load_detector(models, detection)))
        embedder = opened.enter_context(contextlib.closing(load_embedder(models)))
        for picture in pictures:
            (faces,) = detector.detect([picture])
            if len(faces):
                crops = align_faces(picture, faces.landmarks, embedder.crop_size)
                yield from (row[None] for row in embedder.prepare(crops))
