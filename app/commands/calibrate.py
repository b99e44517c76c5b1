"""The threshold for a stated share of strangers that get a name, from the user's own gallery."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from app.commands.logs import configure_logging
from app.commands.options import OWN_SETTINGS, add_settings_options, effective_settings
from app.errors import GalleryError, ModelError, SettingsError
from app.files import check_writable, write_text
from app.settings.reader import DEFAULT
from app.text import from_here, program

DESCRIPTION = """Says what a threshold means for your gallery: how often a stranger would get the name of one of your
people, and how often your people would get their own. Your people's photos are compared with one another and with the
strangers that come with the embedder; no camera is needed. The number of people, the margin and the votes count."""

EXAMPLES = """examples:
  python -m app calibrate            # the threshold in use, and how often strangers and your people get a name
  python -m app calibrate --false-accept-rate 0.001 --plot similarities.png
  python -m app calibrate --apply    # fix the threshold in config.local.yaml

Without a fixed threshold, it follows the gallery by itself: see `recognition.false_accept_rate` in config.yaml."""

KEY = "recognition.threshold"
RATE_KEY = "recognition.false_accept_rate"
DEFAULT_RATE = 0.003
"""If the settings have none."""
MARK = "python -m app calibrate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--false-accept-rate",
        type=float,
        metavar="RATE",
        help="share of strangers' visits that may get a name (default: recognition.false_accept_rate)",
    )
    parser.add_argument("--apply", action="store_true", help="write the threshold into the settings file")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the similarities of strangers and people")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_settings_options(parser, sections=("gallery", "models", "recognition.threshold"))


def execute(arguments: argparse.Namespace) -> int:
    effective = effective_settings(arguments)
    settings = effective.settings
    rate = arguments.false_accept_rate
    if rate is None:
        rate = settings.recognition.false_accept_rate or DEFAULT_RATE
    if not 0.000001 <= rate <= 0.5:
        raise SettingsError(f"--false-accept-rate {rate:g}: expected a share from 0.000001 to 0.5, such as 0.001")
    if arguments.apply and settings.recognition.rate_to_follow is not None and effective.origins[RATE_KEY] != DEFAULT:
        raise SettingsError(
            f"{effective.origins[RATE_KEY]}: recognition.false_accept_rate is set, so the "
            "threshold follows the gallery by itself; remove the setting to use --apply"
        )
    target = arguments.config or from_here(OWN_SETTINGS)
    check_writable(arguments.plot, target if arguments.apply else None)
    configure_logging("error")
    from app.assembly import open_gallery
    from app.tools.calibration.plot import curves, plot
    from app.tools.calibration.report import DIGITS, calibration_json, calibration_text, one_in

    with open_gallery(settings) as gallery:
        gallery.load(configure_logging("error").counter("examining photos"))
        reference = gallery.recognizer.reference
        calibration, photos = gallery.index.calibration, list(gallery.people.row_photos)
        now = gallery.threshold
    if reference is None:
        raise ModelError(
            f"the embedder {settings.models.embedder} has no reference (docs/engines.md), so nothing can be calibrated"
        )
    if calibration is None:
        raise GalleryError(f"no one is enrolled in {settings.gallery.folder}: add photos with {program()} people add")
    threshold = round(calibration.threshold(rate), DIGITS)
    if arguments.json:
        print(json.dumps(calibration_json(calibration, photos, rate, now), indent=1))
    else:
        origin = effective.origins[KEY]
        chosen = f"from {RATE_KEY}" if settings.recognition.rate_to_follow else origin
        now_is = f"default of {settings.models.embedder}" if chosen == DEFAULT else chosen
        print(calibration_text(calibration, photos, rate, now, now_is))
    if arguments.plot is not None:
        drawn = curves(calibration.tail.similarities, calibration.own, reference.same_person)
        plot(drawn, f"{calibration.people} people, {settings.models.embedder}", threshold, arguments.plot)
    if arguments.apply:
        said = f"{one_in(calibration.false_accept_rate(threshold))} visits of strangers gets a name"
        _apply(target, threshold, f"{said}, {calibration.people} people, {calibration.strangers:,} strangers")
        if not arguments.json:
            print(f"{KEY}: {threshold:.{DIGITS}f} written into {target}")
            if threshold < now:
                before, after = (one_in(calibration.false_accept_rate(value)) for value in (now, threshold))
                print(
                    f"warning: this is lower than before ({now:.{DIGITS}f}): {after} visits of strangers gets a name, "
                    f"instead of {before}"
                )
    return 0


def _apply(path: Path, threshold: float, facts: str) -> None:
    from app.settings.editing import with_setting

    try:
        text = path.read_bytes().decode("utf-8") if path.exists() else ""
        comment = f"{MARK}, {time.strftime('%Y-%m-%d')}: {facts}"
        edited = with_setting(text, KEY, f"{threshold:g}", comment, MARK)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    write_text(path, edited)
