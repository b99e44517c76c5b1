"""Who is in these pictures?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, List, Sequence

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode, SourceError
from app.text import counted, percent, printable, program, table

if TYPE_CHECKING:
    from app.gallery.who import PersonInPicture

DESCRIPTION = """Names everybody in pictures. For each face it shows how similar the three nearest people are, how
certain that is, and the reason for the name or for none. Pictures are not enrolled, and nothing is stored."""

EXAMPLES = """examples:
  python -m app who party.jpg
  python -m app who holiday/ 'album/*.png'
  python -m app who party.jpg --json | jq -r '.faces[].name'

faces are listed from left to right; confidence is the probability that the face is that of the nearest person

exit codes: 0 done; 1 a picture cannot be read, or no one is enrolled; 2 a wrong option, setting or file"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pictures", metavar="PICTURE", nargs="+", help="picture, folder of pictures, or a pattern such as 'album/*.jpg'"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per picture")
    add_settings_options(parser, sections=("models", "detection", "gallery", "quality", "recognition"))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    progress = configure_logging("error")
    # Imported here, so that --help is fast.
    from app.assembly import open_gallery
    from app.capture.pictures import picture_files, read_picture
    from app.gallery.who import people_in

    files: List[Path] = [path for where in arguments.pictures for path in picture_files(where)]
    is_complete = True
    with open_gallery(settings) as gallery:
        gallery.load(progress.counter("examining photos"))
        if not len(gallery.index):
            is_complete = False
            sys.stderr.write(
                f"no one is enrolled, so everybody is unknown: put photos into {settings.gallery.folder}, or run: "
                f"{program()} people add NAME PHOTO\n"
            )
        for path in dict.fromkeys(files):
            try:
                picture = read_picture(path)
            except SourceError as error:
                is_complete = False
                if arguments.json:
                    _print_json({"picture": str(path), "error": str(error)})
                else:
                    sys.stderr.write(f"error: {error}\n")
                continue
            people = people_in(picture, gallery.recognizer, gallery.index, settings.quality.video_limits())
            if arguments.json:
                height, width = picture.shape[:2]
                faces = [person.as_json() for person in people]
                _print_json({"picture": str(path), "width": width, "height": height, "faces": faces})
            else:
                print("\n".join(_lines(path, people)), flush=True)
    return ExitCode.DONE if is_complete else ExitCode.INCOMPLETE


def _print_json(facts: Dict[str, object]) -> None:
    # A file's name may hold bytes that are not text.
    print(json.dumps(facts, ensure_ascii=False).encode("utf-8", "backslashreplace").decode(), flush=True)


def _lines(path: Path, people: Sequence[PersonInPicture]) -> Iterator[str]:
    yield f"{printable(str(path))}: {counted(len(people), 'face') if people else 'no face found'}"
    if not people:
        return
    rows = []
    for person in people:
        match = person.match
        x1, y1, x2, y2 = person.box
        rows.append(
            (
                match.name or "unknown",
                f"{match.similarity:.2f}" if match.candidates else "-",
                percent(match.confidence) if match.candidates and match.confidence is not None else "-",
                match.why,
                ", ".join(f"{near.name} {near.similarity:.2f}" for near in match.candidates) or "-",
                f"{x2 - x1}x{y2 - y1} at {x1},{y1}",
            )
        )
    header = ("person", "similarity", "confidence", "reason", "nearest", "face")
    yield from (f"  {line}" for line in table(header, rows).splitlines())
