"""Names for the faces of an archive."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode
from app.text import counted, printable, program, table

DESCRIPTION = """Names everybody in an archive who is enrolled in the gallery, by the rule of a run over pictures: the
same quality limits, threshold and distance to the second nearest person, and each name at most once in a picture. Of
videos, each moment counts by itself; there are no votes."""

EXAMPLES = """examples:
  python -m app batch label archive/ --gallery gallery/
  python -m app batch label archive/ --gallery gallery/ --times times.csv
  python -m app batch label archive/ --json | jq -r '.name'

names.parquet in the folder of the archive gets a row for each face: file, position_s, face, name or null, reason,
similarity, the nearest person, confidence. --times writes who is in which video from when to when; moments with less
than tracking.visit_gap_s between them are one range

exit codes: 0 done; 1 no one is enrolled; 2 a wrong option, setting or file"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the archive")
    parser.add_argument("--times", metavar="FILE.csv", type=Path, help="write when each person is in which video")
    parser.add_argument("--json", action="store_true", help="print one JSON object per person")
    add_settings_options(parser, sections=("models", "detection", "gallery", "quality", "recognition"))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    progress = configure_logging("warning")
    # Imported here, so that --help is fast.
    from app.archive.answers import write_names
    from app.archive.appearances import as_csv, largest_gap_s
    from app.archive.faces import open_archive
    from app.assembly import open_gallery
    from app.files import check_writable, write_text

    check_writable(arguments.times)
    with open_gallery(settings) as gallery:
        job = open_archive(arguments.out, settings, gallery.recognizer.embedder_id)
        gallery.load(progress.counter("examining photos"))
        if not len(gallery.index):
            sys.stderr.write(
                f"no one is enrolled: put photos into {settings.gallery.folder}, or run: {program()} people add\n"
            )
            return ExitCode.INCOMPLETE
        limits = settings.quality.video_limits()
        gap_s = largest_gap_s(job.every_s, settings.tracking.visit_gap_s)
        people, unnamed, ranges = write_names(job, gallery.recognizer, gallery.index, limits, gap_s)
    if arguments.times is not None:
        write_text(arguments.times, as_csv(ranges), 0o600)
    if arguments.json:
        for person in people:
            print(json.dumps(person._asdict(), ensure_ascii=False))
        return ExitCode.DONE
    if people:
        rows = [(one.name, str(one.pictures), str(one.moments), one.best) for one in people]
        print(table(("person", "pictures", "moments of videos", "best"), rows))
    if arguments.times is not None:
        print(printable(f"{counted(len(ranges), 'appearance')} in videos: {arguments.times}"))
    print(printable(f"{counted(unnamed, 'face')} without a name; all faces: {job.out / 'names.parquet'}"))
    return ExitCode.DONE
