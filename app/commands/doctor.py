"""Is everything there that the program needs on this machine?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import List

from app.commands.logs import configure_logging
from app.commands.options import DEFAULT_CONFIG, add_settings_options, effective_settings
from app.errors import ExitCode, SettingsError
from app.files import write_text
from app.settings import ModelSettings, Settings

DESCRIPTION = """Looks at everything that the program needs: Python and its packages, the board and its JetPack, the
GPU, power and memory, the networks and what will run them, the gallery, the display and the cameras. Says of each
whether it is all right and what to do where it is not. Exit code 0: the program can run. Nothing is changed or built.

--jetson-report writes one file to send to the project: it makes these checks, builds the engines, inspects and compares
them, and measures speed. It holds no passwords, no names of people or machines, and no pictures. Exit code 0: all of
that was done."""

EXAMPLES = """examples:
  python -m app doctor
  python -m app doctor --config config.local.yaml
  python -m app doctor --jetson-report report.md     # ten minutes and more on a Jetson"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--jetson-report", metavar="FILE", type=Path, help="check, build, compare and measure, and write it all here"
    )
    add_settings_options(parser, sections=())


def execute(arguments: argparse.Namespace) -> int:
    configure_logging("error")
    from app.tools.doctor.checkup import examine
    from app.tools.doctor.findings import Section, can_run, section_text, sections_json, verdict

    settings, error = Settings(), None
    try:
        settings = effective_settings(arguments).settings
    except SettingsError as wrong:
        error = str(wrong)
    if arguments.jetson_report is not None:
        return _report(arguments, settings.models)
    origin = str(arguments.config or (DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else "built-in defaults"))
    sections: List[Section] = []
    for section in examine(settings, error, origin):
        sections.append(section)
        if not arguments.json:
            print(section_text(section), flush=True)
    if arguments.json:
        print(json.dumps({"sections": sections_json(sections), "can_run": can_run(sections)}, indent=1))
    else:
        print(f"\n{verdict(sections)}")
    return 0 if can_run(sections) else ExitCode.INCOMPLETE


def _report(arguments: argparse.Namespace, models: ModelSettings) -> int:
    from app.tools.doctor.jetson_report import make_report, steps

    path: Path = arguments.jetson_report
    todo = steps(models.detector, models.embedder)
    try:
        complete = make_report(todo, arguments.config, lambda text: write_text(path, text), _tell)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{path} holds what had been done") from None
    print(f"written: {path}; read it before you send it")
    return 0 if complete else ExitCode.INCOMPLETE


def _tell(line: str) -> None:
    print(line, flush=True)
