"""Figures of several detectors on the held-out pictures, with 95 % intervals, as a table.

    python -m training.held_out_figures --held HELD --config CONFIG --detectors retinaface_mnet025 scrfd_2_5g --json OUT

HELD comes from training.held_out; CONFIG is a settings file whose catalogue lists the detectors. The figures are those
of `python -m app evaluate detection`, at each model's own score, in ONNX Runtime and fp32. The others are compared with
the first detector: on the same crowds, picture by picture.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from app.intervals import Rate
from app.models.loading import ModelLoader
from app.settings import Settings
from app.settings.reader import load_settings
from app.tools.evaluation.detection import (
    PictureMatch,
    average_precision,
    ignore_small,
    match_faces,
    measure_detection,
    precision_curve,
)
from app.tools.evaluation.labels import LabelledPicture, pictures_without_faces, read_text_labels
from app.tools.evaluation.predictions import detect_all, pictures_below

log = logging.getLogger(__name__)

CURVE_MIN_SCORE = 0.02
MIN_IOU = 0.5
RESAMPLINGS = 1000
MIN_CROWD_PX, MIN_SCENE_PX = 12.0, 20.0
SCORES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""For choosing a default: false faces and recall from each of these scores on."""

Measured = Tuple[List[LabelledPicture], List[PictureMatch]]


def detected(
    settings: Settings, held: Path, name: str, size: int, min_px: float = 0, labels: Optional[str] = None
) -> Tuple[Measured, float]:
    """The matched faces of one held-out set at one input size, and the detector's own score."""
    min_score = ModelLoader(settings).min_score
    lower = dataclasses.replace(settings.detection, min_score=CURVE_MIN_SCORE, input_size=size)
    if name == "empty":
        pictures = pictures_without_faces(pictures_below(held / name))
    else:
        pictures = [ignore_small(picture, min_px) for picture in read_text_labels(held / (labels or f"{name}.txt"))]
    loader = ModelLoader(dataclasses.replace(settings, detection=lower))
    with contextlib.closing(loader.open_detector()) as detector:
        found = detect_all(pictures, held / name, detector, lambda done, count: None)
    matches = [match_faces(picture, faces, MIN_IOU) for picture, faces in zip(pictures, found.faces)]
    return (pictures, matches), min_score


def resampled_precisions(measured: Measured, seed: int = 1) -> np.ndarray:
    """AP of sets of as many pictures drawn with replacement: the same sets for every detector."""
    pictures, matches = measured
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(RESAMPLINGS):
        rows = rng.integers(0, len(pictures), len(pictures))
        values.append(average_precision(precision_curve([pictures[r] for r in rows], [matches[r] for r in rows])))
    return np.array(values)


def interval(values: np.ndarray) -> List[float]:
    return [float(bound) for bound in np.percentile(values, (2.5, 97.5))]


def rate_json(rate: Rate) -> Dict[str, Any]:
    return {"value": rate.value, "interval_95": list(rate.interval), "events": rate.events, "of": rate.pictures}


def by_score(measured: Measured) -> Dict[str, Dict[str, float]]:
    figures = {}
    for score in SCORES:
        at_score = measure_detection(*measured, score)
        figures[f"{score:g}"] = {"found": at_score.found.value, "false_faces": at_score.false_positives.value}
    return figures


