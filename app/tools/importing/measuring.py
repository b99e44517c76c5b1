"""Facts about a network that neither its weights nor its shapes show, measured with generated pictures.

The pictures are drawn, and the same on every machine: nothing has to be shipped or downloaded.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.tools.importing.architectures import Architecture
from app.tools.importing.operations import Norm
from app.tools.importing.references import NumpyOperations
from app.tools.importing.weights import Weights

FACE_SIDES = (20, 30, 50, 80, 120, 180, 260, 360)
"""Widths of faces in pixels: every anchor of a detector responds to one of them."""

_SKIN, _HAIR, _DARK, _LIPS = (140, 170, 215), (30, 40, 50), (40, 50, 60), (90, 90, 180)

AnchorSizes = Tuple[Tuple[int, ...], ...]
Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]

KNOWN_ANCHORS: Tuple[AnchorSizes, ...] = (
    ((16, 32), (64, 128), (256, 512)),
    ((10, 20), (32, 64), (128, 256)),
)
"""The anchor sizes of public RetinaFace networks, the usual ones first."""

STRIDES = (8, 16, 32)
_CENTRE_VARIANCE = 0.1
_SURE_SCORE = 0.5
_MIN_PAIRS = 12
_CLOSE = 0.15
"""Relative tolerance of a measured size."""

_POSSIBLE_SIDES = (4, 2048)

_CLEAR = 1.5
"""How many times better one activation must fit than the other."""


def overlapping_discs(size: Tuple[int, int], seed: int = 0) -> np.ndarray:
    """Overlapping discs of all sizes: brightness and edges are distributed as in photographs (H x W x 3, BGR)."""
    width, height = size
    generator = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.uint8)
    for _ in range(max(200, width * height // 200)):
        radius = int(np.clip(4 * (1 - generator.random()) ** (-1 / 1.5), 4, 200))
        colour = np.clip(generator.normal(115, 60) + generator.normal(0, 20, 3), 0, 255)
        centre = (int(generator.integers(0, width)), int(generator.integers(0, height)))
        cv2.circle(image, centre, radius, colour.tolist(), -1, cv2.LINE_AA)
    noisy = cv2.GaussianBlur(image, (0, 0), 1.0) + generator.normal(0, 4, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def drawn_face(size: Tuple[int, int], side: int) -> np.ndarray:
    """A drawn face, about `side` pixels wide, in the centre of a dim picture (H x W x 3, BGR)."""
    width, height = size
    image = cv2.GaussianBlur((overlapping_discs(size) * 0.3 + 80).astype(np.uint8), (0, 0), 3)
    x, y = width // 2, height // 2

    def ellipse(across: float, down: float, half_width: float, half_height: float, colour: Tuple[int, ...]) -> None:
        centre = (x + round(across * side), y + round(down * side))
        axes = (round(half_width * side), round(half_height * side))
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    ellipse(0, -0.1, 0.55, 0.72, _HAIR)
    ellipse(0, 0.65, 0.2, 0.3, (120, 150, 195))
    ellipse(0, 0, 0.46, 0.62, _SKIN)
    for across in (-0.19, 0.19):
        ellipse(across, -0.1, 0.09, 0.045, (235, 235, 235))
        ellipse(across, -0.1, 0.045, 0.045, _DARK)
        ellipse(across, -0.19, 0.11, 0.025, _DARK)
    ellipse(0.02, 0.03, 0.02, 0.1, (120, 145, 190))
    ellipse(0, 0.13, 0.07, 0.04, (100, 120, 170))
    ellipse(0, 0.33, 0.15, 0.05, _LIPS)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(0.5, side * 0.012)))


def network_input(image: np.ndarray, channels: str, mean: Sequence[float], divisor: float) -> np.ndarray:
    """A BGR picture as network input: 1 x 3 x H x W, float32."""
    pixels = image[:, :, ::-1] if channels == "rgb" else image
    planes = (pixels.astype(np.float32) - np.array(mean, np.float32)) / np.float32(divisor)
    return np.ascontiguousarray(planes.transpose(2, 0, 1)[None], np.float32)


def fit_of_statistics(architecture: Architecture, arrays: Mapping[str, np.ndarray]) -> float:
    """The distance between the statistics of the network's activations and those of its training; smaller is better.

    With a wrong activation function, the inputs of the normalisations differ from the means and variances that they
    recorded in training.
    """
    net = _StatisticsOperations(Weights(arrays), architecture.epsilon_of)
    image = overlapping_discs((320, 320))
    architecture.run(net, network_input(image, architecture.channels, architecture.mean, architecture.divisor))
    return float(np.mean(np.minimum(net.divergences, 50)))


def fitting_better(divergences: Mapping[float, float]) -> Optional[float]:
    """The key with the smallest value, if the difference is clear."""
    best, second = sorted(divergences, key=lambda key: divergences[key])[:2]
    return best if divergences[second] > _CLEAR * divergences[best] else None


class _StatisticsOperations(NumpyOperations):
    """Records the divergence of the input of each normalisation from its statistics (median over the channels)."""

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

    Two neighbouring cells that detect the same face predict its centre relative to their own, in units of their anchor.
    The difference of the predictions is one stride, which gives the side of the anchor. `run` takes a BGR picture of
    this width and height and returns `loc`, `conf` and `landms`.
    """
    found: Dict[Tuple[int, int], List[np.ndarray]] = {}
    for side in FACE_SIDES:
        if side * 1.5 < min(size):
            for place, values in _inverse_sides(run(drawn_face(size, side)), size).items():
                found.setdefault(place, []).append(values)
    pooled = {place: np.concatenate(values) for place, values in sorted(found.items())}
    sides = {
        place: float(1 / np.median(values))
        for place, values in pooled.items()
        if len(values) >= _MIN_PAIRS and np.median(values) > 0
    }
    return {place: side for place, side in sides.items() if _POSSIBLE_SIDES[0] <= side <= _POSSIBLE_SIDES[1]}


def known_anchors(measured: Mapping[Tuple[int, int], float]) -> Optional[AnchorSizes]:
    """The set of known sizes that agrees with all measurements, if there is exactly one."""
    fitting = [
        sizes
        for sizes in KNOWN_ANCHORS
        if all(
            abs(side / sizes[STRIDES.index(stride)][number] - 1) < _CLOSE for (stride, number), side in measured.items()
        )
    ]
    return fitting[0] if len(fitting) == 1 else None


def _inverse_sides(outputs: Mapping[str, np.ndarray], size: Tuple[int, int]) -> Dict[Tuple[int, int], np.ndarray]:
    """1 / side of the anchors, for each pair of neighbours and each of the six points that they predict."""
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
            seen, predicted = sure[:, :, number], points[:, :, number]
            down = (predicted[:-1, :, :, 1] - predicted[1:, :, :, 1])[seen[:-1] & seen[1:]]
            across = (predicted[:, :-1, :, 0] - predicted[:, 1:, :, 0])[seen[:, :-1] & seen[:, 1:]]
            values = np.concatenate([down.ravel(), across.ravel()]) * (_CENTRE_VARIANCE / stride)
            if values.size:
                found[stride, number] = values
    return found
