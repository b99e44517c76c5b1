"""`bench channels`: how many live cameras this machine carries."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from app.commands.arguments import number, positive, several, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode, check_all
from app.files import check_writable, write_text

DESCRIPTION = """Plays RTSP cameras of 1280 x 720 pixels and 10 frames/s to the whole program, with its reader
processes, decoders and networks, and looks for the greatest number of channels that this machine carries while somebody
is in the picture for a part of the time. Carried: 95 % of the processed frames are younger than --max-age, and of each
channel at least 90 % of the frames are processed. First it measures what idle channels cost. The cameras are another
process: its processor time is not counted, but this machine has to spend it as well.

One measurement takes about 10 s more than --seconds, and the search about six of them for each part of the time: ten
minutes with the defaults. It needs Linux and the packages of the demo. Exit code 1: nothing that was measured is
carried."""

EXAMPLES = """examples:
  python -m app bench channels                               # 10, 30 and 100 % of the time
  python -m app bench channels --present 30 --max-age 0.5 --json channels.json
  python -m app bench channels --channels 4,8 --present 0,10 # without a search
  python -m app bench channels --present 10 --backend onnx"""

IDLE_CHANNELS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--present",
        metavar="PERCENT,…",
        type=several(whole_number(0, 100)),
        default=(10, 30, 100),
        help="part of the time in which somebody is in the picture (default: 10,30,100)",
    )
    parser.add_argument(
        "--channels",
        metavar="N,…",
        type=several(whole_number(1, 256)),
        help="measure these numbers only, without a search",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=positive(3600),
        default=20.0,
        help="time of one measurement (default: 20, after which the cameras show the same again)",
    )
    parser.add_argument(
        "--max-age",
        dest="max_age_s",
        metavar="S",
        type=number(0.001, 60),
        default=0.25,
        help="age of 95 %% of the processed frames, in seconds (default: 0.25)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    add_settings_options(parser, sections=("models", "detection", "attention"))


def execute(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    settings = effective_settings(arguments).settings
    progress = configure_logging("error")
    from app.models.loading import ModelLoader
    from app.recognizer import Recognizer
    from app.tools.benchmark import channels
    from app.tools.demo.portraits import load_portraits, write_enrolment_photos
    from app.tools.machine import describe_machine, require_packages

    require_packages("bench channels", "av")
    check_all(*ModelLoader(settings).checks())
    portraits, cores = load_portraits(), os.cpu_count() or 1
    loads = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_enrolment_photos(folder / "gallery", portraits)
        shares = sorted({0.0, *(percent / 100 for percent in arguments.present)})
        with Recognizer.from_loader(ModelLoader(settings)) as recognizer:
            clips = channels.write_clips(folder, portraits, recognizer, shares)
        chosen = channels.settings_for(settings, folder / "gallery")
        with channels.cameras(clips) as (cameras, port):
            for share, clip in zip(shares, clips):

                def load_of(count: int, share: float = share, clip: Path = clip) -> channels.Measured:
                    addresses = channels.addresses(port, clip, count)
                    seconds, max_age_s = arguments.seconds, arguments.max_age_s
                    return channels.measure(chosen, addresses, share, seconds, max_age_s, cameras, progress)

                counts = arguments.channels or ((IDLE_CHANNELS,) if 100 * share not in arguments.present else None)
                if counts is None:
                    loads += channels.search(load_of, cores)
                else:
                    loads += filter(None, map(load_of, counts))
    machine, models = describe_machine(), [settings.models.detector, settings.models.embedder]
    print(f"{machine}; {' and '.join(models)}\n")
    print(channels.text(loads))
    if arguments.json is not None:
        facts = {"machine": machine, "models": models, "loads": [load.as_json() for load in loads]}
        write_text(arguments.json, json.dumps(facts, indent=1) + "\n")
    return ExitCode.DONE if any(load.carried for load in loads) else ExitCode.INCOMPLETE
