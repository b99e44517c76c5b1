"""Curves as PNG files. Matplotlib is only imported here, when the first one is drawn."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Tuple

import numpy as np

from app.errors import OutputError
from app.tools.evaluation.detection import PrecisionCurve
from app.tools.evaluation.verification import NOT_COMPARED, VerificationFigures, roc
from app.tools.machine import require_packages

SIZE_INCHES = (6.4, 4.8)
DPI = 120
BINS = 80


def require_matplotlib() -> None:
    """Call it before the networks run, so that a missing package is reported early."""
    # Its log lists all fonts.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    require_packages("--plots", "matplotlib")


def plot_verification(
    scores: np.ndarray, same: np.ndarray, figures: VerificationFigures, embedder: str, folder: Path
) -> Tuple[Path, Path]:
    """ROC curve with a logarithmic axis, and histogram of the scores."""
    curve, different_pairs = roc(scores, same), int((~same).sum())
    figure, axes = _figure(f"{embedder}: ROC")
    lowest = 1 / max(2, different_pairs)
    axes.plot(np.maximum(curve.false_accept_rates, lowest / 2), curve.true_accept_rates, drawstyle="steps-post")
    axes.axvline(lowest, color="grey", linestyle=":", label=f"1 of {different_pairs} different pairs")
    axes.set(xscale="log", xlabel="false accept rate", ylabel="true accept rate", xlim=(lowest / 2, 1), ylim=(0, 1.02))
    axes.legend(loc="lower right")
    _save(figure, folder / "roc.png")

    figure, axes = _figure(f"{embedder}: scores of pairs")
    compared = scores > NOT_COMPARED
    edges = np.linspace(min(-0.5, float(scores[compared].min(initial=0))), 1, BINS + 1)
    axes.hist(scores[compared & same], edges, alpha=0.6, label="one person")
    axes.hist(scores[compared & ~same], edges, alpha=0.6, label="two people")
    axes.axvline(figures.best_threshold, color="grey", linestyle=":", label=f"best: {figures.best_threshold:.3f}")
    axes.set(xlabel="cosine similarity", ylabel="pairs")
    axes.legend(loc="upper left")
    _save(figure, folder / "scores.png")
    return folder / "roc.png", folder / "scores.png"


def plot_precision(curve: PrecisionCurve, detector: str, folder: Path) -> Path:
    figure, axes = _figure(f"{detector}: precision and recall")
    axes.plot(curve.recalls, curve.precisions, drawstyle="steps-pre")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    _save(figure, folder / "precision.png")
    return folder / "precision.png"


def _figure(title: str) -> Tuple[Any, Any]:
    # Not pyplot, which keeps every figure and needs a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI)
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
