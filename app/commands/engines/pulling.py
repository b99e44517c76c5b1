"""`engines pull`: downloads models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict, List

from app.commands.engines.listing import models_table
from app.commands.engines.showing import OPTION
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.errors import SettingsError
from app.models.catalog import read_catalog
from app.models.entry import FileState, ModelEntry
from app.text import program

DESCRIPTION = """Downloads models whose weights are public. With --list it only lists them."""

EXAMPLES = """Licence and source are printed before the download starts. Models that are restricted to non-commercial
use require --accept-licence. Every file is checked against the SHA-256 in the catalogue. An interrupted download
continues where it stopped if you repeat the command.

examples:
  python -m app engines pull retinaface_mv2 sface_2021dec
  python -m app engines pull w600k_mbf --accept-licence    # non-commercial use only
  python -m app engines pull retinaface_mv2 --from https://mirror.example.org/retinaface_mv2.onnx
  python -m app engines pull retinaface_mv2 --from ~/Downloads/retinaface_mv2.onnx"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="models of the catalogue")
    parser.add_argument("--list", action="store_true", help="only list the models that can be downloaded")
    parser.add_argument("--accept-licence", action="store_true", help="I accept the non-commercial licence")
    parser.add_argument(
        "--from",
        dest="origin",
        metavar="URL_OR_FILE",
        default="",
        help="download from a mirror, or copy a local file; its hash must match",
    )
    add_settings_options(parser, sections=())


def execute(arguments: argparse.Namespace) -> int:
    from app.models.store import require_acceptance

    settings = effective_settings(arguments).settings
    catalog = read_catalog(settings.models.catalog)
    if arguments.list:
        print(models_table([entry for entry in catalog.entries.values() if entry.url], settings))
        return 0
    if not arguments.names:
        raise SettingsError(f"expected one or more models; to list them: {program()} engines pull --list")
    if arguments.origin and len(arguments.names) != 1:
        raise SettingsError("--from needs exactly one model")
    wanted: Dict[str, ModelEntry] = {name: catalog.require(name) for name in arguments.names}
    missing: List[ModelEntry] = []
    for entry in wanted.values():
        state = entry.file_state()
        if state is FileState.VALID:
            print(f"{entry.name}: already installed as {entry.file}, SHA-256 verified")
            continue
        if state is FileState.WRONG_HASH:
            print(f"{entry.name}: {entry.file} has the wrong SHA-256 and will be replaced")
        print(f"{entry.name}: {entry.task}, {entry.family}")
        print(f"  licence  {entry.licence_text}")
        print(f"  source   {entry.source}")
        if entry.notes:
            print(f"  notes    {entry.notes}")
        print(f"  from     {arguments.origin or entry.url or '-'}", flush=True)
        require_acceptance(entry, arguments.accept_licence)
        missing.append(entry)
    for entry in missing:
        _install(entry, arguments.origin)
    return 0


def _install(entry: ModelEntry, origin: str) -> None:
    from app.models.families import can_run
    from app.models.store import install

    progress = configure_logging("info")
    count = progress.counter(f"{entry.name}, kB")
    if "://" not in origin and origin:
        origin = str(Path(origin).expanduser())
    try:
        install(entry, origin, progress=lambda done, total: count(done // 1000, total // 1000))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{entry.name}: the partial download is kept; repeat the command to continue") from None
    finally:
        progress.clear()
    option = OPTION.get(entry.task)
    use = f"; use it: {program()} {option} {entry.name}" if option and can_run(entry) else ""
    remark = "" if can_run(entry) else f"; its family, {entry.family}, is not supported yet"
    print(f"{entry.name}: installed as {entry.file}, SHA-256 verified{use}{remark}")
