"""Measures the accuracy of the networks on labelled pictures, and of the names in a video."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Set

from app.capture.uri import SourceKind, parse_source
from app.commands import optimise
from app.commands.arguments import number, share, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.commands.run import stop_on_signals
from app.errors import SettingsError, SourceError, check_all
from app.files import check_writable, make_folder, write_text
from app.output.progress import Progress
from app.settings import Settings
from app.text import counted, suggestion

if TYPE_CHECKING:
    from app.tools.evaluation.labels import LabelledPicture

DESCRIPTION = """Measures accuracy: how well the networks distinguish people, which faces they find, and how often the
faces in a video have the right name."""

EXAMPLES = """examples:
  python -m app evaluate verification --images lfw/ --pairs pairs.txt --plots plots/
  python -m app evaluate identification --gallery people/ --probes visitors/ --strangers others/
  python -m app evaluate detection --images WIDER_val/images --labels wider_face_val_bbx_gt.txt
  python -m app evaluate detection --images originalPics/ --labels FDDB-folds/
  python -m app evaluate detection --images landscapes/ --without-faces
  python -m app evaluate optimise --images photos/ --labels labels.txt
  python -m app evaluate label --images photos/ --detector NAME --out labels.txt
  python -m app evaluate video clip.mp4 --gallery people/ --truth clip.csv
what the figures mean: docs/evaluate.md"""

VIDEO_DESCRIPTION = """Runs the program on a video, with your settings, and counts the faces with the right name, with a
wrong one and without a name. A name is wrong while the person is not visible, and on a second face in the same
frame. With --boxes, it also says how soon faces are found, by their size."""

STRANGERS_DESCRIPTION = """Gives numbers to unknown people as a run does: each picture is a visit, in a random order.
Counts the numbers that several people share, and the people who have several numbers."""

IDENTIFICATION_DESCRIPTION = """Enrols the people of one folder, looks up the pictures of others, and says how many get
the right name while few strangers get any. Pictures are named as in a gallery: NAME.jpg, NAME_1.jpg or NAME/any.jpg.
Who has no photo in the gallery is a stranger. Each picture is decided alone, by its main face; votes come on top."""

DETECTOR_ALONE = ("models.detector", "models.backend", "models.precision")

CURVE_MIN_SCORE = 0.02
"""AP needs detections with scores down to this one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    purposes = {
        "verification": "accuracy of the embedder on labelled pairs",
        "detection": "accuracy of the detector on labelled pictures",
        "label": "write the faces that a detector finds as labels, for comparison with other detectors",
    }
    for name, purpose in purposes.items():
        action = actions.add_parser(name, help=purpose, description=purpose)
        action.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder of the pictures")
        {"verification": _add_verification, "detection": _add_detection, "label": _add_label}[name](action)
        action.add_argument(
            "--input-size", metavar="PX", type=whole_number(64, 4096), help="longer side of the detector's input"
        )
        sections = ("models",) if name == "verification" else DETECTOR_ALONE
        add_settings_options(action, sections=sections)
    find = "settings of the detector with the fewest errors"
    optimise.add_arguments(
        actions.add_parser("optimise", help=find, description=optimise.DESCRIPTION, epilog=optimise.EXAMPLES)
    )
    _add_strangers(actions.add_parser("strangers", help="numbers of strangers", description=STRANGERS_DESCRIPTION))
    _add_identification(
        actions.add_parser("identification", help="names among strangers", description=IDENTIFICATION_DESCRIPTION)
    )
    _add_video(actions.add_parser("video", help="names in a video", description=VIDEO_DESCRIPTION))


def _add_strangers(action: argparse.ArgumentParser) -> None:
    action.add_argument("--people", metavar="DIR", type=Path, required=True, help="a folder of pictures per person")
    action.add_argument("--seed", metavar="N", type=whole_number(0, 10**9), default=0, help="of the order (default 0)")
    action.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    add_settings_options(action, sections=("models", "detection", "strangers"))


def _add_verification(action: argparse.ArgumentParser) -> None:
    pairs_help = "LFW's pairs.txt or pairsDev*.txt, or CSV: image_a,image_b,same (1 or 0), with or without a header"
    action.add_argument("--pairs", metavar="FILE", type=Path, required=True, help=pairs_help)
    _add_outputs(action, "ROC curve and histogram of the scores")


