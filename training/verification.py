"""Verification figures of an embedder on aligned pairs, for the training curve and for a finished ONNX file.

python -m training.verification --work WORK --pairs lfw_dev_pairs.csv --model engines/mobilefacenet.onnx

The crops in WORK are aligned by whatever detector `training.labels` was given. The model takes pixels as they are, as
the built-in one and its teacher do.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
import onnxruntime as ort

from training.augment import middle_crops, network_input
from training.crops import load_crops
from training.labels import load_table

Embed = Callable[[np.ndarray], np.ndarray]
"""N×3×112×112 network input to N×D embeddings."""


def ten_fold_accuracy(similarity: np.ndarray, same: np.ndarray, folds: int = 10) -> float:
    """LFW's protocol: in each fold, the threshold that is best on the other nine."""
    candidates = np.unique(similarity)
    fold_of = np.arange(len(same)) % folds
    right = 0
    for fold in range(folds):
        held_out = fold_of == fold
        decided = similarity[~held_out, None] >= candidates
        best = candidates[np.argmax((decided == same[~held_out, None]).sum(axis=0))]
        right += int(((similarity[held_out] >= best) == same[held_out]).sum())
    return right / len(same)


def acceptance_at(similarity: np.ndarray, same: np.ndarray, false_rate: float) -> Tuple[float, float]:
    """True acceptance rate, and its threshold, where at most `false_rate` of the strangers pass."""
    strangers = np.sort(similarity[~same])[::-1]
    threshold = strangers[int(false_rate * len(strangers))]
    return float((similarity[same] > threshold).mean()), float(threshold)


def read_pairs(path: Path) -> List[Tuple[str, str, bool]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [(row["image_a"], row["image_b"], row["same"] == "1") for row in csv.DictReader(stream)]


def pair_figures(embeddings: Dict[str, np.ndarray], pairs: List[Tuple[str, str, bool]]) -> Dict[str, float]:
    """Figures over the pairs; embeddings by the picture's name without extension, of unit length."""
    similarity = np.array([float(embeddings[a] @ embeddings[b]) for a, b, _ in pairs])
    same = np.array([is_same for _, _, is_same in pairs])
    at_percent, threshold = acceptance_at(similarity, same, 0.01)
    at_thousandth, strict_threshold = acceptance_at(similarity, same, 0.001)
    return {
        "accuracy": ten_fold_accuracy(similarity, same),
        "tar_at_far_1e-2": at_percent,
        "tar_at_far_1e-3": at_thousandth,
        "threshold_at_far_1e-2": threshold,
        "threshold_at_far_1e-3": strict_threshold,
        "pairs": len(pairs),
    }


def embed_normalised(embed: Embed, crops_bgr: np.ndarray, batch: int = 64) -> np.ndarray:
    parts = [embed(network_input(crops_bgr[start : start + batch])) for start in range(0, len(crops_bgr), batch)]
    embeddings = np.concatenate(parts)
    return np.asarray(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))


class DevelopmentPairs:
    """The development faces, cut once, with their pairs."""

    def __init__(self, work: Path, pairs: Path, source: str = "faces_lfw_dev") -> None:
        wide, rows = load_crops(work, source)
        self._crops = np.ascontiguousarray(middle_crops(wide))
        paths = load_table(work, source).paths[rows]
        self._names = [Path(str(path)).stem for path in paths]
        known = set(self._names)
        self._pairs = [pair for pair in read_pairs(pairs) if pair[0] in known and pair[1] in known]

    def figures(self, embed: Embed) -> Dict[str, float]:
        embeddings = dict(zip(self._names, embed_normalised(embed, self._crops)))
        return pair_figures(embeddings, self._pairs)


def onnx_embed(model: Path, threads: int = 1) -> Embed:
    """An ONNX embedder as a function."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {name: batch})[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.verification",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=Path, required=True, help="folder in which training.crops has written")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    arguments = parser.parse_args()
    development = DevelopmentPairs(arguments.work, arguments.pairs)
    print(json.dumps(development.figures(onnx_embed(arguments.model)), indent=1))


if __name__ == "__main__":
    main()
