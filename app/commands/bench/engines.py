"""`bench engines`: the networks alone, by backend, precision and batch, and beside what others publish."""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from app.commands.arguments import one_of, picture_size, positive, several, whole_number
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import AppError, ExitCode, SettingsError, check_all
from app.files import check_writable, write_text
from app.settings import ModelSettings, all_settings
from app.text import table

if TYPE_CHECKING:
    import numpy as np

    from app.models.entry import ModelEntry
    from app.tools.benchmark.claims import Claim
    from app.tools.benchmark.networks import Demand, Outcome
    from app.tools.benchmark.published import MakeRandom, Plan
    from app.tools.benchmark.subjects import Subject

DESCRIPTION = """Measures networks by themselves: how long preparing the pictures, carrying them to the device, the
network and reading its outputs take, for each backend, precision and batch. Several backends are measured in turns, so
that a machine whose speed wavers treats them alike. Ctrl-C prints what has been measured so far. Exit code 1: nothing
could be measured.

--published measures what comparable programs publish, the same networks at the same sizes, and prints the figures of
this machine beside theirs. Where weights are not installed, the right architecture with random weights takes their
place if it is known: the speed is the same. Large networks take minutes on a small machine. TensorRT first builds an
engine for each network and for just these batches, which takes minutes, and leaves those of the program alone."""

EXAMPLES = """examples:
  python -m app bench engines                                      # the chosen detector and embedder
  python -m app bench engines mobilefacenet --batch 1,8
  python -m app bench engines --backend onnx,openvino --precision fp32,bf16
  python -m app bench engines retinaface_mnet025 --size 640x480,1280x736
  python -m app bench engines --published --markdown speed.md --json speed.json
  python -m app bench engines --published --batch 1                # on a small board"""

DEFAULT_BATCHES = (1, 2, 4, 8, 16, 32)
DEFAULT_SIZES = ((640, 640),)
LONGEST_S = 3600
FACES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", metavar="MODEL", nargs="*", help="names from the catalogue; default: the chosen ones")
    parser.add_argument(
        "--batch",
        dest="batches",
        metavar="N,…",
        type=several(whole_number(1)),
        help="pictures a run (default: 1,2,4,8,16,32; with --published those of the tables)",
    )
    for flag, key in (("--backend", "models.backend"), ("--precision", "models.precision")):
        parser.add_argument(
            flag,
            dest=f"{flag[2:]}s",
            metavar="NAME,…",
            type=several(one_of(_allowed(key))),
            help=f"one or several, measured in turns: {', '.join(_allowed(key))} (default: the setting {key})",
        )
    parser.add_argument(
        "--size",
        dest="sizes",
        metavar="WxH,…",
        type=several(picture_size(64)),
        default=DEFAULT_SIZES,
        help="size of the pictures that detectors see (default: 640x640); embedders have their own",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=positive(LONGEST_S),
        default=3.0,
        help="most time for one figure (default: 3); 3 runs at least",
    )
    parser.add_argument(
        "--published", action="store_true", help="measure what comparable programs publish, and print it beside"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here as well")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables here as well")
    add_settings_options(parser, sections=())


def execute(arguments: argparse.Namespace) -> int:
    if arguments.published and arguments.models:
        raise SettingsError("--published measures the networks of the published tables; leave the names out")
    check_writable(arguments.json, arguments.markdown)
    settings = effective_settings(arguments).settings
    models = settings.models
    progress = configure_logging("warning")
    from app.models.int8_pictures import inputs_for_int8
    from app.models.loading import leave_cores_to_networks
    from app.tools.benchmark.networks import Demand, NetworkSpeed, measure_networks

    leave_cores_to_networks()
    demand = Demand(
        batches=arguments.batches or DEFAULT_BATCHES,
        backends=arguments.backends or (models.backend,),
        precisions=arguments.precisions or (models.precision,),
        threads=models.threads,
        seconds=arguments.seconds,
        inputs_for=inputs_for_int8(settings),
    )
    picture, shown = _picture()
    with tempfile.TemporaryDirectory() as folder:
        work = _published_work(arguments, models, demand, Path(folder)) if arguments.published else None
        subjects = work.planned.subjects if work else _chosen_subjects(arguments, models, demand)
        outcomes, interrupted = collected(measure_networks(subjects, picture, progress.counter("measuring networks")))
    progress.clear()
    _tell(arguments, outcomes, work, shown)
    if interrupted:
        raise KeyboardInterrupt("this is what had been measured")
    return 0 if any(isinstance(outcome, NetworkSpeed) for outcome in outcomes) else ExitCode.INCOMPLETE


