"""Find out whether the program keeps its promises while things fail."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from pathlib import Path

from app.commands.arguments import number, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode, check_all
from app.files import check_writable, write_text

DESCRIPTION = """Runs the program for some minutes on two cameras that it starts itself, which show the people of the
demo, and breaks things meanwhile: cameras are killed, freeze, send garbage or another size; a process that reads one is
killed; the folder of the outputs disappears, its disk is full; a photo leaves the gallery and comes back. Then it says
for each promise whether it was kept: memory, threads, open files and processes do not grow, pictures do not become
older, cameras come back, events are consistent, videos can be read."""

EXAMPLES = """examples:
  python -m app soak --minutes 2
  python -m app soak --minutes 60 --json soak.json
  python -m app soak --minutes 60 --seed 7         # the same faults at the same times

Ctrl-C ends it early, with what is known so far. The full disk is left out where this user may not mount one. It needs
Linux, and the packages of the demo.

exit codes: 0 every promise was kept; 1 one was not; 2 a wrong option; 130 stopped by Ctrl-C, and nothing had failed"""

MAX_SEED = 999_999
PROGRESS_EVERY_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", metavar="N", type=number(1, 100_000), default=5.0, help="how long (default: 5)")
    parser.add_argument(
        "--seed", metavar="S", type=whole_number(), help="makes the faults repeatable (default: a random one, printed)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write verdicts and figures to this file")
    parser.add_argument(
        "--keep", action="store_true", help="keep the folder with videos and events, as if a promise had been broken"
    )
    add_settings_options(parser, sections=("models", "detection", "run.log_level"))


def execute(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    own = effective_settings(arguments).settings
    seed = random.randrange(MAX_SEED + 1) if arguments.seed is None else arguments.seed
    progress = configure_logging(own.run.log_level, PROGRESS_EVERY_S)
    # Imported here, so that --help is fast.
    from app.commands.run import stop_on_signals
    from app.models.loading import ModelLoader
    from app.tools.machine import describe_machine
    from app.tools.soak.soak import soak
    from app.tools.soak.verdicts import as_json, broken_promise

    check_all(*ModelLoader(own).checks())
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    is_kept = True
    try:
        evidence, verdicts = soak(
            own, arguments.minutes, seed, folder, stop_on_signals, progress, print, keep=arguments.keep
        )
        is_kept = arguments.keep or broken_promise(verdicts)
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)
    machine = describe_machine()
    print("", machine, *verdicts, sep="\n")
    if is_kept:
        print(f"kept: {folder}")
    if arguments.json is not None:
        written = {"time": time.time(), "machine": machine, "seed": seed, **as_json(evidence, verdicts)}
        write_text(arguments.json, json.dumps(written, ensure_ascii=False, indent=1) + "\n")
    if broken_promise(verdicts):
        return ExitCode.INCOMPLETE
    if evidence.stopped:
        raise KeyboardInterrupt("before the end; what is known so far is above")
    return ExitCode.DONE
