"""Both built-in detectors find the demo's faces, in the same places."""

import contextlib
import dataclasses

import numpy as np
import pytest
from shipped import CATALOG

from app.models.loading import ModelLoader
from app.settings import ModelSettings, Settings

MODELS = ModelSettings(catalog=CATALOG, backend="onnx")


def corners(box):
    return np.asarray(box[:2]), np.asarray(box[2:])


def overlap(first, second):
    """IoU."""
    (low, high), (other_low, other_high) = corners(first), corners(second)
    common = np.prod(np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None))
    return common / (np.prod(high - low) + np.prod(other_high - other_low) - common)


@pytest.mark.parametrize("input_size", [320, 640])
def test_both_find_the_same_faces(portraits, input_size):
    images = [np.ascontiguousarray(portrait.image) for portrait in portraits]
    found = []
    for name in ("retinaface_mnet025", "scrfd_500m"):
        settings = Settings(models=dataclasses.replace(MODELS, detector=name))
        settings = dataclasses.replace(
            settings, detection=dataclasses.replace(settings.detection, input_size=input_size)
        )
        with contextlib.closing(ModelLoader(settings).open_detector()) as detector:
            found.append(detector.detect(images))
    for first, second in zip(*found):
        assert len(first) == len(second) == 1
        assert overlap(first.boxes[0], second.boxes[0]) > 0.6
        errors = np.linalg.norm(first.landmarks[0] - second.landmarks[0], axis=1)
        width, height = first.boxes[0, 2:4] - first.boxes[0, :2]
        assert errors.mean() < 0.1 * max(width, height)
