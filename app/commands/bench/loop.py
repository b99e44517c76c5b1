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
from app.settings import RunSettings

DESCRIPTION = """Measures the time of each stage, one frame after the other, and then the frames per second of the whole
program, where reading, recognising and writing overlap. Without --video it makes a video of 1280 x 720 pixels."""

EXAMPLES = """examples:
  python -m app bench                              # 8 faces a frame
  python -m app bench --faces 2 --json two.json
  python -m app bench --video clip.mp4 --detector retinaface_mnet025"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--video", metavar="FILE", type=Path, help="measure with this recording")
    parser.add_argument(
        "--faces",
        metavar="N",
        type=whole_number(0, 8),
        default=8,
        help="faces per frame in the video that it makes, 0 to 8 (default: 8)",
    )
    parser.add_argument(
        "--frames", metavar="N", type=whole_number(1), default=200, help="frames to measure (default: 200)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    add_settings_options(parser, sections=("models", "detection", "attention", "gallery"))


def execute(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    settings = dataclasses.replace(effective_settings(arguments).settings, run=RunSettings())
    progress = configure_logging("warning")
    from app.models.loading import ModelLoader
    from app.tools.benchmark.loop import measure_loop
    from app.tools.demo.portraits import load_portraits, write_crowd_video, write_enrolment_photos
    from app.tools.machine import describe_machine

    check_all(*ModelLoader(settings).checks())
    with tempfile.TemporaryDirectory() as folder:
        recording: Optional[Path] = arguments.video
        if recording is None:
            portraits = load_portraits()
            recording = Path(folder) / "generated.mp4"
            write_crowd_video(recording, portraits, arguments.faces, arguments.frames + 20)
            gallery = dataclasses.replace(settings.gallery, folder=Path(folder) / "gallery")
            write_enrolment_photos(gallery.folder, portraits)
            settings = dataclasses.replace(settings, gallery=gallery)
        result = measure_loop(settings, recording, arguments.frames, progress)
    machine, models = describe_machine(), [settings.models.detector, settings.models.embedder]
    print(f"{machine}; {' and '.join(models)}\n")
    print(result.text())
    if arguments.json is not None:
        facts = {"machine": machine, "models": models, **result.as_json()}
        write_text(arguments.json, json.dumps(facts, indent=1) + "\n")
    return 0
