"""See it work without a camera."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from app.capture.uri import parse_source
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.commands.run import stop_on_signals
from app.errors import ExitCode, check_all
from app.settings import RunSettings, Settings

DESCRIPTION = """Makes a short film in which a camera passes portraits of Eileen Collins, Grace Hopper and a stranger,
enrols the two women by other cuts of their pictures, and runs the program on the film as on any other recording.
Fails when one of the two is not recognised or the stranger gets a name."""

EXAMPLES = """writes into the current folder:
  demo.mp4            the annotated film
  demo.events.jsonl   who came and went
  demo/               the film as it was before, and the gallery"""

NEXT = """
Now with your own camera:
  cp ~/pictures/ann.jpg gallery/Ann.jpg
  {python} -m app people check
  {python} -m app --camera 0          or: --rtsp rtsp://user:password@address/path"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings_options(parser, sections=("models",))


def execute(arguments: argparse.Namespace) -> int:
    settings = _demo_settings(effective_settings(arguments).settings)
    progress = configure_logging(settings.run.log_level)
    # Only now, so that --help is answered at once.
    from app.assembly import run
    from app.models.loading import model_checks
    from app.tools.demo.check import TruthCheck
    from app.tools.demo.film import make_film
    from app.tools.demo.portraits import load_backdrops, load_portraits, write_enrolment_photos

    # A missing model is told before the film is made.
    check_all(*model_checks(settings.models))
    folder = settings.gallery.folder.parent
    portraits = load_portraits()
    write_enrolment_photos(settings.gallery.folder, portraits)
    print("making the film ...", flush=True)
    film = make_film(folder / "film.mp4", portraits, load_backdrops())
    check = TruthCheck(film.truth)
    source = parse_source(str(film.path), "demo")
    report = run(settings, [source], stop_on_signals, progress, extra_outputs=[check])
    print(report.text(), check.text(), sep="\n\n")
    if report.stopped:
        raise KeyboardInterrupt("before the end; nothing was checked")
    mistakes = check.mistakes()
    if mistakes or report.failed:
        print("\nTHE DEMO FAILED: " + "; ".join(mistakes or ["the film could not be read"]))
        return ExitCode.INCOMPLETE
    print(
        f"\nBoth were recognised and the stranger was not. Look at {settings.output.save} and {settings.output.events}."
    )
    print(NEXT.format(python=_this_python()))
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
            events=Path("demo.events.jsonl"),
            overwrite=True,
            window=False,
        ),
    )


def _this_python() -> str:
    """The interpreter as one would type it here."""
    python = Path(sys.executable)
    return str(python.relative_to(Path.cwd())) if Path.cwd() in python.parents else str(python)
