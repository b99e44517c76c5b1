"""See it work without a camera."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from app.capture.uri import parse_source
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.commands.run import stop_on_signals
from app.errors import ExitCode, check_all
from app.settings import RunSettings, Settings
from app.text import program

DESCRIPTION = """Makes a short video in which a camera moves past portraits of Eileen Collins, Grace Hopper and a
stranger, enrols the two women from different crops of the same photos, and runs the program on the video as on any
other recording. Fails if one of the two is not recognised or the stranger gets a name."""

EXAMPLES = """writes into the current folder:
  demo.mp4            the annotated video
  demo.events.jsonl   who came and went
  demo/               the original video and the gallery"""

NEXT = """
Now with your own camera:
  cp ~/pictures/ann.jpg {gallery}/Ann.jpg
  {program} people check
  {program} --camera 0          or: --rtsp rtsp://user:password@address/path"""


EVENTS = Path("demo.events.jsonl")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fps",
        metavar="N",
        type=int,
        choices=range(2, 26),
        default=25,
        help="frames per second of the video, 2 to 25; fewer take less time on a slow machine (default: 25)",
    )
    add_settings_options(parser, sections=("models",))


def execute(arguments: argparse.Namespace) -> int:
    own = effective_settings(arguments).settings
    settings = _demo_settings(own)
    progress = configure_logging(settings.run.log_level)
    # Imported here, so that --help is fast.
    from app.assembly import run
    from app.models.loading import ModelLoader
    from app.tools.demo.portraits import load_backdrops, load_portraits, write_enrolment_photos
    from app.tools.demo.video import NameCheck, make_video

    # A missing model is reported before the video is made.
    check_all(*ModelLoader(settings).checks())
    folder = settings.gallery.folder.parent
    # The log of a run is appended to; the demo's shows this run alone.
    EVENTS.unlink(missing_ok=True)
    portraits = load_portraits()
    write_enrolment_photos(settings.gallery.folder, portraits)
    print("making the video ...", flush=True)
    video = make_video(folder / "video.mp4", portraits, load_backdrops(), arguments.fps)
    check = NameCheck(video)
    source = parse_source(str(video.path), "demo")
    report = run(settings, [source], stop_on_signals, progress, extra_outputs=[check])
    print(report.text(), check.text(), sep="\n\n")
    if report.stopped:
        raise KeyboardInterrupt("before the end; the names were not checked")
    mistakes = check.mistakes()
    if mistakes or report.failed:
        print("\nTHE DEMO FAILED: " + "; ".join(mistakes or ["the video could not be read"]))
        return ExitCode.INCOMPLETE
    print(
        "\nBoth were recognised and the stranger was not; seen from the side, he is too unclear for a number such as "
        f"stranger-1. Look at {settings.output.save} and {settings.output.events}."
    )
    print(NEXT.format(program=program(), gallery=own.gallery.folder))
    return 0


def _demo_settings(settings: Settings) -> Settings:
    folder = Path("demo")
    return dataclasses.replace(
        settings,
        run=dataclasses.replace(RunSettings(), log_level=settings.run.log_level),
        gallery=dataclasses.replace(settings.gallery, folder=folder / "gallery", reload_every_s=0.0),
        output=dataclasses.replace(
            settings.output,
            save=Path("demo.mp4"),
            events=EVENTS,
            overwrite=True,
            window=False,
        ),
    )
