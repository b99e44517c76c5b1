"""Changes the batch or size of a network, and checks that its outputs stay the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from app.errors import ModelError
from app.inference.engine import run_in_batches
from app.inference.onnx import OnnxEngine
from app.text import counted
from app.tools.importing.onnx_file import (
    FREE_SIZE,
    forget_output_shapes,
    input_shape,
    load_onnx,
    set_input_shape,
    state_output_shapes,
)
from app.tools.importing.references import largest_difference, require_equal
from app.vision.detector import SIZE_STEP, nearest_sizes

_TEST_SIZES = ((160, 128), (128, 96))
_TEST_BATCHES = (1, 2, 3)

Outputs = Dict[str, np.ndarray]
"""A network's outputs by name."""


def reshaped(
    path: Path, target: Path, original: OnnxEngine, batch: Optional[int], size: Optional[Tuple[int, int]]
) -> Path:
    """Writes the network with this batch and size to `target`; None leaves each unchanged."""

    def checked(engine: OnnxEngine) -> List[Outputs]:
        return [_checked_outputs(images, original, engine) for images in _images(engine.inputs[0].shape)]

    return _write_checked(set_input_shape(load_onnx(path), batch, size), target, checked)


def is_fixed_to_another(engine: OnnxEngine, size: Optional[Tuple[int, int]]) -> bool:
    """Whether the network has a fixed height or width that differs from `size`."""
    sides = engine.inputs[0].shape[2:]
    return size is not None and any(fixed not in (None, wanted) for fixed, wanted in zip(sides, size[::-1]))


def with_free_size(path: Path, target: Path, original: OnnxEngine) -> Path:
    """Writes a network with a fixed size to `target`, with a dynamic size.

    The original cannot run at other sizes, so there is nothing to compare with. Therefore the new network must have the
    same outputs at the original's size, and outputs that grow in proportion to the pixels at other sizes. An embedder,
    for example, whose output has a fixed length, is refused.
    """
    shape = original.inputs[0].shape

    def checked(engine: OnnxEngine) -> List[Outputs]:
        own = _images(shape)[0]
        runs = [_checked_outputs(own, original, engine)]
        expected = _outputs_per_pixel(runs[0], own)
        for images in _images((shape[0], 3, None, None)):
            runs.append(run_network(engine, images))
            found = _outputs_per_pixel(runs[-1], images)
            other = [name for name in expected if found[name] != expected[name]]
            if other:
                raise ModelError(f"its output {other[0]!r} does not grow with the picture")
        return runs

    try:
        return _write_checked(set_input_shape(load_onnx(path), None, FREE_SIZE), target, checked)
    except ModelError as error:
        raise ModelError(
            f"the network is fixed to {shape[3] or '?'} x {shape[2] or '?'} pixels and its size cannot be changed: "
            f"{error}\n  export it with dynamic height and width, or omit --size"
        ) from error


def _outputs_per_pixel(outputs: Outputs, images: np.ndarray) -> Dict[str, Fraction]:
    return {name: Fraction(values.size, images[:, 0].size) for name, values in outputs.items()}


def _write_checked(model: Any, target: Path, runs_of: Callable[[OnnxEngine], List[Outputs]]) -> Path:
    """Saves the model with the output shapes that the runs show."""
    import onnx

    forget_output_shapes(model)
    onnx.save(model, str(target))
    try:
        engine = OnnxEngine(target)
    except ModelError as error:
        raise _unfit(input_shape(model), error) from error
    try:
        runs = runs_of(engine)
    finally:
        engine.close()
    state_output_shapes(model, runs)
    onnx.save(model, str(target))
    return target


def run_network(engine: OnnxEngine, images: np.ndarray) -> Outputs:
    """The outputs for these pictures."""
    try:
        return run_in_batches(engine, images)
    except ModelError as error:
        raise _unfit(images.shape, error) from error


def _unfit(shape: Tuple[Optional[int], ...], error: ModelError) -> ModelError:
    """The error of a network that does not run with this batch and size."""
    count, _, height, width = shape
    near = ""
    if width and height and (width % SIZE_STEP or height % SIZE_STEP):
        near = f"; most detectors need multiples of {SIZE_STEP}: {nearest_sizes((width, height))}"
    return ModelError(
        f"the network does not run with {counted(count, 'picture') if count else 'a dynamic batch'} of "
        f"{width or 'any'} x {height or 'any'} pixels: batch or size is a constant inside the graph{near}\n  {error}"
    )


def _images(shape: Tuple[Optional[int], ...]) -> List[np.ndarray]:
    """Random pictures, in several batches and sizes where these are dynamic."""
    batches = (shape[0],) if shape[0] else _TEST_BATCHES
    sizes = [(shape[2] or height, shape[3] or width) for width, height in _TEST_SIZES]
    lengths = [(count, *side) for side in dict.fromkeys(sizes) for count in batches]
    generator = np.random.default_rng(1)
    planes = shape[1] or 3
    return [generator.uniform(-1, 1, (count, planes, *side)).astype(np.float32) for count, *side in lengths]


def _checked_outputs(images: np.ndarray, original: OnnxEngine, engine: OnnxEngine) -> Outputs:
    """The outputs for these pictures in one batch, after a check that the original gives the same one by one."""
    together = run_network(engine, images)
    for name, values in together.items():
        if len(images) > 1 and (not values.ndim or len(values) != len(images)):
            raise ModelError(
                f"the batch cannot be {len(images)}: the output {name!r} has no batch dimension (shape "
                f"{values.shape}), so the rows cannot be assigned to the pictures"
            )
    singles = [run_in_batches(original, image[None]) for image in images]
    expected = {name: _stacked([single[name] for single in singles], values) for name, values in together.items()}
    require_equal("batch and size", largest_difference(expected, together))
    return together


def _stacked(singles: List[np.ndarray], together: np.ndarray) -> np.ndarray:
    """Joins outputs of single pictures to those of a batch, with or without a batch dimension."""
    if all(single.shape == together.shape[1:] for single in singles):
        return np.stack(singles)
    return np.concatenate(singles)
