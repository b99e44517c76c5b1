"""Facts that no checkpoint states and no shape proves, measured on drawn pictures."""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from app.tools.importing.architectures import Architecture
from app.tools.importing.drawn_pictures import FACE_SIDES, face, leaves
from app.tools.importing.numpy_reference import NumpyOperations
from app.tools.importing.operations import Norm
from app.tools.importing.weights import Weights

AnchorSizes = Tuple[Tuple[int, ...], ...]
Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]

KNOWN_ANCHORS: Tuple[AnchorSizes, ...] = (
    ((16, 32), (64, 128), (256, 512)),
    ((10, 20), (32, 64), (128, 256)),
)
"""The sizes with which RetinaFace is handed around, the usual ones first."""

STRIDES = (8, 16, 32)
_CENTRE_VARIANCE = 0.1
_SURE_SCORE = 0.5
_LEAST_PAIRS = 12
_CLOSE = 0.15
"""How far a measured size may be from the true one."""

_POSSIBLE_SIDES = (4, 2048)

_CLEAR = 1.5
"""One activation must fit so many times better than the other to be taken."""


def network_input(image: np.ndarray, channels: str, mean: Sequence[float], divisor: float) -> np.ndarray:
    """A BGR picture as the network wants it: 1 x 3 x H x W, float32."""
    pixels = image[:, :, ::-1] if channels == "rgb" else image
    planes = (pixels.astype(np.float32) - np.array(mean, np.float32)) / np.float32(divisor)
    return np.ascontiguousarray(planes.transpose(2, 0, 1)[None], np.float32)


def fit_of_statistics(architecture: Architecture, arrays: Mapping[str, np.ndarray]) -> float:
    """How far what flows through the network is from what its normalisations saw in training; small is good.

    A network with the wrong activation is driven far from the means and variances that it was trained with.
    """
    net = _StatisticsOperations(Weights(arrays), architecture.epsilon_of)
    image = leaves((320, 320))
    architecture.run(net, network_input(image, architecture.channels, architecture.mean, architecture.divisor))
    return float(np.mean(np.minimum(net.divergences, 50)))


def fitting_better(divergences: Mapping[float, float]) -> Optional[float]:
    """The key with the smallest value, if it is clearly the smallest."""
    best, second = sorted(divergences, key=lambda key: divergences[key])[:2]
    return best if divergences[second] > _CLEAR * divergences[best] else None


class _StatisticsOperations(NumpyOperations):
    """Notes, at each normalisation, how unlike its input is to the one that it knows (median over the channels)."""

    def __init__(self, weights: Weights, epsilon_of: Callable[[str], float]) -> None:
        super().__init__(weights, epsilon_of)
        self.divergences: List[float] = []

    def _norm(self, maps: np.ndarray, norm: Norm) -> np.ndarray:
        mean, variance = maps.mean(axis=(0, 2, 3)), maps.var(axis=(0, 2, 3)) + norm.epsilon
        known = norm.variance + norm.epsilon
        divergence = ((variance + (mean - norm.mean) ** 2) / known - 1 - np.log(variance / known)) / 2
        self.divergences.append(float(np.median(divergence)))
        return super()._norm(maps, norm)


def measured_anchors(run: Run, size: Tuple[int, int]) -> Dict[Tuple[int, int], float]:
    """Side length of the anchors by stride and number, as far as drawn faces show them.

    Two neighbouring cells that see the same face say where its centre is, each from its own middle and in units of
    its anchor: the difference of what they say is one stride, so the anchor's side follows. `run` takes a BGR
    picture of this width and height and gives `loc`, `conf` and `landms`.
    """
    found: Dict[Tuple[int, int], List[np.ndarray]] = {}
    for side in FACE_SIDES:
        if side * 1.5 < min(size):
            for place, values in _inverse_sides(run(face(size, side)), size).items():
                found.setdefault(place, []).append(values)
    pooled = {place: np.concatenate(values) for place, values in sorted(found.items())}
    sides = {
        place: float(1 / np.median(values))
        for place, values in pooled.items()
        if len(values) >= _LEAST_PAIRS and np.median(values) > 0
    }
    return {place: side for place, side in sides.items() if _POSSIBLE_SIDES[0] <= side <= _POSSIBLE_SIDES[1]}


def known_anchors(measured: Mapping[Tuple[int, int], float]) -> Optional[AnchorSizes]:
    """The one known set that agrees with everything measured."""
    fitting = [
        sizes
        for sizes in KNOWN_ANCHORS
        if all(
            abs(side / sizes[STRIDES.index(stride)][number] - 1) < _CLOSE for (stride, number), side in measured.items()
        )
    ]
    return fitting[0] if len(fitting) == 1 else None


def _inverse_sides(outputs: Mapping[str, np.ndarray], size: Tuple[int, int]) -> Dict[Tuple[int, int], np.ndarray]:
    """One over the anchors' sides, once for each pair of neighbours and each of the six points that they tell."""
    found = {}
    start = 0
    for stride in STRIDES:
        columns, rows = -(-size[0] // stride), -(-size[1] // stride)
        cells = slice(start, start + 2 * rows * columns)
        start = cells.stop
        sure = outputs["conf"][0, cells, 1].reshape(rows, columns, 2) > _SURE_SCORE
        centres = outputs["loc"][0, cells, :2].reshape(rows, columns, 2, 1, 2)
        points = np.concatenate([centres, outputs["landms"][0, cells].reshape(rows, columns, 2, 5, 2)], axis=3)
        for number in range(2):
            seen, told = sure[:, :, number], points[:, :, number]
            down = (told[:-1, :, :, 1] - told[1:, :, :, 1])[seen[:-1] & seen[1:]]
            across = (told[:, :-1, :, 0] - told[:, 1:, :, 0])[seen[:, :-1] & seen[:, 1:]]
            values = np.concatenate([down.ravel(), across.ravel()]) * (_CENTRE_VARIANCE / stride)
            if values.size:
                found[stride, number] = values
    return found
