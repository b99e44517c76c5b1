"""Do two pictures show the same person?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Tuple

import numpy as np

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import AppError, ExitCode, check_all
from app.settings import QualityLimits
from app.text import percent, printable

if TYPE_CHECKING:
    from app.recognizer import Recognizer

DESCRIPTION = """Compares the faces in two pictures and says whether they show the same person. If a picture shows
several faces, its main face is compared: the clearest and largest near the middle."""

EXAMPLES = """examples:
  python -m app compare ann.jpg visitor.jpg
  python -m app compare ann.jpg visitor.jpg --threshold 0.5
  python -m app compare ann.jpg visitor.jpg --json

exit codes: 0 the same person; 1 two different people; 2 an error, such as a picture without a face"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="A.jpg", type=Path)
    parser.add_argument("second", metavar="B.jpg", type=Path)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_settings_options(parser, sections=("models", "detection", "recognition.threshold"))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    configure_logging("warning")
    # Imported here, so that --help is fast.
    from app.capture.pictures import read_picture
    from app.models.loading import ModelLoader
    from app.recognizer import Recognizer

    paths = (arguments.first, arguments.second)
    pictures = [read_picture(path) for path in paths]
    loader = ModelLoader(settings)
    check_all(*loader.checks())
    with Recognizer.from_loader(loader, with_attributes=False) as recognizer:
        (first, remark_a), (second, remark_b) = (
            _main_embedding(recognizer, path, picture) for path, picture in zip(paths, pictures)
        )
    similarity = float(first @ second)
    same = similarity >= recognizer.threshold
    confidence = None
    if recognizer.reference is not None:
        confidence = recognizer.reference.certainty.probability(similarity)
    if arguments.json:
        facts = {
            "similarity": round(similarity, 4),
            "threshold": recognizer.threshold,
            "same_person": same,
            "confidence": None if confidence is None else round(confidence, 4),
        }
        print(json.dumps(facts))
    else:
        for path, remark in zip(paths, (remark_a, remark_b)):
            if remark:
                print(printable(f"{path}: {remark}"))
        verdict = "the same person" if same else "different people"
        print(f"similarity {similarity:.2f}, threshold {recognizer.threshold:.2f}: {verdict}")
        if confidence is not None:
            print(f"confidence {percent(confidence)}, if pairs of one person are as frequent as pairs of two")
    return ExitCode.DONE if same else ExitCode.INCOMPLETE


def _main_embedding(recognizer: Recognizer, path: Path, picture: np.ndarray) -> Tuple[np.ndarray, str]:
    """The embedding of the picture's main face, found as in photos of the gallery, and which one it is."""
    from app.gallery.photo import examine_photo

    finding = examine_photo(picture, recognizer, QualityLimits(min_score=recognizer.min_score), must_be_clear=False)
    if finding.embedding is None:
        raise AppError(f"{path}: {finding.text}")
    return finding.embedding, finding.message
