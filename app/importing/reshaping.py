"""Giving a network another batch or a fixed size, with proof that it still answers the same."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np

from app.errors import ModelError
from app.importing.comparing import largest_difference, require_equal
from app.importing.onnx_file import forget_output_shapes, load_onnx, set_input_shape, state_output_shapes
from app.inference.batching import run_in_batches
from app.inference.onnx import OnnxEngine
from app.vision.detector import SIZE_STEP

_FREE_SIZES = ((160, 128), (128, 96))
_FREE_BATCHES = (1, 2, 3)


def reshaped(
    path: Path, target: Path, original: OnnxEngine, batch: Optional[int], size: Optional[Tuple[int, int]]
) -> Path:
    """Writes the network with this batch and size to `target`, if it can have them; None leaves each as it is."""
    import onnx

    model = set_input_shape(load_onnx(path), batch, size)
    forget_output_shapes(model)
    onnx.save(model, str(target))
    engine = OnnxEngine(target)
    try:
        runs = [_proved(images, original, engine) for images in _images(engine.inputs[0].shape)]
    finally:
        engine.close()
    state_output_shapes(model, runs)
    onnx.save(model, str(target))
    return target


def answers(engine: OnnxEngine, images: np.ndarray) -> Dict[str, np.ndarray]:
    """The outputs for these pictures, or why there are none."""
    try:
        return run_in_batches(engine, images)
    except ModelError as error:
        count, _, height, width = images.shape
        raise ModelError(
            f"the network does not run on {count} pictures of {width} x {height} pixels: the batch or the size is part "
            f"of its inner shapes; most detectors want sides that are multiples of {SIZE_STEP}\n  {error}"
        ) from error


def _images(shape: Tuple[Optional[int], ...]) -> List[np.ndarray]:
    """Random pictures in several batches and sizes, where these are free."""
    batches = (shape[0],) if shape[0] else _FREE_BATCHES
    sizes = [(shape[2] or height, shape[3] or width) for width, height in _FREE_SIZES]
    lengths = [(count, *side) for side in dict.fromkeys(sizes) for count in batches]
    generator = np.random.default_rng(1)
    return [generator.uniform(-1, 1, (count, 3, height, width)).astype(np.float32) for count, height, width in lengths]


def _proved(images: np.ndarray, original: OnnxEngine, engine: OnnxEngine) -> Dict[str, np.ndarray]:
    """The answers to these pictures at once, which are those that the original gives one by one."""
    together = answers(engine, images)
    for name, values in together.items():
        if len(images) > 1 and (not values.ndim or len(values) != len(images)):
            raise ModelError(
                f"the network cannot be given batches of {len(images)}: its output {name!r} has no batch dimension "
                f"(shape {values.shape}), so that it would not be clear which rows belong to which picture"
            )
    singles = [run_in_batches(original, image[None]) for image in images]
    expected = {name: _stacked([single[name] for single in singles], values) for name, values in together.items()}
    require_equal("batch and size", largest_difference(expected, together))
    return together


def _stacked(singles: List[np.ndarray], together: np.ndarray) -> np.ndarray:
    """The answers to single pictures as those of a batch, also where only the batch's have a batch dimension."""
    if all(single.shape == together.shape[1:] for single in singles):
        return np.stack(singles)
    return np.concatenate(singles)
