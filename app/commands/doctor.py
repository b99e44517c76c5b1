"""Is everything there that the program needs on this machine?"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import List

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings, settings_files
from app.errors import AppError, ExitCode
from app.files import write_text
from app.settings import Settings

DESCRIPTION = """Checks everything that the program needs: Python and its packages, the board and its JetPack, the GPU,
power and memory, the networks and what runs them, the gallery, the display and the cameras. Each configured source is
opened and read once. Prints what is wrong and how to fix it. Exit code 0: the program can run. No engine is
built; which backend is the fastest is measured and remembered, as at a start.

--jetson-report writes one file to send to the project: it runs these checks, builds the engines, inspects and compares
them, and measures their speed. The file contains no passwords, no names of people or machines, and no pictures. Exit
code 0: all steps succeeded."""

EXAMPLES = """examples:
  python -m app doctor
  python -m app doctor --jetson-report report.md     # at least ten minutes on a Jetson
  python -m app doctor --grid pictures               # where is what, for view.watch and view.ignore"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--jetson-report", metavar="FILE", type=Path, help="check, build, compare and measure, and write a report"
    )
    parser.add_argument(
        "--grid",
        metavar="DIR",
        type=Path,
        help="save a picture of each source in this folder, with a grid, to write view.watch and view.ignore",
    )
    add_settings_options(parser, sections=())


def execute(arguments: argparse.Namespace) -> int:
    configure_logging("error")
    from app.tools.doctor.checks import Section, can_run, run_checks, section_text, sections_json, verdict

    settings, error = Settings(), None
    try:
        settings = effective_settings(arguments).settings
    except AppError as invalid:
        error = str(invalid)
    if arguments.jetson_report is not None:
        return _write_jetson_report(arguments.jetson_report, arguments, settings)
    origin = ", ".join(map(str, settings_files(arguments))) or "built-in defaults"
    sections: List[Section] = []
    for section in run_checks(settings, error, origin, arguments.grid):
        sections.append(section)
        if not arguments.json:
            print(section_text(section), flush=True)
    if arguments.json:
        print(json.dumps({"sections": sections_json(sections), "can_run": can_run(sections)}, indent=1))
    else:
        print(f"\n{verdict(sections)}")
    return 0 if can_run(sections) else ExitCode.INCOMPLETE


def _write_jetson_report(path: Path, arguments: argparse.Namespace, settings: Settings) -> int:
    from app.tools.doctor.jetson_report import make_report, report_steps

    steps = report_steps(settings.models.detector, settings.models.embedder)
    try:
        complete = make_report(steps, arguments.config, partial(write_text, path), partial(print, flush=True))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{path} contains the steps that were completed") from None
    print(f"written: {path}; read it before you send it")
    return 0 if complete else ExitCode.INCOMPLETE
