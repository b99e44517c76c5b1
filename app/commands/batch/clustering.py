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
from app.text import counted, percentage, printable, table

DESCRIPTION = """Divides the faces of an archive into people: a face belongs to the group that it resembles most, if
clearly enough (strangers.similarity, by default 0.12 above the threshold for names). Faces that are too small, turned
away or blurred for a comparison are left out. All faces are held in memory: about 1.6 GB for a million."""

EXAMPLES = """examples:
  python -m app batch cluster archive/
  python -m app batch cluster archive/ --sheet people.html --groups 100
  python -m app batch cluster archive/ --times times.csv     # who is in which video, from when to when
  python -m app batch cluster lfw/ --folders                 # each folder is one person: are the groups right?
  python -m app batch cluster archive/ --json | jq -r '.faces'

groups.parquet in the folder of the archive gets the group of each face (file, position_s, face). In --times,
moments with less than tracking.visit_gap_s between them are one range"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the archive")
    parser.add_argument("--sheet", metavar="FILE.html", type=Path, help="write a page with some faces of each group")
    parser.add_argument(
        "--groups", metavar="N", type=whole_number(1, 10_000), default=50, help="groups that are shown (default: 50)"
    )
    parser.add_argument(
        "--min-faces", metavar="N", type=whole_number(1), default=2, help="smaller groups are not shown (default: 2)"
    )
    parser.add_argument("--times", metavar="FILE.csv", type=Path, help="write when each group is in which video")
    parser.add_argument(
        "--folders",
        action="store_true",
        help="compare the groups with the folders, each of which has pictures of one person, whose face is the largest",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per group")
    add_settings_options(parser, sections=("models", "quality", "recognition.threshold"))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    configure_logging("warning")
    # Imported here, so that --help is fast.
    from app.archive.answers import faces_by_group, write_groups
    from app.archive.appearances import appearances, as_csv, largest_gap_s
    from app.archive.faces import open_archive
    from app.archive.sheet import page, place
    from app.files import check_writable, write_text
    from app.gallery.strangers import similarity_for
    from app.models.loading import ModelLoader

    check_writable(arguments.sheet, arguments.times)
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
    if arguments.times is not None:
        gap_s = largest_gap_s(job.every_s, settings.tracking.visit_gap_s)
        write_text(arguments.times, as_csv(appearances(found.seen(), gap_s)), 0o600)
    folders = found.like_folders() if arguments.folders else None
    if arguments.json:
        if folders is not None:
            print(json.dumps(dict(zip(("folders", "precision", "recall"), folders))))
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
    in_videos = any(group.moments for group in shown)
    rows = [
        (
            group.title,
            str(group.faces),
            str(group.pictures),
            *((str(group.moments),) if in_videos else ()),
            place(group.shown[0].file, group.shown[0].position_s),
        )
        for group in shown
    ]
    print(printable(summary))
    if folders is not None:
        print(
            f"compared with {counted(folders[0], 'folder')}, by the largest face of each picture: of the pairs in one "
            f"group {percentage(folders[1])} are of one folder, of those of one folder {percentage(folders[2])} are in "
            "one group"
        )
    if rows:
        of_videos = ("moments of videos",) if in_videos else ()
        print(table(("group", "faces", "pictures", *of_videos, "clearest"), rows))
    if arguments.times is not None:
        print(printable(f"times: {arguments.times}"))
    if arguments.sheet is not None:
        print(printable(f"page: {arguments.sheet}"))
    return ExitCode.DONE
