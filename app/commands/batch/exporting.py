"""An archive for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.commands.logs import configure_logging
from app.errors import ExitCode, SettingsError
from app.settings import Settings
from app.text import counted, printable

DESCRIPTION = """Writes the faces of an archive as a Lance dataset, a row for each face, in which Lance and LanceDB
find the nearest faces and filter by the other columns. It is in its place when it is complete, and not before. All
faces are exported, also those that are too unclear to compare: the columns in quality are there to choose."""

EXAMPLES = """examples:
  python -m app batch export archive/ --lance archive.lance
  python -m app batch export archive/ --lance archive.lance --replace

exit codes: 0 done; 1 done, but the archive is not complete yet; 2 a wrong option or file, or a full disk"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the archive")
    parser.add_argument("--lance", metavar="DIR", required=True, help="folder of the dataset")
    parser.add_argument("--replace", action="store_true", help="replace a dataset that is there, with its indexes")


def execute(arguments: argparse.Namespace) -> int:
    progress = configure_logging("warning")
    # Imported here, so that --help is fast.
    from app.archive.job import MANIFEST_FILE, stored_job
    from app.archive.parts import require_pyarrow
    from app.archive.to_lance import export, require_lance

    if "://" in arguments.lance:
        raise SettingsError(f"--lance {arguments.lance}: expected a folder of this machine")
    require_pyarrow()
    require_lance()
    job = stored_job(arguments.out, Settings())
    is_complete = (arguments.out / MANIFEST_FILE).exists()
    count = export(job, Path(arguments.lance), arguments.replace, progress.counter("exporting faces"))
    progress.clear()
    kept = "" if is_complete else "; the archive is not complete: these are the faces of its finished parts"
    print(printable(f"{counted(count, 'face')} in {arguments.lance}{kept}"))
    return ExitCode.DONE if is_complete else ExitCode.INCOMPLETE
