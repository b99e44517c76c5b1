"""How far an archive is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict

from app.errors import ExitCode
from app.settings import Settings
from app.text import counted, printable

DESCRIPTION = "Says how far an archive is, and which pictures cannot be read. It may be asked while the batch runs."

EXAMPLES = """examples:
  python -m app batch status archive/
  python -m app batch status archive/ --errors
  python -m app batch status archive/ --json | jq .parts_done

exit codes: 0 the archive is complete; 1 it is not; 2 there is none"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the archive")
    parser.add_argument("--errors", action="store_true", help="list the pictures that cannot be read, and why")
    parser.add_argument("--json", action="store_true", help="print one JSON object, or one per picture with --errors")


def execute(arguments: argparse.Namespace) -> int:
    # Imported here, so that --help is fast.
    from app.archive.job import MANIFEST_FILE, shown_items, stored_job
    from app.archive.parts import part_files, read_rows, require_pyarrow
    from app.archive.running import finished_parts, moments_of
    from app.archive.shard import attempts_of

    require_pyarrow()
    job = stored_job(arguments.out, Settings())
    is_complete = (arguments.out / MANIFEST_FILE).exists()
    code = ExitCode.DONE if is_complete else ExitCode.INCOMPLETE
    if arguments.errors:
        for path in part_files(arguments.out):
            for row in read_rows(path, ["file", "position_s", "error"]):
                if row["error"] is not None:
                    moment = "" if row["position_s"] is None else f" at {row['position_s']:.1f} s"
                    shown = json.dumps(row) if arguments.json else f"{row['file']}{moment}: {row['error']}"
                    print(shown if arguments.json else printable(shown))
        return code
    parts = list(finished_parts(job, with_hashes=False))
    tries = {number: attempts_of(arguments.out, number) for number in range(job.shards)}
    rows, moments = sum(part.rows for part in parts), moments_of(job, parts)
    facts: Dict[str, Any] = {
        "job": job.name,
        "root": str(job.root),
        "complete": is_complete,
        "parts_done": len(parts),
        "parts": job.shards,
        "pictures_done": rows - moments,
        "pictures": job.pictures,
        "moments_done": moments,
        "moments": job.moments,
        "faces": sum(part.faces for part in parts),
        "errors": sum(part.errors for part in parts),
        "attempts": {number: count for number, count in tries.items() if count},
        "models": job.facts["networks"],
    }
    if arguments.json:
        print(json.dumps(facts))
        return code
    done = "complete" if is_complete else f"{len(parts)} of {counted(job.shards, 'part')} done"
    print(printable(f"{arguments.out}: {done}; files of {job.root}"))
    read = shown_items(rows - moments, moments)
    # A video may have fewer moments than its header says.
    read += "" if is_complete else f" of {shown_items(job.pictures, job.moments)}"
    print(f"  {read}: {counted(facts['faces'], 'face')}, {facts['errors']} not readable")
    for number, count in facts["attempts"].items():
        print(f"  part {number} was begun and not finished: {counted(count, 'time')}")
    return code