def _add_detection(action: argparse.ArgumentParser) -> None:
    truth = action.add_mutually_exclusive_group(required=True)
    truth.add_argument(
        "--labels",
        metavar="FILE",
        type=Path,
        help="faces in WIDER's, RetinaFace's or FDDB's text format (*ellipseList.txt, or the folder of all folds), or "
        "COCO's (.json)",
    )
    truth.add_argument("--without-faces", action="store_true", help="no picture in the folder has a face")
    action.add_argument(
        "--iou", metavar="X", type=share, default=0.5, help="minimum overlap with a label (default 0.5)"
    )
    action.add_argument(
        "--min-score",
        metavar="X",
        type=share,
        help="minimum score of a face for all figures but AP (default: detection.min_score)",
    )
    action.add_argument(
        "--min-label-px",
        metavar="PX",
        type=number(0, 4096),
        default=0,
        help="ignore labels with a shorter side below this",
    )
    action.add_argument(
        "--main-face",
        action="store_true",
        help="for portraits: ignore all labels but the main face",
    )
    _add_outputs(action, "precision-recall curve")


def _add_label(action: argparse.ArgumentParser) -> None:
    action.add_argument("--out", metavar="FILE", type=Path, required=True, help="the labels, in RetinaFace's format")
    action.add_argument(
        "--min-score", metavar="X", type=share, help="minimum score of a face (default: detection.min_score)"
    )


def _add_video(action: argparse.ArgumentParser) -> None:
    action.add_argument("video", metavar="CLIP", help="the video")
    truth_help = "CSV with the header first,last,names: first and last frame, and who is visible there: Ann|Ben"
    action.add_argument("--truth", metavar="FILE", type=Path, required=True, help=truth_help)
    boxes_help = "CSV with the header frame,face,x1,y1,x2,y2: all faces; each has another number whenever it appears"
    action.add_argument("--boxes", metavar="FILE", type=Path, help=boxes_help)
    action.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    sections = ("models", "detection", "attention", "gallery", "recognition", "capture.backend", "run.max_frames")
    add_settings_options(action, sections=sections)


def _add_identification(action: argparse.ArgumentParser) -> None:
    action.add_argument("--gallery", metavar="DIR", type=Path, required=True, help="photos of the enrolled people")
    action.add_argument("--probes", metavar="DIR", type=Path, required=True, help="other pictures, of them and others")
    action.add_argument("--strangers", metavar="DIR", type=Path, help="pictures of people who are not enrolled")
    action.add_argument(
        "--ways", action="store_true", help="also measure other ways to compare: means of photos, normalised scores"
    )
    action.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    add_settings_options(action, sections=("models", "recognition.threshold"))


def _add_outputs(action: argparse.ArgumentParser, curves: str) -> None:
    action.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    action.add_argument("--plots", metavar="DIR", type=Path, help=f"write PNG files to this folder: {curves}")


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    options = {key: getattr(arguments, key, None) for key in ("input_size", "min_score")}
    given: Dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    settings = dataclasses.replace(settings, detection=dataclasses.replace(settings.detection, **given))
    progress = configure_logging(settings.run.log_level)
    check_writable(getattr(arguments, "json", None), getattr(arguments, "out", None))
    if getattr(arguments, "plots", None) is not None:
        from app.tools.evaluation.plots import require_matplotlib

        require_matplotlib()
        make_folder(arguments.plots)
    actions = {"verification": _verification, "detection": _detection, "label": _label, "video": _video}
    actions["strangers"] = _strangers
    actions["identification"] = _identification
    actions["optimise"] = _optimise
    actions[arguments.action](arguments, settings, progress)
    return 0


def _verification(arguments: argparse.Namespace, settings: Settings, progress: Progress) -> None:
    # Imported here, so that --help and a wrong option are fast.
    from app.models.loading import ModelLoader
    from app.recognizer import Recognizer
    from app.tools.evaluation.pairs import find_pictures, read_pairs
    from app.tools.evaluation.predictions import embed_main_faces, pair_scores
    from app.tools.evaluation.report import verification_json, verification_text
    from app.tools.evaluation.verification import balanced_folds, measure_verification

    pairs = read_pairs(arguments.pairs)
    files = find_pictures(pairs, arguments.images)
    loader = ModelLoader(settings)
    check_all(*loader.checks())
    with Recognizer.from_loader(loader, with_attributes=False) as recognizer:
        faces = embed_main_faces(files, recognizer, progress.counter("embedding faces"))
    scores = pair_scores(pairs.pairs, faces)
    folds = balanced_folds(pairs.same) if pairs.folds is None else pairs.folds
    figures = measure_verification(scores, pairs.same, folds, loader.threshold)
    models = [settings.models.detector, settings.models.embedder]
    print(_heading(settings, models))
    print(verification_text(pairs, faces, figures))
    if arguments.plots is not None:
        from app.tools.evaluation.plots import plot_verification

        print("\ncurves:", *plot_verification(scores, pairs.same, figures, models[1], arguments.plots))
    _write_json(arguments.json, models, settings, loader.min_score, verification_json(pairs, faces, scores, figures))