def detector_figures(
    settings: Settings, held: Path, only: Sequence[str], reference: Dict[int, np.ndarray]
) -> Dict[str, Any]:
    """All figures of one detector; `reference` keeps the resampled APs of the first."""
    result: Dict[str, Any] = {}
    for size in (960, 640, 320):
        if "crowds" in only:
            measured, score = detected(settings, held, "crowds", size, MIN_CROWD_PX)
            figures = measure_detection(*measured, score)
            sampled = resampled_precisions(measured)
            difference = sampled - reference.setdefault(size, sampled)
            result[f"crowds {size}"] = {
                "ap": figures.average_precision,
                "ap_interval": interval(sampled),
                "ap_difference_interval": interval(difference),
                "found": figures.found.as_json(),
                "false_faces": rate_json(figures.false_positives),
                "by_score": by_score(measured),
            }
    for labels in ("scenes.txt", "scenes_teacher.txt"):
        for size in (960, 640):
            if "scenes" in only and (held / labels).exists():
                measured, score = detected(settings, held, "scenes", size, MIN_SCENE_PX, labels)
                result[f"{labels[:-4]} {size}"] = {
                    "found": measure_detection(*measured, score).found.as_json(),
                    "found_at_half": measure_detection(*measured, 0.5).found.as_json(),
                    "by_score": by_score(measured),
                }
    for size in (640, 960):
        if "empty" in only:
            measured, score = detected(settings, held, "empty", size)
            figures = measure_detection(*measured, score)
            result[f"empty {size}"] = {
                "false_faces": rate_json(figures.false_positives),
                "by_score": by_score(measured),
                "pictures_with_some": sorted(
                    picture.file
                    for picture, match in zip(*measured)
                    if len(match.scores) and match.scores.max() >= score
                ),
            }
    for size in (640, 960, 1280):
        if "closeups" in only:
            measured, score = detected(settings, held, "closeups", size)
            figures = measure_detection(*measured, score)
            false = rate_json(figures.false_positives)
            result[f"closeups {size}"] = {"found": figures.found.as_json(), "false_faces": false}
    if "portraits" in only:
        measured, score = detected(settings, held, "portraits", 640)
        landmarks = measure_detection(*measured, score).landmarks
        if landmarks is not None:
            result["portraits"] = {"landmark_error": landmarks.mean, "interval_95": list(landmarks.interval)}
    return result


def cell(figures: Dict[str, Any]) -> str:
    """One figure of the table with its interval."""
    if "ap" in figures:
        low, high = figures["ap_interval"]
        from_low, from_high = figures["ap_difference_interval"]
        return f"{figures['ap']:.1%} [{low:.1%}, {high:.1%}] ({from_low:+.1%}, {from_high:+.1%})"
    if "landmark_error" in figures:
        low, high = figures["interval_95"]
        return f"{figures['landmark_error']:.3f} [{low:.3f}, {high:.3f}]"
    if "found" in figures:
        found = figures["found"]
        low, high = found["interval_95"]
        return f"{found['value']:.1%} [{low:.1%}, {high:.1%}]"
    false = figures["false_faces"]
    low, high = false["interval_95"]
    return f"{false['value']:.3f} [{low:.3f}, {high:.3f}]"


def table(figures: Dict[str, Dict[str, Any]]) -> str:
    """Markdown, a column a detector."""
    names = list(figures)
    rows = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for what in figures[names[0]]:
        rows.append(f"| {what} | " + " | ".join(cell(figures[name][what]) for name in names) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.held_out_figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sets = ("crowds", "scenes", "empty", "closeups", "portraits")
    parser.add_argument("--held", type=Path, required=True, help="folder that training.held_out has written")
    parser.add_argument("--config", type=Path, required=True, help="settings file that names the catalogue")
    parser.add_argument("--detectors", nargs="+", required=True)
    parser.add_argument("--sets", nargs="+", choices=sets, default=sets, help="only these pictures")
    parser.add_argument("--json", type=Path, required=True, help="write everything there, after each detector")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    cv2.setNumThreads(1)
    settings = load_settings(arguments.config)
    figures: Dict[str, Dict[str, Any]] = {}
    reference: Dict[int, np.ndarray] = {}
    for name in arguments.detectors:
        models = dataclasses.replace(
            settings.models, detector=name, backend="onnx", precision="fp32", threads=arguments.threads
        )
        chosen = dataclasses.replace(settings, models=models)
        figures[name] = detector_figures(chosen, arguments.held, arguments.sets, reference)
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))


if __name__ == "__main__":
    main()
