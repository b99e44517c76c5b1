"""How long would an archive take?"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict

from app.commands.arguments import whole_number
from app.commands.batch import add_every_option
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import AppError, ExitCode, check_all
from app.text import counted, duration, megabytes, percentage, table

if TYPE_CHECKING:
    from app.archive.estimate import Estimate

MOSTLY_BUSY = 0.8
"""Below this share of processor time, what the others take is said."""

DESCRIPTION = """Reads some of the pictures, and stretches of some videos, with one thread, and says how many there are
per second and core, how long all of them would take, and how large the archive would be. Nothing is written."""

EXAMPLES = """examples:
  python -m app batch estimate photos/
  python -m app batch estimate videos/ --every 2
  python -m app batch estimate photos/ --sample 1000 --pictures 100000000 --cores 256

The time assumes that the others are like the sample, that cores do not slow each other, and that the disk or network
delivers the files as fast as they are read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", metavar="DIR|LIST|VIDEO", nargs="+", type=Path, help="what would be read")
    parser.add_argument(
        "--sample",
        metavar="N",
        type=whole_number(1),
        default=200,
        help="pictures, and moments of videos, that are read (default: 200 of each)",
    )
    parser.add_argument(
        "--pictures",
        metavar="N",
        type=whole_number(1),
        help="how many pictures there are, besides videos (default: those found)",
    )
    add_every_option(parser)
    parser.add_argument("--cores", metavar="N", type=whole_number(1), help="of all machines (default: of this one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings_options(parser, sections=("models", "detection"))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    progress = configure_logging("warning")
    # Imported here, so that --help is fast.
    from app.archive.estimate import estimate, sample_of_pictures, sample_of_videos
    from app.archive.inputs import find_inputs
    from app.archive.job import deciding_facts, default_shard_size, one_thread, shard_moments
    from app.archive.parts import require_pyarrow
    from app.models.loading import ModelLoader, available_cores
    from app.recognizer import Recognizer

    require_pyarrow()
    settings = one_thread(settings)
    loader = ModelLoader(settings)
    check_all(*loader.checks()[:2])
    inputs = find_inputs(arguments.inputs, Path("no folder is left out"))
    pictures = sample_of_pictures(inputs, arguments.sample)
    stretches, moments = sample_of_videos(inputs, arguments.sample, arguments.every)
    if arguments.pictures is not None and not pictures:
        where = ", ".join(map(str, arguments.inputs))
        raise AppError(
            f"--pictures {arguments.pictures}: there is no picture to measure in {where}; "
            "name some, or leave the option out: how long videos take follows from their length"
        )
    count = arguments.pictures or len(inputs.pictures)
    size = default_shard_size(count + len(inputs.videos))
    stretch = shard_moments(size, arguments.every)
    parts = math.ceil(count / size), sum(math.ceil(one / stretch) for one in moments)
    with Recognizer.from_loader(loader, with_attributes=False) as recognizer:
        facts = deciding_facts(loader, recognizer, arguments.every, "float16", size)
        found = {
            kind: estimate(
                inputs.root, shards, *amount, recognizer, facts, settings, progress.counter(f"reading {kind}")
            )
            for kind, shards, amount in (
                ("pictures", pictures, (count, parts[0])),
                ("moments", stretches, (sum(moments), parts[1])),
            )
            if shards
        }
    progress.clear()
    cores = arguments.cores or available_cores()
    seconds = sum(one.seconds_with(cores) for one in found.values())
    bytes_of_all = sum(one.size_of_all for one in found.values())
    networks = facts["networks"]
    if arguments.json:
        kinds = {kind: _as_json(one, cores) for kind, one in found.items()}
        print(
            json.dumps(
                {
                    **kinds,
                    "cores": cores,
                    "seconds": round(seconds, 1),
                    "bytes": round(bytes_of_all),
                    "networks": networks,
                }
            )
        )
        return ExitCode.DONE
    titles = {"pictures": "pictures", "moments": f"moments of {counted(len(inputs.videos), 'video')}"}
    header = ("", "in all", "read", "not readable", "faces in each", "per s and core", f"time, {cores} cores", "size")
    rows = [
        (
            titles[kind],
            f"{one.count:,}",
            str(one.sample),
            str(one.errors),
            f"{one.faces / one.sample:.2f}",
            f"{one.rate:.1f}",
            _time(one.seconds_with(cores)),
            _size(one.size_of_all),
        )
        for kind, one in found.items()
    ]
    if len(rows) > 1:
        rows.append(("together", "-", "-", "-", "-", "-", _time(seconds), _size(bytes_of_all)))
    print(table(header, rows))
    for kind, one in found.items():
        busy = one.processor_seconds / max(one.seconds, 1e-9)
        if busy < MOSTLY_BUSY:
            print(
                f"{titles[kind]}: {percentage(1 - busy, 0)} of the time was waiting for the disk or other programs; "
                f"without it, {one.processor_rate:.1f} per s and core"
            )
    print(f"networks: {networks['detector']}")
    return ExitCode.DONE


def _as_json(one: Estimate, cores: int) -> Dict[str, Any]:
    return {
        "count": one.count,
        "sample": one.sample,
        "not_readable": one.errors,
        "faces_in_each": round(one.faces / one.sample, 3),
        "per_s_and_core": round(one.rate, 2),
        "per_s_of_processor_time": round(one.processor_rate, 2),
        "parts": one.parts,
        "bytes_each": round(one.size_of_all / max(1, one.count), 1),
        "seconds": round(one.seconds_with(cores), 1),
        "bytes": round(one.size_of_all),
    }


def _time(seconds: float) -> str:
    if seconds < 1:
        return "under 1 s"
    return duration(seconds) if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _size(size: float) -> str:
    return megabytes(round(size)) if size < 1e9 else f"{size / 1e9:.1f} GB"
