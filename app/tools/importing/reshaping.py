"""Giving a network another batch or size, with proof that it still answers the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from app.errors import ModelError
from app.inference.engine import run_in_batches
from app.inference.onnx import OnnxEngine
from app.text import counted
from app.tools.importing.comparing import largest_difference, require_equal
from app.tools.importing.onnx_file import (
    FREE_SIZE,
    forget_output_shapes,
    input_shape,
    load_onnx,
    set_input_shape,
    state_output_shapes,
)
from app.vision.detector import SIZE_STEP, nearest_sizes

_FREE_SIZES = ((160, 128), (128, 96))
_FREE_BATCHES = (1, 2, 3)

Answers = Dict[str, np.ndarray]
"""A network's outputs by name."""


def reshaped(
    path: Path, target: Path, original: OnnxEngine, batch: Optional[int], size: Optional[Tuple[int, int]]
) -> Path:
    """Writes the network with this batch and size to `target`, if it can have them; None leaves each as it is."""

    def proved(engine: OnnxEngine) -> List[Answers]:
        return [_proved(images, original, engine) for images in _images(engine.inputs[0].shape)]

    return _written(set_input_shape(load_onnx(path), batch, size), target, proved)


def is_fixed_to_another(engine: OnnxEngine, size: Optional[Tuple[int, int]]) -> bool:
    """Whether the network has a height or width of its own that is not the wished one."""
    sides = engine.inputs[0].shape[2:]
    return size is not None and any(own not in (None, wished) for own, wished in zip(sides, size[::-1]))


def with_free_size(path: Path, target: Path, original: OnnxEngine) -> Path:
    """Writes a network that is fixed to one size to `target` as one that takes any.

    On larger pictures the original gives no answers to compare with. So the new network must answer like it at its
    own size, and give so many more answers on larger pictures as these have more pixels: one that gathers a picture
    into an answer, such as an embedder, does not, and would answer something else.
    """
    shape = original.inputs[0].shape

    def proved(engine: OnnxEngine) -> List[Answers]:
        own = _images(shape)[0]
        runs = [_proved(own, original, engine)]
        expected = _answers_a_pixel(runs[0], own)
        for images in _images((shape[0], 3, None, None)):
            runs.append(answers(engine, images))
            found = _answers_a_pixel(runs[-1], images)
            other = [name for name in expected if found[name] != expected[name]]
            if other:
                raise ModelError(f"its output {other[0]!r} does not grow with the picture")
        return runs

    try:
        return _written(set_input_shape(load_onnx(path), None, FREE_SIZE), target, proved)
    except ModelError as error:
        raise ModelError(
            f"the network is fixed to {shape[3] or '?'} x {shape[2] or '?'} pixels and cannot be given another size: "
            f"{error}\n  export it with a free height and width, or leave --size out"
        ) from error


def _answers_a_pixel(outputs: Answers, images: np.ndarray) -> Dict[str, Fraction]:
    return {name: Fraction(values.size, images[:, 0].size) for name, values in outputs.items()}


def _written(model: Any, target: Path, runs_of: Callable[[OnnxEngine], List[Answers]]) -> Path:
    """Saves it with the outputs' shapes that show when it is run."""
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


def answers(engine: OnnxEngine, images: np.ndarray) -> Answers:
    """The outputs for these pictures, or why there are none."""
    try:
        return run_in_batches(engine, images)
    except ModelError as error:
        raise _unfit(images.shape, error) from error


def _unfit(shape: Tuple[Optional[int], ...], error: ModelError) -> ModelError:
    """What a network is refused with that does not run in this batch and size."""
    count, _, height, width = shape
    near = ""
    if width and height and (width % SIZE_STEP or height % SIZE_STEP):
        near = f"; most detectors want multiples of {SIZE_STEP}: {nearest_sizes((width, height))}"
    return ModelError(
        f"the network does not run on {counted(count, 'picture') if count else 'any number of pictures'} of "
        f"{width or 'any'} x {height or 'any'} pixels: the "
        f"batch or the size is part of its inner shapes{near}\n  {error}"
    )


def _images(shape: Tuple[Optional[int], ...]) -> List[np.ndarray]:
    """Random pictures in several batches and sizes, where these are free."""
    batches = (shape[0],) if shape[0] else _FREE_BATCHES
    sizes = [(shape[2] or height, shape[3] or width) for width, height in _FREE_SIZES]
    lengths = [(count, *side) for side in dict.fromkeys(sizes) for count in batches]
    generator = np.random.default_rng(1)
    planes = shape[1] or 3
    return [generator.uniform(-1, 1, (count, planes, *side)).astype(np.float32) for count, *side in lengths]


def _proved(images: np.ndarray, original: OnnxEngine, engine: OnnxEngine) -> Answers:
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
