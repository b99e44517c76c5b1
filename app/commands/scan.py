"""Are all faces of these pictures found, and nothing else?"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from app.commands.arguments import whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import AppError, ExitCode, SourceError, check_all
from app.files import make_folder, write_whole
from app.settings import Settings
from app.text import counted, printable

if TYPE_CHECKING:
    from app.tools.scan.noses import Expected, Verdict
    from app.types import Faces

DESCRIPTION = """Finds the faces of pictures and draws them, here or through a server. With annotations, it says which
faces are missed and which boxes are no face: an acceptance test of a model, of settings, or of a server."""

EXAMPLES = """examples:
  python -m app scan party.jpg 'album/**/*.jpg' --out scanned/
  python -m app scan door.jpg --expect-faces 2
  python -m app scan photos/ --expect noses.csv --out scanned/ --only-errors
  python -m app scan photos/ --expect noses.csv --url http://127.0.0.1:8080   # this program's server, or
  python -m app scan photos/ --expect noses.csv --url http://127.0.0.1:3000   # a core of CompreFace

annotations: CSV with the header picture,x,y and a line for each nose, or picture,, for a picture without faces; or
labels of `evaluate detection`, whose noses are the landmarks, or the middles of boxes and ellipses (FDDB). A nose is
found if a box contains it, and each box counts for one nose.

exit codes: 0 the faces are those expected, or nothing was expected; 1 they are not, or a picture cannot be read;
2 a wrong option, setting or file, or a server that does not answer"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pictures", metavar="PICTURE", nargs="+", help="picture, folder of pictures, or a pattern such as 'album/*.jpg'"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="write each picture there as PNG, with boxes and scores"
    )
    parser.add_argument("--only-errors", action="store_true", help="write only pictures with errors")
    expected = parser.add_mutually_exclusive_group()
    expected.add_argument("--expect", metavar="FILE", type=Path, help="annotations of the pictures, see below")
    expected.add_argument(
        "--expect-faces", metavar="N", type=whole_number(0, 10_000), help="how many faces each picture has"
    )
    parser.add_argument("--url", metavar="URL", help="find faces through the server there, by POST to URL/scan_faces")
    parser.add_argument("--token-file", metavar="FILE", type=Path, help="file with the token for the server")
    parser.add_argument("--json", action="store_true", help="print one JSON object per picture")
    add_settings_options(parser, sections=("models", "detection"))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    progress = configure_logging("error")
    # Imported here, so that --help is fast.
    from app.capture.pictures import decode_picture, picture_files
    from app.tools.scan.drawing import draw_scan, png_names
    from app.tools.scan.noses import compare, expected_of, read_expected

    if arguments.only_errors and arguments.out is None:
        raise AppError("--only-errors chooses which pictures are written; it needs --out DIR")
    annotations = {} if arguments.expect is None else read_expected(arguments.expect)
    files = list(dict.fromkeys(path for where in arguments.pictures for path in picture_files(where)))
    expectations = [expected_of(path, annotations) for path in files]
    if annotations and not any(expectations):
        raise AppError(f"{arguments.expect}: annotates none of these pictures, but {', '.join(list(annotations)[:3])}")
    if arguments.out is not None:
        make_folder(arguments.out)
    total = _Total()
    with contextlib.ExitStack() as stack:
        find = _scanner(arguments, settings, stack)
        count = progress.counter("scanning pictures")
        for done, (path, expected, png) in enumerate(zip(files, expectations, png_names(files)), 1):
            try:
                data = path.read_bytes()
                image = decode_picture(data, path)
            except (SourceError, OSError) as error:
                total.unreadable += 1
                if arguments.json:
                    _print_json({"picture": str(path), "error": str(error)})
                else:
                    sys.stderr.write(f"error: {error}\n")
                continue
            faces = find(data, image)
            verdict = None if expected is None else compare(faces.boxes.astype(np.float64), expected)
            wrong_count = arguments.expect_faces is not None and len(faces) != arguments.expect_faces
            errors = abs(len(faces) - arguments.expect_faces) if wrong_count else verdict.errors if verdict else 0
            total.add(faces, expected, verdict, errors)
            written = arguments.out is not None and (errors > 0 or not arguments.only_errors)
            if written:
                _write(arguments.out / png, draw_scan(image, faces, expected, verdict))
            progress.clear()
            if arguments.json:
                drawn = str(arguments.out / png) if written else None
                _print_json({"picture": str(path), **_facts(faces, expected, verdict, errors), "drawn": drawn})
            else:
                print(printable(f"{path}: {_text(faces, verdict, errors, arguments)}"), flush=True)
            count(done, len(files))
    if not arguments.json:
        print(total.text(checks=bool(annotations) or arguments.expect_faces is not None))
    return ExitCode.INCOMPLETE if total.errors or total.unreadable else ExitCode.DONE