def collected(measuring: Iterator[Outcome]) -> Tuple[List[Outcome], bool]:
    """What came until the end or until Ctrl-C, and whether it was that."""
    outcomes: List[Outcome] = []
    try:
        for outcome in measuring:
            outcomes.append(outcome)
    except KeyboardInterrupt:
        return outcomes, True
    return outcomes, False


class _PublishedWork(NamedTuple):
    claims: Sequence[Claim]
    planned: Plan


def _published_work(
    arguments: argparse.Namespace, models: ModelSettings, demand: Demand, folder: Path
) -> _PublishedWork:
    from app.models.catalog import read_catalog
    from app.tools.benchmark.claims import CLAIMS
    from app.tools.benchmark.published import plan

    claims = [claim for claim in CLAIMS if not arguments.batches or claim.batch in arguments.batches]
    if not claims:
        published = sorted({claim.batch for claim in CLAIMS})
        raise SettingsError(f"--batch: nothing is published for these; there is {', '.join(map(str, published))}")
    return _PublishedWork(claims, plan(claims, read_catalog(models.catalog), demand, _random_networks(folder)))


def _random_networks(folder: Path) -> MakeRandom:
    """Writes networks with random weights into the folder, which is gone afterwards."""
    from app.tools.benchmark.subjects import ARCHITECTURES, random_weights_entry
    from app.tools.importing.onnx_writer import write_architecture

    def make(name: str) -> Optional[ModelEntry]:
        if name not in ARCHITECTURES:
            return None
        path = folder / f"{name}.onnx"
        if not path.is_file():
            write_architecture(name, path, seed=0)
        return random_weights_entry(name, path)

    return make


def _chosen_subjects(
    arguments: argparse.Namespace, models: ModelSettings, demand: Demand
) -> List[Tuple[Subject, Demand]]:
    from app.models.catalog import read_catalog
    from app.tools.benchmark.subjects import subject_of

    catalog = read_catalog(models.catalog)
    entries = [catalog.require(name) for name in arguments.models or (models.detector, models.embedder)]
    subjects = [subject_of(entry, size) for entry in entries for size in arguments.sizes]
    check_all(*(entry.verified_file for entry in entries))
    # An embedder comes once for every size, and has only one.
    return [
        (subject, demand) for subject in {(subject.entry.name, subject.size): subject for subject in subjects}.values()
    ]


def _picture() -> Tuple[np.ndarray, str]:
    """What detectors are shown, and what that is."""
    import numpy as np

    from app.tools.demo.crowd import crowd_picture
    from app.tools.demo.portraits import load_portraits

    try:
        return crowd_picture(load_portraits(), FACES), f"the demo's picture of {FACES} faces, cut to size"
    except AppError as error:
        return np.full((720, 1280, 3), 96, np.uint8), f"a grey picture without faces ({error})"


def _tell(
    arguments: argparse.Namespace, outcomes: Sequence[Outcome], work: Optional[_PublishedWork], shown: str
) -> None:
    from app.tools.benchmark.network_report import markdown_table, published_report, report_json, speed_report
    from app.tools.benchmark.power import PowerMeter
    from app.tools.benchmark.published import rows
    from app.tools.machine import describe_machine

    place, power = describe_machine(), PowerMeter().source
    when = f"{place}; {datetime.date.today().isoformat()}"
    beside = rows(work.claims, work.planned, outcomes) if work else []
    for as_table, write in ((table, print), (markdown_table, _file_writer(arguments.markdown))):
        parts = [speed_report(when, shown, power, outcomes, as_table)]
        parts += [published_report(when, beside, as_table)] if work else []
        write("\n\n".join(parts))
    if arguments.json is not None:
        write_text(arguments.json, json.dumps(report_json(place, outcomes, beside), indent=1) + "\n")


def _file_writer(path: Optional[Path]) -> Callable[[str], None]:
    def write(text: str) -> None:
        if path is not None:
            write_text(path, text + "\n")

    return write


def _allowed(key: str) -> Sequence[str]:
    return next(info.choices or () for info in all_settings() if info.key == key)
