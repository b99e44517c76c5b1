"""`bench memory`: which pictures can be recognised with how much memory, and how much a run with cameras needs."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, List

from app.commands.arguments import expected, positive, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode, SettingsError, check_all
from app.files import check_writable, write_text
from app.settings import Settings
from app.text import counted, megabytes, printable, shortened

if TYPE_CHECKING:
    from app.tools.benchmark.memory import MemoryCase

DESCRIPTION = """Recognises pictures under memory limits, each in a process of its own, and says which fit. The process
reads the picture, finds its faces and embeds them. Without pictures, a portrait of 1, 12 and 36 megapixels is used.

With --channels, the whole program runs on so many cameras of 1280 x 720 pixels, which the benchmark plays, and writes
their videos. The memory of the program and of the processes that read the cameras is added up and must be below the
limit."""

EXAMPLES = """examples:
  python -m app bench memory --limits 512m 1g 2g
  python -m app bench memory photos/ --limits 1g --input-sizes 640 1280
  python -m app bench memory photo.jpg --limits 600m --backend onnx
  python -m app bench memory --channels 2 --limits 1200m    # does it fit on a small board?

The limit is RLIMIT_DATA of Linux: private memory that a process may ask for. A container's limit (docker run -m) counts
only what is used, so what fits here usually fits there. The peak is the memory in use, with libraries. With --channels,
nothing is limited: the resident memory of all processes is measured, and what they share counts in each.

exit codes: 0 all fit; 1 some do not; 2 a wrong option, setting or file"""


def _bytes(text: str) -> int:
    from app.tools.benchmark.memory import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError:
        raise expected(text, "a size such as 512m or 2g") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", metavar="PICTURE", nargs="*", help="picture, folder of pictures, or a pattern")
    parser.add_argument(
        "--limits", metavar="SIZE", nargs="+", type=_bytes, default=[4 << 30], help="limits such as 1g (default: 4g)"
    )
    parser.add_argument(
        "--input-sizes",
        metavar="PX",
        nargs="+",
        type=whole_number(64, 4096),
        help="longer sides of the detector's input (default: detection.input_size)",
    )
    parser.add_argument(
        "--channels",
        metavar="N",
        type=whole_number(1, 64),
        help="measure a run with this number of live cameras instead",
    )
    parser.add_argument(
        "--seconds", metavar="S", type=positive(3600), default=20.0, help="duration of that run (default: 20)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the results to this file")
    add_settings_options(parser, sections=("models",))


def execute(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    settings = effective_settings(arguments).settings
    progress = configure_logging("error")
    from app.capture.pictures import picture_files
    from app.models.loading import ModelLoader
    from app.tools.benchmark.memory import recognise_within, write_pictures

    check_all(*ModelLoader(settings).checks())
    if arguments.channels is not None:
        return _measure_run(arguments, settings)
    cases: List[MemoryCase] = []
    with tempfile.TemporaryDirectory() as folder:
        named = [path for where in arguments.pictures for path in picture_files(where)]
        pictures = list(dict.fromkeys(named)) or write_pictures(Path(folder))
        sizes = arguments.input_sizes or [settings.detection.input_size]
        wanted = [(limit, size, path) for limit in arguments.limits for size in sizes for path in pictures]
        for done, (limit, size, path) in enumerate(wanted):
            progress.status(f"picture {done + 1} of {len(wanted)}: {path.name}")
            detection = replace(settings.detection, input_size=size)
            case = recognise_within(replace(settings, detection=detection), path, limit)
            cases.append(case)
            progress.clear()
            print(_line(case), flush=True)
    if arguments.json is not None:
        write_text(arguments.json, json.dumps([case.as_json() for case in cases], indent=1) + "\n")
    failed = sum(case.faces is None for case in cases)
    print(f"\n{len(cases) - failed} of {counted(len(cases), 'case')} fit")
    return ExitCode.INCOMPLETE if failed else ExitCode.DONE


def _measure_run(arguments: argparse.Namespace, settings: Settings) -> int:
    from app.tools.benchmark.footprint import measure_run
    from app.tools.machine import require_packages

    if arguments.pictures:
        raise SettingsError("--channels measures a run with cameras, without pictures: leave out one of the two")
    require_packages("bench memory --channels", "av")
    with tempfile.TemporaryDirectory() as folder:
        limit = max(arguments.limits)
        footprint = measure_run(settings, Path(folder), arguments.channels, arguments.seconds, limit)
    print(footprint.text())
    if arguments.json is not None:
        write_text(arguments.json, json.dumps(footprint.as_json(), indent=1) + "\n")
    return ExitCode.DONE if footprint.fits else ExitCode.INCOMPLETE


def _line(case: MemoryCase) -> str:
    verdict = "OK  " if case.faces is not None else "FAIL"
    facts = f"{verdict}  {case.limit >> 20:>6} MiB  input {case.input_size:>4} px  {case.size:>11}"
    if case.faces is None or case.peak is None:
        return printable(f"{facts}  {Path(case.picture).name}: {shortened(case.why, 120)}")
    return printable(f"{facts}  {Path(case.picture).name}: {counted(case.faces, 'face')}, peak {megabytes(case.peak)}")
