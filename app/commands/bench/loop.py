"""`bench`: the whole program, stage by stage and with its threads."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Optional

from app.commands.arguments import whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import check_all
from app.files import check_writable, write_text
from app.settings import RunSettings, Settings

DESCRIPTION = """Measures what each stage costs, one frame at a time, and then how many frames a second the whole
program does when reading, recognising and writing overlap. Without a recording it makes one of 1280 x 720 pixels."""

EXAMPLES = """examples:
  python -m app bench                              # 8 faces a frame
  python -m app bench --faces 2 --json two.json
  python -m app bench --video clip.mp4 --detector retinaface_mnet025"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--video", metavar="FILE", type=Path, help="measure on this recording")
    parser.add_argument(
        "--faces",
        metavar="N",
        type=whole_number(0, 8),
        default=8,
        help="faces a frame of the recording that is made, 0 to 8 (default: 8)",
    )
    parser.add_argument(
        "--frames", metavar="N", type=whole_number(1), default=200, help="frames to measure (default: 200)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here as well")
    add_settings_options(parser, sections=("models", "gallery"))


def execute(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    settings = dataclasses.replace(effective_settings(arguments).settings, run=RunSettings())
    progress = configure_logging("warning")
    from app.models.loading import model_checks
    from app.tools.benchmark.loop import measure
    from app.tools.machine import describe_machine

    check_all(*model_checks(settings.models))
    with tempfile.TemporaryDirectory() as folder:
        recording: Optional[Path] = arguments.video
        if recording is None:
            recording = Path(folder) / f"made: 1280 x 720, {arguments.faces} faces.mp4"
            settings = _make_recording(recording, arguments.faces, arguments.frames + 20, settings)
        result = measure(settings, recording, arguments.frames, progress)
    print(f"{describe_machine()}; {settings.models.detector} and {settings.models.embedder}\n")
    print(result.text())
    if arguments.json is not None:
        facts = {
            "machine": describe_machine(),
            "models": [settings.models.detector, settings.models.embedder],
            **result.as_json(),
        }
        write_text(arguments.json, json.dumps(facts, indent=1) + "\n")
    return 0


def _make_recording(path: Path, faces: int, frames: int, settings: Settings) -> Settings:
    """Writes the recording; the settings that come back know the people in it."""
    from app.tools.demo.crowd import make_crowd
    from app.tools.demo.portraits import load_portraits, write_enrolment_photos

    portraits = load_portraits()
    make_crowd(path, portraits, faces, frames)
    gallery = path.parent / "gallery"
    write_enrolment_photos(gallery, portraits)
    return dataclasses.replace(settings, gallery=dataclasses.replace(settings.gallery, folder=gallery))
