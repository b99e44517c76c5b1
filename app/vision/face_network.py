"""What all networks share that look at pictures of one face each: pictures in, a row of numbers a face out."""

from __future__ import annotations

from math import prod
from typing import Dict, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.errors import ModelError
from app.inference.backends import OpenedNetwork
from app.inference.engine import Engine, TensorSpec, run_in_batches
from app.vision.preprocessing import Preprocessing


class FaceNetwork:
    """A network that looks at pictures of faces, each by itself. Owns its engine."""

    runs_on: Optional[OpenedNetwork] = None
    """What it was opened on and why; None where no choice was made."""

    def __init__(
        self,
        engine: Engine,
        preprocessing: Preprocessing,
        crop_size: Tuple[int, int],
        title: str,
        lengths: Tuple[int, ...],
    ) -> None:
        """`crop_size` is width and height of the pictures; `lengths` says how many numbers a face may get.

        Whatever else the network gives besides its one output of such a length is not looked at.
        """
        self.crop_size = crop_size
        self._engine = engine
        self._preprocessing = preprocessing
        self._lengths = lengths
        width, height = crop_size
        planes = _has_shape(engine.inputs, (None, 3, height, width))
        self._channels_last = not planes and _has_shape(engine.inputs, (None, height, width, 3))
        output = _output_of_length(engine.outputs, lengths)
        if output is None or not (planes or self._channels_last):
            raise ModelError(
                f"this is not {title} with input ? x 3 x {height} x {width} and one output ? x {_either(lengths)}: "
                f"found {', '.join(map(str, (*engine.inputs, *engine.outputs)))}; "
                "check the model's entry in the catalogue"
            )
        self._output = output

    def infer(self, crops: np.ndarray) -> Dict[str, np.ndarray]:
        """The network's own outputs by name, for at least one crop (N x height x width x 3, BGR), all in one batch."""
        return run_in_batches(self._engine, self.prepare(crops))

    def prepare(self, crops: np.ndarray) -> np.ndarray:
        """What the network is given for these crops."""
        blob = cv2.dnn.blobFromImages(
            list(crops),
            scalefactor=1 / self._preprocessing.divisor,
            mean=self._preprocessing.mean,
            swapRB=self._preprocessing.channels == "rgb",
        )
        if self._channels_last:
            return np.ascontiguousarray(blob.transpose(0, 2, 3, 1))
        return np.asarray(blob)

    def answers(self, crops: np.ndarray) -> np.ndarray:
        """A row of numbers for each of at least one crop."""
        values = self.infer(crops)[self._output.name].reshape(len(crops), -1)
        if values.shape[1] not in self._lengths:
            raise ModelError(
                f"the network answers with {values.shape[1]} numbers a face where {_either(self._lengths)} are "
                f"expected ({self._output}); check the model's entry in the catalogue"
            )
        return values

    def close(self) -> None:
        self._engine.close()


def _has_shape(inputs: Sequence[TensorSpec], expected: Tuple[Optional[int], ...]) -> bool:
    if len(inputs) != 1 or len(inputs[0].shape) != len(expected) or inputs[0].dtype != np.float32:
        return False
    return all(a is None or b is None or a == b for a, b in zip(inputs[0].shape, expected))


def _output_of_length(outputs: Sequence[TensorSpec], lengths: Sequence[int]) -> Optional[TensorSpec]:
    """The only output with so many numbers a face; of a single output the file need not say how many it has."""
    fitting = [output for output in outputs if _length(output) in lengths]
    if not fitting and len(outputs) == 1 and _length(outputs[0]) is None:
        fitting = list(outputs)
    return fitting[0] if len(fitting) == 1 and fitting[0].dtype == np.float32 else None


def _length(output: TensorSpec) -> Optional[int]:
    sides = [side for side in output.shape[1:] if side is not None]
    return prod(sides) if sides and len(sides) == len(output.shape) - 1 else None


def _either(lengths: Sequence[int]) -> str:
    return " or ".join(map(str, lengths))
