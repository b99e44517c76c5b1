"""Run a recording by its own clock."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.capture.uri import SourceKind, parse_source
from app.commands.events import moment
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.commands.run import stop_on_signals
from app.errors import ExitCode, SourceError
from app.text import counted, iso_time

DESCRIPTION = """Runs a recording and writes its events with the times of the recording instead of the clock. Two runs
give the same log, byte by byte, so you can see what a change of the settings does, and others can reproduce a mistake.
Nothing is sent to other programs."""

EXAMPLES = """examples:
  python -m app replay door.mp4 | jq .name
  python -m app replay door.mp4 --start '2026-11-29 18:00' --events before.jsonl
  python -m app replay door.mp4 --start '2026-11-29 18:00' --events after.jsonl --config other.yaml
  diff before.jsonl after.jsonl
  python -m app events before.jsonl --visits"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", metavar="RECORDING", help="the video file")
    parser.add_argument(
        "--start",
        metavar="TIME",
        type=moment,
        help="local time at which the recording began (default: when its file was last modified)",
    )
    parser.add_argument(
        "--events",
        metavar="OUT.jsonl",
        dest="log",
        type=Path,
        default=Path("-"),
        help="new file for the events (default: standard output)",
    )
    sections = (
        "models",
        "detection",
        "attention",
        "gallery",
        "quality",
        "recognition",
        "capture.backend",
        "run.max_frames",
    )
    add_settings_options(parser, sections=sections)


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    source = parse_source(arguments.recording)
    if source.kind is not SourceKind.VIDEO or source.remote:
        raise SourceError(f"{source.masked_address}: expected a video file")
    progress = configure_logging(settings.run.log_level)
    from app.assembly import run
    from app.events.stream import EventStream
    from app.tools.replay import ReplayLog, alone, began, opened_log

    start = began(Path(source.address)) if arguments.start is None else arguments.start
    stream = EventStream.from_settings(settings)
    with opened_log(arguments.log) as file:
        log = ReplayLog(file, stream, source.name, start)
        report = run(alone(settings), [source], stop_on_signals, progress, extra_outputs=[log])
    if report.stopped:
        raise KeyboardInterrupt("before the end of the recording; the events are not complete")
    if report.failed:
        raise SourceError("\n".join(f"{source.masked_address}: {failed.last_error}" for failed in report.failed))
    print(
        f"{counted(report.summary.frames, 'frame')}, {counted(log.events, 'event')} from {iso_time(start)}",
        file=sys.stderr,
    )
    return ExitCode.INCOMPLETE if report.lost else ExitCode.DONE
