"""`evaluate optimise`: looks for the detector's settings with the fewest errors on labelled pictures."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Sequence

from app.commands.arguments import number, share, whole_number
from app.commands.options import add_settings_options
from app.output.progress import Progress
from app.settings import Settings
from app.text import counted, table

if TYPE_CHECKING:
    from app.models.loading import ModelLoader
    from app.tools.evaluation.labels import LabelledPicture
    from app.tools.evaluation.optimisation import Choice, PassCounts
    from app.types import ProgressCallback
    from app.vision.detector import FaceDetector

DESCRIPTION = """Tries settings of the detector on labelled pictures and shows those with the fewest errors:
missed faces plus false positives. Each combination of detector, input size and NMS is a pass over all
pictures; all minimum scores from 0.05 to 0.99 are counted in the same pass. Finished passes are kept in a
file, so the same command goes on where it was interrupted."""

EXAMPLES = """examples:
  python -m app evaluate optimise --images photos/ --labels labels.txt
  python -m app evaluate optimise --images photos/ --labels labels.txt --input-sizes 320 640 1280 --nms-ious 0.3 0.4 0.5
  python -m app evaluate optimise --images photos/ --labels labels.txt --detectors retinaface_mnet025 scrfd_500m

The settings are the best for these pictures. Measure them on others before you trust the number of errors:
`evaluate detection`. Small differences are chance."""


def add_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder of the pictures")
    labels_help = "faces in a format of `evaluate detection`: WIDER's, RetinaFace's, FDDB's or COCO's"
    action.add_argument("--labels", metavar="FILE", type=Path, required=True, help=labels_help)
    action.add_argument("--detectors", metavar="NAME", nargs="+", help="detectors to try (default: models.detector)")
    action.add_argument(
        "--input-sizes",
        metavar="PX",
        nargs="+",
        type=whole_number(64, 4096),
        default=[320, 480, 640, 960],
        help="longer sides of the detector's input to try (default: 320 480 640 960)",
    )
    action.add_argument(
        "--nms-ious",
        metavar="X",
        nargs="+",
        type=number(0.05, 0.95),
        default=[0.3, 0.4, 0.5],
        help="overlaps from which boxes are one face to try (default: 0.3 0.4 0.5)",
    )
    action.add_argument(
        "--iou", metavar="X", type=share, default=0.5, help="minimum overlap with a label (default 0.5)"
    )
    action.add_argument(
        "--min-label-px",
        metavar="PX",
        type=number(0, 4096),
        default=0,
        help="ignore labels with a shorter side below this",
    )
    action.add_argument(
        "--passes",
        metavar="FILE",
        type=Path,
        default=Path("optimise.jsonl"),
        help="finished passes, which are not repeated (default: optimise.jsonl)",
    )
    best_help = "rows of the table (default 10)"
    action.add_argument("--best", metavar="N", type=whole_number(1, 1000), default=10, help=best_help)
    action.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    add_settings_options(action, sections=("models.detector", "models.backend", "models.precision"))
    action.set_defaults(without_faces=False)


def optimise(
    arguments: argparse.Namespace, settings: Settings, pictures: Sequence[LabelledPicture], progress: Progress
) -> Dict[str, Any]:
    """Makes the passes that are missing, prints the best settings, and returns the figures."""
    from app.capture.pictures import read_picture
    from app.models.loading import ModelLoader, leave_cores_to_networks
    from app.tools.evaluation.optimisation import SCORES, PassFile, PassKey, description, ranked

    sizes: List[int] = sorted(set(arguments.input_sizes))
    overlaps: List[float] = sorted(set(arguments.nms_ious))
    largest = replace(settings, detection=replace(settings.detection, input_size=sizes[-1], min_score=SCORES[0]))
    names: List[str] = list(dict.fromkeys(arguments.detectors or [settings.models.detector]))
    loaders = {name: ModelLoader(largest).with_models(detector=name) for name in names}
    keys = [
        PassKey(name, loader.detector_entry.sha256 or "", size, overlap)
        for name, loader in loaders.items()
        for size in sizes
        for overlap in overlaps
    ]
    backend = {"backend": settings.models.backend, "precision": settings.models.precision, "iou": arguments.iou}
    leave_cores_to_networks()
    with PassFile(arguments.passes, description(pictures, arguments.images, **backend)) as kept:
        missing = [key for key in keys if key not in kept.passes]
        if len(missing) < len(keys):
            print(f"{len(keys) - len(missing)} of {counted(len(keys), 'pass', 'passes')} are already in {kept.path}\n")
        count = progress.counter("looking at pictures")
        total = len(missing) * len(pictures)
        done = 0
        try:
            for name, loader in loaders.items():
                own = [key for key in missing if key.detector == name]
                if not own:
                    continue
                with contextlib.closing(loader.open_detector()) as detector:
                    for key in own:
                        detection = replace(largest.detection, input_size=key.input_size, nms_iou=key.nms_iou)
                        look = detector.with_settings(detection)
                        look.detect([read_picture(arguments.images / pictures[0].file)])  # compiled for its shape
                        before = done * len(pictures)
                        kept.add(key, _look(look, pictures, arguments, partial(_count_on, count, before, total)))
                        done += 1
                        progress.clear()
                        print(f"pass {done} of {len(missing)}: {_row(ranked({key: kept.passes[key]})[0])}", flush=True)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{done} of {counted(len(missing), 'pass', 'passes')} done and kept in {kept.path}; "
                "the same command goes on there"
            ) from None
        choices = ranked({key: kept.passes[key] for key in keys})
        labels = kept.passes[keys[0]].labels
    best = choices[0]
    print(f"\n{counted(len(pictures), 'picture')}, {counted(labels, 'face')}; the best settings first:\n")
    print(_table(choices[: arguments.best]))
    checked = _check(best, loaders[best.key.detector], pictures, arguments, progress)
    print(f"\nlooked again with the first row: {checked['missed']} missed, {checked['false']} false positives")
    print(f"\nfor the settings file (config.local.yaml):\n\n{best.config()}")
    return {
        "labels": labels,
        "pictures": len(pictures),
        "best": [choice.as_json() for choice in choices[: arguments.best]],
        "checked": checked,
    }


def _count_on(count: ProgressCallback, before: int, total: int, done: int, _of_pass: int) -> None:
    count(before + done, total)


def _look(
    detector: FaceDetector,
    pictures: Sequence[LabelledPicture],
    arguments: argparse.Namespace,
    on_progress: ProgressCallback,
) -> PassCounts:
    from app.tools.evaluation.detection import match_faces
    from app.tools.evaluation.optimisation import count_pass
    from app.tools.evaluation.predictions import detect_all

    found = detect_all(pictures, arguments.images, detector, on_progress)
    matches = [match_faces(picture, faces, arguments.iou) for picture, faces in zip(pictures, found.faces)]
    return count_pass(pictures, matches, 1000 / found.pictures_per_s)


def _check(
    best: Choice,
    loader: ModelLoader,
    pictures: Sequence[LabelledPicture],
    arguments: argparse.Namespace,
    progress: Progress,
) -> Dict[str, int]:
    """The errors with exactly these settings. A face of a low score can hide another one at the second look at large
    pictures, so a pass at a low score may count a few errors too many."""
    detection = replace(
        loader.settings.detection,
        input_size=best.key.input_size,
        nms_iou=best.key.nms_iou,
        min_score=best.min_score,
    )
    with contextlib.closing(loader.open_detector()) as detector:
        counts = _look(detector.with_settings(detection), pictures, arguments, progress.counter("looking again"))
    # At the lowest score everything counts that was found.
    return {"missed": counts.labels - counts.hits[0], "false": counts.false[0]}


def _row(choice: Choice) -> str:
    return (
        f"{choice.key.detector}, {choice.key.input_size} px, NMS {choice.key.nms_iou:g}: "
        f"{counted(choice.errors, 'error')} at a minimum score of {choice.min_score:g}"
    )


def _table(choices: Sequence[Choice]) -> str:
    header = (
        "errors",
        "missed",
        "false",
        "min_score",
        "as good",
        "input_size",
        "nms_iou",
        "ms/picture",
        "detector",
    )
    return table(
        header,
        [
            (
                str(choice.errors),
                str(choice.missed),
                str(choice.false),
                f"{choice.min_score:.2f}",
                "{:.2f}-{:.2f}".format(*choice.equally_good),
                str(choice.key.input_size),
                f"{choice.key.nms_iou:g}",
                f"{choice.ms_per_picture:.1f}",
                choice.key.detector,
            )
            for choice in choices
        ],
    )
