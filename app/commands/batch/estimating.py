"""How long would an archive take?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from app.commands.arguments import whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode, check_all
from app.text import counted, duration, megabytes, table

DESCRIPTION = """Reads some of the pictures with one thread, and says how many there are per second and core, how long
all of them would take, and how large the archive would be. Nothing is written. Videos are left out."""

EXAMPLES = """examples:
  python -m app batch estimate photos/
  python -m app batch estimate photos/ --sample 1000 --pictures 100000000 --cores 256

The time assumes that the other pictures are like the sample, that cores do not slow each other, and that the disk or
network delivers the pictures as fast as they are read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", metavar="DIR|LIST", nargs="+", type=Path, help="what would be read")
    parser.add_argument(
        "--sample", metavar="N", type=whole_number(1), default=200, help="pictures that are read (default: 200)"
    )
    parser.add_argument(
        "--pictures", metavar="N", type=whole_number(1), help="how many there are (default: those found)"
    )
    parser.add_argument("--cores", metavar="N", type=whole_number(1), help="of all machines (default: of this one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings_options(parser, sections=("models", "detection"))


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    progress = configure_logging("warning")
    # Imported here, so that --help is fast.
    from app.archive.estimate import estimate
    from app.archive.inputs import find_inputs
    from app.archive.job import deciding_facts, one_thread
    from app.archive.parts import require_pyarrow
    from app.models.loading import ModelLoader, available_cores
    from app.recognizer import Recognizer

    require_pyarrow()
    settings = one_thread(settings)
    loader = ModelLoader(settings)
    check_all(*loader.checks()[:2])
    inputs = find_inputs(arguments.inputs, Path("no folder is left out"))
    with Recognizer.from_loader(loader, with_attributes=False) as recognizer:
        facts = deciding_facts(loader, recognizer, 1.0, "float16", arguments.sample)
        count = progress.counter("reading pictures")
        found = estimate(inputs, recognizer, facts, settings, arguments.sample, count)
    pictures = arguments.pictures or len(inputs.pictures)
    cores = arguments.cores or available_cores()
    seconds, size = found.seconds_for(pictures, cores), found.size_of(pictures)
    if arguments.json:
        shown = {
            "sample": found.pictures,
            "faces_per_picture": round(found.faces / found.pictures, 3),
            "not_readable": found.errors,
            "pictures_per_s_and_core": round(found.rate, 2),
            "pictures_per_s_of_processor_time": round(found.processor_rate, 2),
            "bytes_per_picture": round(found.size / found.pictures, 1),
            "pictures": pictures,
            "cores": cores,
            "seconds": round(seconds, 1),
            "bytes": round(size),
            "networks": facts["networks"],
        }
        print(json.dumps(shown))
        return ExitCode.DONE
    print(
        f"{counted(found.pictures, 'picture')} of {len(inputs.pictures)}: {found.faces / found.pictures:.2f} faces "
        f"each, {found.errors} not readable\n"
        f"one core: {found.rate:.1f} pictures/s; {found.processor_rate:.1f} if it neither waits for the disk nor for "
        f"other programs ({facts['networks']['detector']})\n"
    )
    gigabytes = megabytes(round(size)) if size < 1e9 else f"{size / 1e9:.1f} GB"
    took = duration(seconds) if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
    print(table(("pictures", "cores", "time", "size"), [(f"{pictures:,}", str(cores), took, gigabytes)]))
    return ExitCode.DONE