def _identification(arguments: argparse.Namespace, settings: Settings, progress: Progress) -> None:
    from app.models.loading import ModelLoader
    from app.recognizer import Recognizer
    from app.tools.evaluation.identification_report import (
        identification_json,
        identification_text,
        measure_identification,
    )

    loader = ModelLoader(settings)
    check_all(*loader.checks())
    folders = (arguments.gallery, arguments.probes, arguments.strangers)
    with Recognizer.from_loader(loader, with_attributes=False) as recognizer:
        figures = measure_identification(recognizer, *folders, arguments.ways, progress.counter("embedding faces"))
    models = [settings.models.detector, settings.models.embedder]
    print(_heading(settings, models))
    print(identification_text(figures))
    _write_json(arguments.json, models, settings, loader.min_score, identification_json(figures))


def _detection(arguments: argparse.Namespace, settings: Settings, progress: Progress) -> None:
    from app.models.loading import ModelLoader, leave_cores_to_networks
    from app.tools.evaluation.detection import match_faces, measure_detection, only_main_face, precision_curve
    from app.tools.evaluation.predictions import detect_all
    from app.tools.evaluation.report import detection_json, detection_text, mistakes_json

    pictures = _labelled_pictures(arguments)
    min_score = ModelLoader(settings).min_score
    lower = dataclasses.replace(settings.detection, min_score=min(CURVE_MIN_SCORE, min_score))
    loader = ModelLoader(dataclasses.replace(settings, detection=lower))
    leave_cores_to_networks()
    with contextlib.closing(loader.open_detector()) as detector:
        found = detect_all(pictures, arguments.images, detector, progress.counter("detecting faces"))
    if arguments.main_face:
        pictures = [only_main_face(picture, size) for picture, size in zip(pictures, found.picture_sizes)]
    matches = [match_faces(picture, faces, arguments.iou) for picture, faces in zip(pictures, found.faces)]
    figures = measure_detection(pictures, matches, min_score)
    models = [settings.models.detector]
    print(_heading(settings, models))
    print(detection_text(figures, len(pictures), found.pictures_per_s, arguments.iou, min_score))
    if arguments.plots is not None:
        from app.tools.evaluation.plots import plot_precision

        print("\ncurve:", plot_precision(precision_curve(pictures, matches), models[0], arguments.plots))
    facts = {
        "iou": arguments.iou,
        "min_label_px": arguments.min_label_px,
        "main_face_only": arguments.main_face,
        **detection_json(figures, found.pictures_per_s),
        "mistakes": mistakes_json(pictures, matches, min_score),
    }
    _write_json(arguments.json, models, settings, min_score, facts)


def _optimise(arguments: argparse.Namespace, settings: Settings, progress: Progress) -> None:
    figures = optimise.optimise(arguments, settings, _labelled_pictures(arguments), progress)
    if arguments.json is not None:
        write_text(arguments.json, json.dumps(figures, indent=1, allow_nan=False) + "\n")


def _labelled_pictures(arguments: argparse.Namespace) -> List[LabelledPicture]:
    from app.tools.evaluation.coco import read_coco
    from app.tools.evaluation.detection import ignore_small
    from app.tools.evaluation.labels import check_files, pictures_without_faces, read_text_labels
    from app.tools.evaluation.predictions import pictures_below

    if arguments.without_faces:
        return pictures_without_faces(pictures_below(arguments.images))
    read = read_coco if arguments.labels.suffix.lower() == ".json" else read_text_labels
    pictures = [ignore_small(picture, arguments.min_label_px) for picture in read(arguments.labels)]
    check_files(pictures, arguments.images)
    return pictures


