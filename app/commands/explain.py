"""Explaining one event: who was nearest, and how well the face was seen."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, List, Tuple

from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode, SettingsError
from app.events.history import HEADER, Record
from app.events.reading import LogReader
from app.settings import Settings
from app.text import counted, parse_time, percent, source_time, table

DESCRIPTION = """Shows why a face in an event got its name or got none: the three nearest people with the photos that
matched best, and how well the face was seen. Nothing is computed again: the event log contains
it. The limits next to the measured values are those of the settings now."""

EXAMPLES = """examples:
  python -m app explain visits.jsonl 12       # the event with "sequence": 12; `python -m app events` lists them
  python -m app explain visits.jsonl 12 --json | jq .quality"""

_MEASURES: Tuple[Tuple[str, str, Tuple[str, ...]], ...] = (
    ("score", "score of the detector", ("detection.min_score",)),
    ("size_px", "size in pixels", ("quality.min_face_px",)),
    ("yaw", "turned to the right (left: negative), degrees", ("quality.max_yaw_deg",)),
    ("pitch", "looks up (down: negative), degrees", ("quality.max_pitch_deg",)),
    ("roll", "leans clockwise, degrees", ("quality.max_roll_deg",)),
    ("landmark_error", "distance of the landmarks from a face", ("quality.max_landmark_error",)),
    ("cut_off", "part outside the picture", ("quality.max_cut_off",)),
    ("exposure", "brightness, 0 to 1", ("quality.min_exposure", "quality.max_exposure")),
    ("sharpness", "sharpness", ("quality.min_sharpness",)),
    ("non_face", "similarity with things that are no faces", ("quality.max_non_face",)),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", metavar="EVENTS", type=Path, help="event log; - is standard input")
    parser.add_argument("sequence", metavar="SEQ", type=int, help="number of the event (`sequence`)")
    parser.add_argument("--json", action="store_true", help="print the event as it is in the log")
    add_settings_options(parser, sections=("quality", "detection.min_score"))


def execute(arguments: argparse.Namespace) -> int:
    record = _find(arguments.log, arguments.sequence)
    if arguments.json:
        text = json.dumps(record, ensure_ascii=False)
    else:
        text = explanation(record, effective_settings(arguments).settings)
    sys.stdout.write(text + "\n")
    return ExitCode.DONE


def _find(log: Path, sequence: int) -> Record:
    last = 0
    for record in LogReader([log]).read():
        if record["event"] == HEADER:
            continue
        if record["sequence"] == sequence:
            return record
        last = record["sequence"]
    known = f"its last one is {last}" if last else "it has none"
    raise SettingsError(f"{log} has no event {sequence}; {known}. An older event may be in another file of the log")


def explanation(record: Record, settings: Settings) -> str:
    """The event in words and tables, with the limits of these settings."""
    position = record.get("position")
    moment = parse_time(record["time"]) if position is None else position
    when = source_time(moment, position is None, record.get("file"))
    head = f"event {record['sequence']}: {record['event']}, {when}, channel {record['channel']}"
    if "track" not in record:
        return f"{head}\nno face: {record.get('error') or 'the source is back'}"
    verdict = f"{record['name'] or record.get('stranger') or 'unknown'}: {record.get('why') or record['reason']}"
    confidence, votes = record.get("confidence"), record.get("votes")
    remarks = [] if confidence is None else [f"confidence {percent(confidence)}"]
    remarks += [] if votes is None else [f"{counted(votes, 'comparison')} so far"]
    blocks = [
        head,
        ", ".join([verdict, *remarks]),
        "",
        _candidates(record),
        "",
        _quality(record, settings.for_channel(record["channel"])),
    ]
    return "\n".join(blocks)


def _candidates(record: Record) -> str:
    candidates: List[Any] = record.get("candidates") or []
    if not candidates:
        return "no candidates: the face was not compared with anyone"
    rows = [(one["name"], f"{one['similarity']:.2f}", one["photo"]) for one in candidates]
    return table(("nearest", "similarity", "photo"), rows)


def _quality(record: Record, settings: Settings) -> str:
    quality = record.get("quality")
    if not quality:
        return "the quality of the face was not measured"
    rows = [
        (label, f"{quality[name]:g}", ", ".join(_limit(one, settings) for one in limits))
        for name, label, limits in _MEASURES
        if name in quality
    ]
    return table(("the face that decided", "measured", "limited by"), rows)


def _limit(key: str, settings: Settings) -> str:
    """A setting with its value; where that is the model's own, without."""
    section, _, name = key.partition(".")
    value = getattr(getattr(settings, section), name)
    return key if value is None else f"{key} {value:g}"
