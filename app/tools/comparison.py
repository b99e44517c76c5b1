"""One network on two backends: how far their numbers lie apart, and what that does to faces and embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Tuple, Union

import numpy as np

from app.errors import ModelError
from app.text import counted, program, table
from app.types import Faces
from app.vision.align import align_faces
from app.vision.detector import FaceDetector
from app.vision.embedder import FaceEmbedder

LEAST_OVERLAP = 0.5
"""From this IoU on, two boxes are the same face."""


@dataclass
class OutputDifference:
    """How far two backends lie apart in one output, gathered run by run."""

    worst: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    """Of the reference's values: what is large and what is small depends on how large they are."""
    values: int = 0

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        if a.shape != b.shape:
            raise ModelError(f"the two backends give outputs of different shapes: {a.shape} and {b.shape}")
        reference = a.astype(np.float64)
        apart = np.abs(reference - b)
        self.worst = max(self.worst, float(apart.max(initial=0.0)))
        self.total += float(apart.sum())
        self.squares += float(np.square(reference).sum())
        self.values += a.size

    @property
    def mean(self) -> float:
        return self.total / max(1, self.values)

    @property
    def magnitude(self) -> float:
        """Root of the mean square of the reference's values, by which the relative differences are divided."""
        return float(np.sqrt(self.squares / max(1, self.values))) or 1.0

    def as_json(self) -> Dict[str, float]:
        return {
            "worst": self.worst,
            "mean": self.mean,
            "worst_relative": self.worst / self.magnitude,
            "mean_relative": self.mean / self.magnitude,
        }


@dataclass
class FacesEffect:
    """What the difference does to the faces that a detector finds."""

    only_a: int = 0
    only_b: int = 0
    overlaps: List[float] = field(default_factory=list)
    """IoU of each face found by both."""
    score_differences: List[float] = field(default_factory=list)
    """By how much its score is higher with B."""

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
            "iou_least": float(np.min(self.overlaps)) if self.overlaps else None,
            "score_difference_mean": float(apart.mean()) if self.overlaps else None,
            "score_difference_worst": float(apart.max()) if self.overlaps else None,
        }


@dataclass
class EmbeddingsEffect:
    """What the difference does to embeddings."""

    cosines: List[float] = field(default_factory=list)
    """Of each face: its embedding by A with that by B."""

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        self.cosines.extend((a.astype(np.float64) * b).sum(axis=1).tolist())

    def as_json(self) -> Dict[str, Any]:
        return {
            "faces": len(self.cosines),
            "cosine_mean": float(np.mean(self.cosines)) if self.cosines else None,
            "cosine_least": float(np.min(self.cosines)) if self.cosines else None,
        }


@dataclass
class Comparison:
    """Everything that was compared."""

    model: str
    a: str
    """What the reference ran on."""
    b: str
    effect: Union[FacesEffect, EmbeddingsEffect]
    pictures: int = 0
    outputs: Dict[str, OutputDifference] = field(default_factory=dict)

    def add_outputs(self, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> None:
        if set(a) != set(b):
            raise ModelError(f"the two backends name the outputs differently: {sorted(a)} and {sorted(b)}")
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
                table(("output, |a - b|", "worst", "mean", "worst / rms(a)", "mean / rms(a)"), outputs),
                "",
                table([what.replace("_", " ") for what in effect], [[_cell(value) for value in effect.values()]]),
            ]
        )


def _place(network: Union[FaceDetector, FaceEmbedder]) -> str:
    return f"{network.runs_on.label}, {network.runs_on.precision}" if network.runs_on else "unknown"


def _cell(value: Union[int, float, None]) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.5f}"


def compare_detectors(model: str, pictures: Iterable[np.ndarray], a: FaceDetector, b: FaceDetector) -> Comparison:
    """Both on the same pictures, prepared once: in the size of the one that takes no other."""
    if a.fixed_size and b.fixed_size and a.fixed_size != b.fixed_size:
        sizes = " and ".join(f"{width} x {height}" for width, height in (a.fixed_size, b.fixed_size))
        raise ModelError(
            f"{model}: the two take pictures of {sizes} and of no other size, so that they cannot be shown the same; "
            f"an engine for any size is made by: {program()} engines build {model} --force"
        )
    preparing = a if a.fixed_size else b
    effect = FacesEffect()
    result = Comparison(model, _place(a), _place(b), effect)
    for picture in pictures:
        result.pictures += 1
        prepared = preparing.prepare([picture])
        outputs_a, outputs_b = a.infer(prepared), b.infer(prepared)
        result.add_outputs(outputs_a[0], outputs_b[0])
        effect.add(a.decode(outputs_a, prepared)[0], b.decode(outputs_b, prepared)[0])
    return result


def compare_embedders(
    model: str, pictures: Iterable[np.ndarray], finder: FaceDetector, a: FaceEmbedder, b: FaceEmbedder
) -> Comparison:
    """Both on the same crops: all faces that the detector finds in the pictures."""
    effect = EmbeddingsEffect()
    result = Comparison(model, _place(a), _place(b), effect)
    for picture in pictures:
        result.pictures += 1
        (faces,) = finder.detect([picture])
        if len(faces):
            crops = align_faces(picture, faces.landmarks, a.crop_size)
            result.add_outputs(a.infer(crops), b.infer(crops))
            effect.add(a.embed(crops), b.embed(crops))
    return result


def matched_faces(a: Faces, b: Faces) -> List[Tuple[int, int, float]]:
    """Rows of the same face in both, and their IoU; the pairs that overlap most come first."""
    if not len(a) or not len(b):
        return []
    corner = np.maximum(a.boxes[:, None, :2], b.boxes[None, :, :2])
    opposite = np.minimum(a.boxes[:, None, 2:], b.boxes[None, :, 2:])
    common = np.clip(opposite - corner, 0, None).prod(axis=2)
    overlap = common / (_areas(a)[:, None] + _areas(b)[None] - common)
    pairs = []
    while overlap.max() >= LEAST_OVERLAP:
        row_a, row_b = np.unravel_index(int(overlap.argmax()), overlap.shape)
        pairs.append((int(row_a), int(row_b), float(overlap[row_a, row_b])))
        overlap[row_a], overlap[:, row_b] = 0, 0
    return pairs


def _areas(faces: Faces) -> np.ndarray:
    return np.asarray((faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(axis=1))