class _Total:
    """Of all pictures."""

    def __init__(self) -> None:
        self.pictures = self.faces = self.errors = self.unreadable = self.annotated = 0
        self.noses = self.missed = self.boxes = self.false = 0

    def add(self, faces: Faces, expected: Optional[Expected], verdict: Optional[Verdict], errors: int) -> None:
        self.pictures += 1
        self.faces += len(faces)
        self.errors += errors
        if expected is not None and verdict is not None:
            self.annotated += 1
            self.noses += len(expected.noses)
            self.missed += len(verdict.missed)
            self.boxes += len(faces)
            self.false += len(verdict.false)

    def text(self, checks: bool) -> str:
        lines = [f"\n{counted(self.faces, 'face')} in {counted(self.pictures, 'picture')}"]
        if self.annotated:
            lines.append(
                f"undetected faces: {self.missed} of {self.noses}, false face detections: {self.false} of {self.boxes}"
            )
            if self.annotated < self.pictures:
                lines.append(f"without annotations, so not checked: {self.pictures - self.annotated}")
        if self.unreadable:
            lines.append(f"unreadable: {counted(self.unreadable, 'picture')}")
        if checks:
            lines.append(f"found {counted(self.errors, 'error')}" if self.errors else "all faces are as expected")
        return "\n".join(lines)


def _scanner(
    arguments: argparse.Namespace, settings: Settings, stack: contextlib.ExitStack
) -> Callable[[bytes, np.ndarray], Faces]:
    """Finds the faces of a picture, given the bytes of its file and its pixels."""
    if arguments.url is not None:
        from app.tools.scan.remote import RemoteScanner, read_token

        token = None if arguments.token_file is None else read_token(arguments.token_file)
        remote = RemoteScanner(arguments.url, token, settings.detection.min_score)
        return lambda data, image: remote.find(data)
    from app.models.loading import ModelLoader, leave_cores_to_networks

    loader = ModelLoader(settings)
    check_all(loader.checks()[0])
    leave_cores_to_networks()
    detector = stack.enter_context(contextlib.closing(loader.open_detector()))
    return lambda data, image: detector.detect([image])[0]


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise AppError(f"{path} cannot be written: {error.strerror}") from error


def _text(faces: Faces, verdict: Optional[Verdict], errors: int, arguments: argparse.Namespace) -> str:
    said = counted(len(faces), "face")
    if arguments.expect_faces is not None:
        return f"{said}, as expected" if not errors else f"{said}, expected {arguments.expect_faces}"
    if verdict is None:
        return said if arguments.expect is None else f"{said}, not annotated"
    if not errors:
        return f"{said}, all in the right places"
    return f"{said}, {counted(errors, 'error')}: {len(verdict.missed)} missed, {len(verdict.false)} false"


def _facts(faces: Faces, expected: Optional[Expected], verdict: Optional[Verdict], errors: int) -> Dict[str, Any]:
    rows: List[Tuple[List[float], float]] = list(zip(faces.boxes.round(1).tolist(), faces.scores.round(4).tolist()))
    facts: Dict[str, Any] = {"faces": [{"box": box, "score": score} for box, score in rows], "errors": errors}
    if expected is not None and verdict is not None:
        facts["missed_noses"] = expected.noses[list(verdict.missed)].tolist()
        facts["false_faces"] = list(verdict.false)
    return facts


def _print_json(facts: Dict[str, Any]) -> None:
    # A file's name may hold bytes that are not text.
    print(json.dumps(facts, ensure_ascii=False).encode("utf-8", "backslashreplace").decode(), flush=True)
