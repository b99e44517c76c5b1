"""The figures of an evaluation as text and as JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from app.intervals import Rate, Share
from app.text import counted, percentage, table
from app.tools.evaluation.detection import NO_LABEL, DetectionFigures, PictureMatch
from app.tools.evaluation.labels import LabelledPicture
from app.tools.evaluation.pairs import PairList
from app.tools.evaluation.predictions import MainFaces
from app.tools.evaluation.verification import Acceptance, ScoreDistribution, VerificationFigures

MAX_NAMES = 10

NOT_COMPARED_RULE = "a pair with such a picture counts as wrong in the accuracy, and no threshold accepts it"


def verification_text(pairs: PairList, faces: MainFaces, figures: VerificationFigures) -> str:
    accuracy = figures.accuracy
    count = len(accuracy.by_fold)
    folds = f"{count} folds of the list" if pairs.folds is not None else f"{count} random folds, always the same"
    same = int(pairs.same.sum())
    return "\n".join(
        [
            f"{len(pairs.pairs)} pairs ({same} of one person, {len(pairs.pairs) - same} of two) of {faces.pictures} "
            f"pictures; {faces.pictures_per_s:.1f} pictures/s",
            *_pictures_without_face(faces, figures),
            "",
            f"accuracy {percentage(accuracy.mean)} ± {percentage(accuracy.deviation)} (cross-validation, {folds})",
            f"  {accuracy.share} [95 % interval]",
            f"equal error rate {percentage(figures.equal_error_rate)}",
            "",
            _acceptances(figures),
            "",
            f"scores, mean ± deviation: one person {_spread(figures.same)}, two people {_spread(figures.different)}",
        ]
    )


def _pictures_without_face(faces: MainFaces, figures: VerificationFigures) -> List[str]:
    if not faces.without_face:
        return ["a face was found in every picture"]
    named = ", ".join(faces.without_face[:MAX_NAMES])
    rest = len(faces.without_face) - MAX_NAMES
    more = f" and {rest} more" if rest > 0 else ""
    return [
        f"no face found in {counted(len(faces.without_face), 'picture')}: {named}{more}",
        f"  {counted(figures.not_compared, 'pair')} could not be compared; {NOT_COMPARED_RULE}",
    ]


def _acceptances(figures: VerificationFigures) -> str:
    rows = [
        _acceptance_row(f"false accepts {_percent(rate)}", found)
        if found is not None
        else (f"false accepts {_percent(rate)}", "-", "-", "-", f"too few pairs: {math.ceil(1 / rate)} needed")
        for rate, found in figures.at_rates
    ]
    if figures.at_given is not None:
        rows.append(_acceptance_row("the program's threshold", figures.at_given))
    rows.append(("best accuracy", f"{figures.best_threshold:.4f}", "", "", ""))
    rows.append(("equal errors", f"{figures.equal_error_threshold:.4f}", "", "", ""))
    return table(("at", "threshold", "true accepts", "95 % interval", "false accepts"), rows)


def _acceptance_row(name: str, found: Acceptance) -> Tuple[str, ...]:
    false = f"{found.false_accepts.hits} of {found.false_accepts.of}"
    return (name, f"{found.threshold:.4f}", percentage(found.true_accepts.value), _interval(found.true_accepts), false)


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{percentage(low)} to {percentage(high)}"


def _percent(rate: float) -> str:
    return f"{rate * 100:g} %"


def _spread(spread: ScoreDistribution) -> str:
    return f"{spread.mean:.3f} ± {spread.deviation:.3f}" if spread.count else "none"


def verification_json(
    pairs: PairList, faces: MainFaces, scores: np.ndarray, figures: VerificationFigures
) -> Dict[str, Any]:
    accuracy = figures.accuracy
    return {
        "pairs": len(pairs.pairs),
        "pictures": faces.pictures,
        "pictures_per_s": faces.pictures_per_s,
        "pictures_without_face": faces.without_face,
        "pairs_not_compared": figures.not_compared,
        "rule_for_pairs_not_compared": NOT_COMPARED_RULE,
        "accuracy": {
            "mean": accuracy.mean,
            "deviation_between_folds": accuracy.deviation,
            "folds": "given" if pairs.folds is not None else "random",
            "by_fold": list(accuracy.by_fold),
            "threshold_by_fold": list(accuracy.thresholds),
            **accuracy.share.as_json(),
        },
        "best_threshold": figures.best_threshold,
        "equal_error_rate": figures.equal_error_rate,
        "equal_error_threshold": _finite(figures.equal_error_threshold),
        "at_false_accept_rate": {f"{rate:g}": _acceptance_json(found) for rate, found in figures.at_rates},
        "at_the_programs_threshold": _acceptance_json(figures.at_given),
        "scores_of_one_person": _spread_json(figures.same),
        "scores_of_two_people": _spread_json(figures.different),
        "scores": [
            {"a": pair.first, "b": pair.second, "same": pair.same, "score": _finite(float(score))}
            for pair, score in zip(pairs.pairs, scores)
        ],
    }


def _acceptance_json(found: Optional[Acceptance]) -> Optional[Dict[str, Any]]:
    if found is None:
        return None
    return {
        "threshold": found.threshold,
        "true_accepts": found.true_accepts.as_json(),
        "false_accepts": found.false_accepts.as_json(),
    }


def _spread_json(spread: ScoreDistribution) -> Dict[str, Any]:
    facts = dataclasses.asdict(spread)
    return {key: _finite(value) for key, value in facts.items()}


def detection_text(
    figures: DetectionFigures, pictures: int, pictures_per_s: float, iou: float, min_score: float
) -> str:
    lines = [
        f"{counted(pictures, 'picture')} with {counted(figures.found.of, 'labelled face')}, "
        f"{figures.ignored_labels} more ignored; {pictures_per_s:.1f} pictures/s",
        "",
    ]
    error = figures.landmarks
    landmarks = "  landmark error   no labels of landmarks"
    if error is not None:
        interval = f"[{error.interval[0]:.4f}, {error.interval[1]:.4f}]"
        landmarks = f"  landmark error / eye distance {error.mean:.4f} {interval}, "
        landmarks += f"median {error.median:.4f}, {error.faces} faces"
    if figures.average_precision is not None:
        lines += [
            f"average precision {percentage(figures.average_precision)} at IoU {iou:g}",
            f"minimum score {min_score:g} [95 % interval]:",
            f"  faces found      {figures.found}",
            f"  true detections  {figures.precise}",
            f"  false positives per picture {figures.false_positives}",
            landmarks,
            "",
            _size_table(figures),
            "",
        ]
    without = figures.false_positives_without_faces
    lines.append(f"pictures without a face: {without.pictures}")
    if without.pictures:
        lines += [
            f"  false positives per picture, minimum score {min_score:g} [95 % interval]: {without}",
            f"  pictures with false positives: {figures.disturbed_without_faces}",
        ]
    return "\n".join(lines)


def _size_table(figures: DetectionFigures) -> str:
    rows = [
        (str(size), str(size.found.of), percentage(size.found.value), _interval(size.found))
        if size.found.of
        else (str(size), "0", "-", "-")
        for size in figures.by_size
    ]
    return table(("shorter side of the label", "faces", "found", "95 % interval"), rows)


def detection_json(figures: DetectionFigures, pictures_per_s: float) -> Dict[str, Any]:
    facts = {field.name: getattr(figures, field.name) for field in dataclasses.fields(figures)}
    plain = {
        name: value.as_json() if isinstance(value, (Share, Rate)) else value
        for name, value in facts.items()
        if name not in ("by_size", "landmarks")
    }
    error = figures.landmarks
    return {
        **plain,
        "pictures_per_s": pictures_per_s,
        "by_size": [
            {"from_px": size.from_px, "to_px": _finite(size.to_px), **size.found.as_json()} for size in figures.by_size
        ],
        "landmark_error": error
        and {
            "faces": error.faces,
            "mean": error.mean,
            "median": error.median,
            "interval_95": [_finite(bound) for bound in error.interval],
        },
    }


def mistakes_json(
    pictures: Sequence[LabelledPicture], matches: Sequence[PictureMatch], min_score: float
) -> Dict[str, Any]:
    """Each missed face and each false positive, for inspection."""
    missed: List[Dict[str, Any]] = []
    false: List[Dict[str, Any]] = []
    for picture, match in zip(pictures, matches):
        found = set(match.labels[match.scores >= min_score].tolist())
        for row in np.flatnonzero(~picture.ignored):
            if row not in found:
                missed.append({"file": picture.file, "box": picture.boxes[row].round(1).tolist()})
        for box, score, label in zip(match.boxes, match.scores, match.labels):
            if score >= min_score and label == NO_LABEL:
                false.append({"file": picture.file, "box": box.round(1).tolist(), "score": round(float(score), 4)})
    return {"missed": missed, "false": false}


def _finite(value: float) -> Optional[float]:
    return value if math.isfinite(value) else None
