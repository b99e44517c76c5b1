"""What all networks that take pictures of one face share: pictures in, a row of values per face out."""

from __future__ import annotations

from math import prod
from typing import Dict, Optional, Tuple

import cv2
import numpy as np

from app.errors import ModelError
from app.inference.backends import OpenedNetwork
from app.inference.engine import Engine, TensorSpec, run_in_batches
from app.inference.recovery import running
from app.inference.remote.network import RemoteNetwork
from app.inference.remote.network import RemoteStatus as RemoteStatus
from app.vision.preprocessing import Preprocessing


class FaceNetwork:
    """A network that takes pictures of one face each. Owns its engine."""

    def __init__(
        self,
        engine: Engine,
        preprocessing: Preprocessing,
        crop_size: Tuple[int, int],
        title: str,
        lengths: Tuple[int, ...],
    ) -> None:
        """`crop_size` is width and height of the pictures; `lengths` are the possible numbers of values per face.

        The network may have other outputs, which are ignored, but only one with such a length. `title` names what is
        expected in errors, such as `an embedder`.
        """
        self.crop_size = crop_size
        self._engine = engine
        self._preprocessing = preprocessing
        self._lengths = lengths
        width, height = crop_size
        channels_first = _takes(engine, (3, height, width))
        self._channels_last = not channels_first and _takes(engine, (height, width, 3))
        self._takes_pixels = _takes(engine, (height, width, 3), np.uint8)
        outputs = [output for output in engine.outputs if _values_per_face(output) in lengths]
        if not outputs and len(engine.outputs) == 1 and _values_per_face(engine.outputs[0]) is None:
            outputs = list(engine.outputs)
        is_usable = len(outputs) == 1 and outputs[0].dtype == np.float32
        if not is_usable or not (channels_first or self._channels_last or self._takes_pixels):
            expected = " or ".join(map(str, lengths))
            raise ModelError(
                f"this is not {title} with input ? x 3 x {height} x {width} and one output ? x {expected}: "
                f"found {', '.join(map(str, (*engine.inputs, *engine.outputs)))}; "
                "check the model's entry in the catalogue"
            )
        self._output = outputs[0]

    def prepare(self, crops: np.ndarray) -> np.ndarray:
        """The network's input (N x 3 x height x width or channels last, float32) for these crops. A network that takes
        pixels as they are (uint8) prepares them itself."""
        if self._takes_pixels:
            return np.ascontiguousarray(crops)
        return self.prepared(crops, self._preprocessing, self._channels_last)

    @staticmethod
    def prepared(crops: np.ndarray, preprocessing: Preprocessing, channels_last: bool) -> np.ndarray:
        """The crops as the catalogue says that a network wants them."""
        blob = cv2.dnn.blobFromImages(
            list(crops),
            scalefactor=1 / preprocessing.divisor,
            mean=preprocessing.mean,
            swapRB=preprocessing.channels == "rgb",
        )
        if channels_last:
            return np.ascontiguousarray(blob.transpose(0, 2, 3, 1))
        return np.asarray(blob)

    def infer(self, crops: np.ndarray) -> Dict[str, np.ndarray]:
        """All outputs by name for one or more crops (N x height x width x 3, uint8, BGR), in one batch."""
        return run_in_batches(self._engine, self.prepare(crops))

    def answers(self, crops: np.ndarray) -> np.ndarray:
        """The values of each face (N x length) for one or more crops."""
        values = self.infer(crops)[self._output.name].reshape(len(crops), -1)
        if values.shape[1] not in self._lengths:
            raise ModelError(
                f"the network has {values.shape[1]} values per face, expected {' or '.join(map(str, self._lengths))} "
                f"({self._output}); check the model's entry in the catalogue"
            )
        return values

    @property
    def runs_on(self) -> Optional[OpenedNetwork]:
        """The backend and why it was chosen; None for an engine that was opened directly."""
        return running(self._engine)

    @property
    def output(self) -> TensorSpec:
        """The values of each face."""
        return self._output

    @property
    def remote(self) -> Optional[RemoteStatus]:
        """How the server is that runs the network; None for a network on this machine."""
        return self._engine.status if isinstance(self._engine, RemoteNetwork) else None

    def close(self) -> None:
        self._engine.close()


def _takes(engine: Engine, shape: Tuple[int, int, int], dtype: type = np.float32) -> bool:
    """Whether the engine has a single input of this type, any batch size and this shape per face."""
    if len(engine.inputs) != 1 or engine.inputs[0].dtype != dtype:
        return False
    found = engine.inputs[0].shape
    return len(found) == 4 and all(side is None or side == wanted for side, wanted in zip(found[1:], shape))


def _values_per_face(output: TensorSpec) -> Optional[int]:
    """None if the file does not say."""
    sides = output.shape[1:]
    return prod(side for side in sides if side is not None) if sides and None not in sides else None
