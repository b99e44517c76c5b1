"""`bench engines`: the networks alone, by backend, precision and batch, and compared with what others publish."""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Sequence, Tuple

from app.commands.arguments import one_of, picture_size, positive, several, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import AppError, ExitCode, SettingsError, check_all
from app.files import check_writable, write_text
from app.settings import all_settings
from app.text import table

if TYPE_CHECKING:
    import numpy as np

    from app.models.loading import ModelLoader
    from app.tools.benchmark.cases import BenchmarkCase
    from app.tools.benchmark.networks import BenchmarkOptions, Outcome
    from app.tools.benchmark.published import SpeedComparison

DESCRIPTION = """Measures networks alone: the time for preparing the pictures, copying them to the device, running the
network and decoding its outputs, for each backend, precision and batch. Several backends are measured in turns, so that
changes in the speed of the machine affect all of them. Ctrl-C prints what has been measured so far. Exit code 1:
nothing could be measured.

--published measures the networks for which comparable programs publish figures, at the same sizes, and prints both.
Where the weights are not installed, the same architecture with random weights is measured if it is known: the speed is
the same. Large networks take minutes on a small machine. TensorRT first builds an engine for each network and for these
batches, which takes minutes; the engines of the program are not touched."""

EXAMPLES = """examples:
  python -m app bench engines                                      # the chosen detector and embedder
  python -m app bench engines mobilefacenet --batch 1,8
  python -m app bench engines --backend onnx,openvino --precision fp32,bf16
  python -m app bench engines retinaface_mnet025 --size 640x480,1280x736
  python -m app bench engines --published --markdown speed.md --json speed.json
  python -m app bench engines --published --batch 1                # on a small board"""

DEFAULT_BATCHES = (1, 2, 4, 8, 16, 32)
DEFAULT_SIZES = ((640, 640),)
MAX_SECONDS = 3600
FACES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", metavar="MODEL", nargs="*", help="names from the catalogue; default: the chosen ones")
    parser.add_argument(
        "--batch",
        dest="batches",
        metavar="N,…",
        type=several(whole_number(1)),
        help="pictures per run (default: 1,2,4,8,16,32; with --published those of the published tables)",
    )
    for flag, key in (("--backend", "models.backend"), ("--precision", "models.precision")):
        parser.add_argument(
            flag,
            dest=f"{flag[2:]}s",
            metavar="NAME,…",
            type=several(one_of(_allowed(key))),
            help=f"one or more, measured in turns: {', '.join(_allowed(key))} (default: the setting {key})",
        )
    parser.add_argument(
        "--size",
        dest="sizes",
        metavar="WxH,…",
        type=several(picture_size(64)),
        default=DEFAULT_SIZES,
        help="input size of detectors (default: 640x640); embedders have their own",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=positive(MAX_SECONDS),
        default=3.0,
        help="maximum time per figure (default: 3), but at least 3 runs",
    )
    parser.add_argument(
        "--published", action="store_true", help="measure what comparable programs publish, and print both"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="also write the tables to this file")
    add_settings_options(parser, sections=())


def execute(arguments: argparse.Namespace) -> int:
    if arguments.published and arguments.models:
        raise SettingsError("--published measures the networks of the published tables; omit the names")
    check_writable(arguments.json, arguments.markdown)
    settings = effective_settings(arguments).settings
    models = settings.models
    progress = configure_logging("warning")
    from app.models.loading import ModelLoader, leave_cores_to_networks
    from app.tools.benchmark.cases import random_network
    from app.tools.benchmark.networks import BenchmarkOptions, NetworkSpeed, measure_networks
    from app.tools.benchmark.published import compare_with_published, plan_measurements, read_published_speeds

    leave_cores_to_networks()
    loader = ModelLoader(settings)
    options = BenchmarkOptions(
        batches=arguments.batches or DEFAULT_BATCHES,
        backends=arguments.backends or (models.backend,),
        precisions=arguments.precisions or (models.precision,),
        threads=models.threads,
        seconds=arguments.seconds,
        loader=loader,
    )
    published = read_published_speeds() if arguments.published else []
    selected = [speed for speed in published if not arguments.batches or speed.batch in arguments.batches]
    if published and not selected:
        batches = sorted({speed.batch for speed in published})
        raise SettingsError(f"--batch: nothing is published for this; choose from {', '.join(map(str, batches))}")
    picture, description = _picture()
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_measurements(selected, loader.catalog, options, partial(random_network, Path(folder)))
        cases = plan.cases if arguments.published else _chosen_cases(arguments, loader, options)
        outcomes, interrupted = collect(measure_networks(cases, picture, progress.counter("measuring networks")))
    progress.clear()
    _report(arguments, outcomes, compare_with_published(selected, plan, outcomes), description)
    if interrupted:
        raise KeyboardInterrupt("the figures above were measured before")
    return 0 if any(isinstance(outcome, NetworkSpeed) for outcome in outcomes) else ExitCode.INCOMPLETE


def _chosen_cases(
    arguments: argparse.Namespace, loader: ModelLoader, options: BenchmarkOptions
) -> List[Tuple[BenchmarkCase, BenchmarkOptions]]:
    from app.tools.benchmark.cases import case_of

    models = loader.settings.models
    entries = [loader.catalog.require(name) for name in arguments.models or (models.detector, models.embedder)]
    cases = [case_of(entry, size) for entry in entries for size in arguments.sizes]
    check_all(*(entry.verified_file for entry in entries))
    # An embedder has only one size, whatever the number of sizes asked for.
    unique = {(case.entry.name, case.size): case for case in cases}
    return [(case, options) for case in unique.values()]


def _picture() -> Tuple[np.ndarray, str]:
    """The input of the detectors, and its description."""
    import numpy as np

    from app.tools.demo.portraits import crowd_picture, load_portraits

    try:
        return crowd_picture(load_portraits(), FACES), f"the demo's picture of {FACES} faces, cropped to the size"
    except AppError as error:
        return np.full((720, 1280, 3), 96, np.uint8), f"a grey picture without faces ({error})"


def collect(outcomes: Iterator[Outcome]) -> Tuple[List[Outcome], bool]:
    """All outcomes until the end or until Ctrl-C, and whether it was Ctrl-C."""
    collected: List[Outcome] = []
    try:
        for outcome in outcomes:
            collected.append(outcome)
    except KeyboardInterrupt:
        return collected, True
    return collected, False


def _report(
    arguments: argparse.Namespace, outcomes: Sequence[Outcome], comparisons: Sequence[SpeedComparison], picture: str
) -> None:
    from app.tools.benchmark.network_report import markdown_table, published_report, report_json, speed_report
    from app.tools.machine import PowerMeter, describe_machine

    machine = describe_machine()
    dated = f"{machine}; {datetime.date.today().isoformat()}"
    text, markdown = (
        "\n\n".join(
            [
                speed_report(dated, picture, PowerMeter().source, outcomes, as_table),
                *([published_report(dated, comparisons, as_table)] if comparisons else []),
            ]
        )
        for as_table in (table, markdown_table)
    )
    print(text)
    if arguments.markdown is not None:
        write_text(arguments.markdown, markdown + "\n")
    if arguments.json is not None:
        write_text(arguments.json, json.dumps(report_json(machine, outcomes, comparisons), indent=1) + "\n")


def _allowed(key: str) -> Sequence[str]:
    return next(info.choices or () for info in all_settings() if info.key == key)