def _label(arguments: argparse.Namespace, settings: Settings, progress: Progress) -> None:
    from app.models.loading import ModelLoader, leave_cores_to_networks
    from app.tools.evaluation.labels import pictures_without_faces, retinaface_lines
    from app.tools.evaluation.predictions import detect_all, pictures_below

    pictures = pictures_without_faces(pictures_below(arguments.images))
    loader = ModelLoader(settings)
    leave_cores_to_networks()
    with contextlib.closing(loader.open_detector()) as detector:
        found = detect_all(pictures, arguments.images, detector, progress.counter("detecting faces"))
    lines = [line for picture, faces in zip(pictures, found.faces) for line in retinaface_lines(picture.file, faces)]
    write_text(arguments.out, "\n".join(lines) + "\n")
    print(
        f"{arguments.out}: {counted(sum(map(len, found.faces)), 'face')} in {counted(len(pictures), 'picture')}, "
        f"{counted(sum(not len(faces) for faces in found.faces), 'picture')} without a face; "
        f"{settings.models.detector}, minimum score {loader.min_score:g}"
    )


def _strangers(arguments: argparse.Namespace, settings: Settings, progress: Progress) -> None:
    from app.gallery.strangers import similarity_for
    from app.recognizer import Recognizer
    from app.tools.evaluation.strangers import faces_of_people, numbers_given

    with Recognizer.from_settings(settings) as recognizer:
        faces = faces_of_people(arguments.people, recognizer, progress.counter("embedding faces"))
        similarity = similarity_for(settings.strangers, recognizer.threshold)
        min_score = recognizer.min_score
    models = [settings.models.detector, settings.models.embedder]
    print(_heading(settings, models))
    result = numbers_given(faces, similarity, arguments.seed)
    print(result.text())
    _write_json(arguments.json, models, settings, min_score, result.as_json())


def _video(arguments: argparse.Namespace, settings: Settings, progress: Progress) -> None:
    from app.assembly import run
    from app.models.loading import ModelLoader
    from app.tools.evaluation.appearances import FoundFaces, read_boxes
    from app.tools.evaluation.names import NameCount, read_truth
    from app.tools.replay import alone

    source = parse_source(arguments.video, "clip")
    if source.kind is not SourceKind.VIDEO:
        raise SourceError(f"{source.masked_address}: expected a video file, in which frames can be counted")
    truth = read_truth(arguments.truth)
    _check_enrolled({name for visible in truth for name in visible.names}, arguments.truth, settings)
    found = None if arguments.boxes is None else FoundFaces(read_boxes(arguments.boxes))
    count = NameCount(truth)
    report = run(
        alone(settings), [source], stop_on_signals, progress, extra_outputs=[count, *([found] if found else [])]
    )
    if report.stopped:
        raise KeyboardInterrupt("before the end of the video; there are no figures")
    if report.failed or report.lost:
        raise SourceError(
            "\n".join([*(f"{arguments.video}: {lost.last_error}" for lost in report.failed), *report.lost])
        )
    models = [settings.models.detector, settings.models.embedder]
    print(_heading(settings, models))
    print(count.text())
    figures = count.as_json()
    if found is not None:
        cpu_ms = report.summary.cpu_s * 1000 / max(1, report.summary.frames)
        print(f"\n{found.text()}\n{cpu_ms:.1f} ms of CPU per frame, with decoding")
        figures = {**figures, **found.as_json(), "cpu_ms_per_frame": cpu_ms}
    _write_json(arguments.json, models, settings, ModelLoader(settings).min_score, figures)


def _check_enrolled(names: Set[str], truth: Path, settings: Settings) -> None:
    """Raises SettingsError for names that are probably misspelt: each of their faces would count as a wrong name."""
    from app.gallery.files import photos_by_person

    folder = settings.gallery.folder
    enrolled = photos_by_person(folder)
    misspelt: List[str] = []
    for name in sorted(names - set(enrolled)):
        meant = suggestion(name, enrolled, "")
        said = f"{truth}: no one called {name!r} is enrolled in {folder}"
        if meant:
            misspelt.append(f"{said}{meant}")
        else:
            sys.stderr.write(f"warning: {said}, so this person cannot be named\n")
    if misspelt:
        raise SettingsError("\n".join(misspelt))


def _heading(settings: Settings, models: List[str]) -> str:
    from app.tools.machine import describe_machine

    return f"{describe_machine()}; {' and '.join(models)}, detector input {settings.detection.input_size} px\n"


def _write_json(
    path: Optional[Path], models: List[str], settings: Settings, min_score: float, figures: Dict[str, Any]
) -> None:
    if path is None:
        return
    from app.tools.machine import describe_machine

    facts = {
        "machine": describe_machine(),
        "models": models,
        "detection": {**dataclasses.asdict(settings.detection), "min_score": min_score},
        **figures,
    }
    write_text(path, json.dumps(facts, indent=1, allow_nan=False) + "\n")
