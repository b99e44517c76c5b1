"""Who is in an archive?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from app.commands.arguments import whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode
from app.text import counted, printable, table

DESCRIPTION = """Divides the faces of an archive into people: a face belongs to the group that it resembles most, if
clearly enough (strangers.similarity, by default 0.12 above the threshold for names). Faces that are too small, turned
away or blurred for a comparison are left out. All embeddings are held in memory: 0.5 GB for a million faces."""

EXAMPLES = """examples:
  python -m app batch cluster archive/
  python -m app batch cluster archive/ --sheet people.html --groups 100
  python -m app batch cluster archive/ --json | jq -r '.faces'

groups.parquet in the folder of the archive gets the group of each face (file, position_s, face)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the archive")
    parser.add_argument("--sheet", metavar="FILE.html", type=Path, help="write a page with some faces of each group")
    parser.add_argument(
        "--groups", metavar="N", type=whole_number(1, 10_000), default=50, help="groups that are shown (default: 50)"
    )
    parser.add_argument(
        "--min-faces", metavar="N", type=whole_number(1), default=2, help="smaller groups are not shown (default: 2)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per group")
    add_settings_options(parser, sections=("models", "quality", "recognition.threshold"))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    configure_logging("warning")
    # Imported here, so that --help is fast.
    from app.archive.answers import faces_by_group, write_groups
    from app.archive.faces import open_archive
    from app.archive.sheet import page, place
    from app.files import check_writable, write_text
    from app.gallery.strangers import similarity_for
    from app.models.loading import ModelLoader

    check_writable(arguments.sheet)
    loader = ModelLoader(settings)
    job = open_archive(arguments.out, settings, loader.embedder_id)
    similarity = similarity_for(settings.strangers, loader.threshold)
    found = faces_by_group(job, settings.quality.video_limits(), similarity)
    write_groups(job, found)
    sizes = np.bincount(found.groups) if len(found.groups) else np.empty(0, np.int64)
    shown = found.shown(arguments.groups, arguments.min_faces)
    summary = (
        f"{counted(len(found.groups), 'face')} of {counted(len(sizes), 'person', 'people')}, {int((sizes == 1).sum())} "
        f"of them with a single face; {counted(found.left_out, 'face')} too unclear to compare"
    )
    if arguments.sheet is not None:
        write_text(arguments.sheet, page(job.root, shown, summary), 0o600)
    if arguments.json:
        for group in shown:
            print(
                json.dumps(
                    {
                        "group": group.title,
                        "faces": group.faces,
                        "pictures": group.pictures,
                        "moments": group.moments,
                        "examples": [[face.file, face.position_s] for face in group.shown],
                    }
                )
            )
        return ExitCode.DONE
    rows = [
        (
            group.title,
            str(group.faces),
            str(group.pictures),
            str(group.moments),
            place(group.shown[0].file, group.shown[0].position_s),
        )
        for group in shown
    ]
    print(printable(summary))
    if rows:
        print(table(("group", "faces", "pictures", "moments of videos", "clearest"), rows))
    if arguments.sheet is not None:
        print(printable(f"page: {arguments.sheet}"))
    return ExitCode.DONE
