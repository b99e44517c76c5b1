"""Compares a network on two backends: the differences of their outputs, and the effect on faces and embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Tuple, Union

import numpy as np

from app.errors import ModelError
from app.identity.tracker import iou
from app.text import counted, program, table
from app.types import Faces
from app.vision.align import align_faces
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder

MIN_IOU = 0.5
"""Two boxes with this overlap are the same face."""


@dataclass
class OutputDifference:
    """The differences between two backends in one output, over all runs."""

    maximum: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    """Of the reference's values, to relate the differences to."""
    values: int = 0

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        if a.shape != b.shape:
            raise ModelError(f"the outputs of the backends have different shapes: {a.shape} and {b.shape}")
        reference = a.astype(np.float64)
        apart = np.abs(reference - b)
        self.maximum = max(self.maximum, float(apart.max(initial=0.0)))
        self.total += float(apart.sum())
        self.squares += float(np.square(reference).sum())
        self.values += a.size

    @property
    def mean(self) -> float:
        return self.total / max(1, self.values)

    @property
    def magnitude(self) -> float:
        """The root mean square of the reference's values. Relative differences are divided by it."""
        return float(np.sqrt(self.squares / max(1, self.values))) or 1.0

    def as_json(self) -> Dict[str, float]:
        return {
            "max": self.maximum,
            "mean": self.mean,
            "max_relative": self.maximum / self.magnitude,
            "mean_relative": self.mean / self.magnitude,
        }


@dataclass
class FacesEffect:
    """The effect on the faces that a detector finds."""

    only_a: int = 0
    only_b: int = 0
    overlaps: List[float] = field(default_factory=list)
    """IoU of each face found by both."""
    score_differences: List[float] = field(default_factory=list)
    """The score with B minus the score with A."""

    def add(self, a: Faces, b: Faces) -> None:
        pairs = matched_faces(a, b)
        self.only_a += len(a) - len(pairs)
        self.only_b += len(b) - len(pairs)
        for row_a, row_b, overlap in pairs:
            self.overlaps.append(overlap)
            self.score_differences.append(float(b.scores[row_b]) - float(a.scores[row_a]))

    def as_json(self) -> Dict[str, Any]:
        apart = np.abs(self.score_differences)
        return {
            "found_by_both": len(self.overlaps),
            "only_by_a": self.only_a,
            "only_by_b": self.only_b,
            "iou_mean": float(np.mean(self.overlaps)) if self.overlaps else None,
            "iou_min": float(np.min(self.overlaps)) if self.overlaps else None,
            "score_difference_mean": float(apart.mean()) if self.overlaps else None,
            "score_difference_max": float(apart.max()) if self.overlaps else None,
        }


@dataclass
class EmbeddingsEffect:
    """The effect on embeddings."""

    cosines: List[float] = field(default_factory=list)
    """Cosine similarity of the embeddings by A and B, for each face."""

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        self.cosines.extend((a.astype(np.float64) * b).sum(axis=1).tolist())

    def as_json(self) -> Dict[str, Any]:
        return {
            "faces": len(self.cosines),
            "cosine_mean": float(np.mean(self.cosines)) if self.cosines else None,
            "cosine_min": float(np.min(self.cosines)) if self.cosines else None,
        }


@dataclass
class Comparison:
    """The result of a comparison."""

    model: str
    a: str
    """Backend and precision of the reference."""
    b: str
    effect: Union[FacesEffect, EmbeddingsEffect]
    pictures: int = 0
    outputs: Dict[str, OutputDifference] = field(default_factory=dict)

    def add_outputs(self, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> None:
        if set(a) != set(b):
            raise ModelError(f"the backends name their outputs differently: {sorted(a)} and {sorted(b)}")
        for name, value in a.items():
            self.outputs.setdefault(name, OutputDifference()).add(value, b[name])

    def as_json(self) -> Dict[str, Any]:
        return {
            "model": self.model,
            "a": self.a,
            "b": self.b,
            "pictures": self.pictures,
            "outputs": {name: difference.as_json() for name, difference in self.outputs.items()},
            "effect": self.effect.as_json(),
        }

    def text(self) -> str:
        outputs = [
            (name, *(f"{value:.2e}" for value in difference.as_json().values()))
            for name, difference in self.outputs.items()
        ]
        effect = self.effect.as_json()
        return "\n".join(
            [
                f"{self.model}, {counted(self.pictures, 'picture')}",
                f"  a  {self.a}",
                f"  b  {self.b}",
                "",
                table(("output, |a - b|", "max", "mean", "max / rms(a)", "mean / rms(a)"), outputs),
                "",
                table([what.replace("_", " ") for what in effect], [[_cell(value) for value in effect.values()]]),
            ]
        )


def place_of(network: Union[FaceDetector, FaceEmbedder]) -> str:
    """Backend and precision, such as `OpenVINO, bf16`."""
    return f"{network.runs_on.label}, {network.runs_on.precision}" if network.runs_on else "unknown"


def _cell(value: Union[int, float, None]) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.5f}"


def compare_detectors(model: str, pictures: Iterable[np.ndarray], a: FaceDetector, b: FaceDetector) -> Comparison:
    """Runs both on the same prepared pictures, in the size of the detector with a fixed size, if there is one."""
    if a.fixed_size and b.fixed_size and a.fixed_size != b.fixed_size:
        sizes = " and ".join(f"{width} x {height}" for width, height in (a.fixed_size, b.fixed_size))
        raise ModelError(
            f"{model}: both have a fixed input size ({sizes}), so they cannot run on the same pictures; to build an "
            f"engine for any size: {program()} engines build {model} --force"
        )
    preparing = a if a.fixed_size else b
    effect = FacesEffect()
    result = Comparison(model, place_of(a), place_of(b), effect)
    for picture in pictures:
        result.pictures += 1
        prepared = preparing.prepare([picture])
        outputs_a, outputs_b = a.infer(prepared), b.infer(prepared)
        result.add_outputs(outputs_a[0], outputs_b[0])
        effect.add(a.decode(outputs_a, prepared)[0], b.decode(outputs_b, prepared)[0])
    return result


def compare_embedders(
    model: str, pictures: Iterable[np.ndarray], detector: FaceDetector, a: FaceEmbedder, b: FaceEmbedder
) -> Comparison:
    """Runs both on the same crops: all faces that the detector finds."""
    effect = EmbeddingsEffect()
    result = Comparison(model, place_of(a), place_of(b), effect)
    for picture in pictures:
        result.pictures += 1
        (faces,) = detector.detect([picture])
        if len(faces):
            crops = align_faces(picture, faces.landmarks, a.crop_size)
            result.add_outputs(a.infer(crops), b.infer(crops))
            effect.add(a.embed(crops), b.embed(crops))
    return result


def matched_faces(a: Faces, b: Faces) -> List[Tuple[int, int, float]]:
    """Rows of the same face in both, and their IoU, in descending order."""
    if not len(a) or not len(b):
        return []
    overlap = iou(a.boxes, b.boxes)
    pairs = []
    while overlap.max() >= MIN_IOU:
        row_a, row_b = np.unravel_index(int(overlap.argmax()), overlap.shape)
        pairs.append((int(row_a), int(row_b), float(overlap[row_a, row_b])))
        overlap[row_a], overlap[:, row_b] = 0, 0
    return pairs
