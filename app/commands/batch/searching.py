"""Where is this person in an archive?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from app.commands.arguments import whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import AppError, ExitCode
from app.text import printable, table

DESCRIPTION = """Finds the faces of an archive that resemble the main face of a photo most. From the threshold on, they
are said to be the same person: recognition.threshold, or that of the embedder. A run and `batch label` compare with
many people at once; so, unless recognition.threshold is set, their threshold rises with the gallery."""

EXAMPLES = """examples:
  python -m app batch search archive/ ann.jpg
  python -m app batch search archive/ ann.jpg --top 100 --json | jq -r 'select(.same_person) | .file'

exit codes: 0 somebody is similar enough; 1 no one is; 2 a wrong option, setting or file"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the archive")
    parser.add_argument("photo", metavar="PHOTO", type=Path, help="a picture of the person")
    parser.add_argument(
        "--top", metavar="N", type=whole_number(1, 100_000), default=20, help="faces that are listed (default: 20)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per face")
    add_settings_options(parser, sections=("models", "detection", "quality", "recognition.threshold"))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    configure_logging("warning")
    # Imported here, so that --help is fast.
    from app.archive.answers import nearest_faces
    from app.archive.faces import open_archive
    from app.archive.sheet import place
    from app.capture.pictures import read_picture
    from app.gallery.photo import examine_photo
    from app.models.loading import ModelLoader
    from app.recognizer import Recognizer
    from app.settings import QualityLimits

    picture = read_picture(arguments.photo)
    loader = ModelLoader(settings)
    job = open_archive(arguments.out, settings, loader.embedder_id)
    with Recognizer.from_loader(loader, with_attributes=False) as recognizer:
        limits = QualityLimits(min_score=recognizer.min_score)
        finding = examine_photo(picture, recognizer, limits, must_be_clear=False)
        if finding.embedding is None:
            raise AppError(f"{arguments.photo}: {finding.text}")
        threshold = recognizer.threshold
    found = nearest_faces(job, finding.embedding, settings.quality.video_limits(), arguments.top)
    for face in found if arguments.json else ():
        print(json.dumps({**face._asdict(), "same_person": face.similarity >= threshold}))
    if not arguments.json:
        if finding.message:
            print(printable(f"{arguments.photo}: {finding.message}"))
        rows = [
            (
                f"{face.similarity:.2f}",
                "yes" if face.similarity >= threshold else "no",
                "{2:.0f}x{3:.0f} at {0:.0f},{1:.0f}".format(
                    *face.box[:2], face.box[2] - face.box[0], face.box[3] - face.box[1]
                ),
                place(face.file, face.position_s),
            )
            for face in found
        ]
        print(table(("similarity", f"same person (from {threshold:.2f})", "face", "picture"), rows))
    return ExitCode.DONE if found and found[0].similarity >= threshold else ExitCode.INCOMPLETE
