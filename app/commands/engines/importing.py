"""`engines import`: checkpoints, `.wts` files, ONNX networks and packs that people have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, List

from app.commands.arguments import picture_size, whole_number, word_or
from app.commands.engines.showing import OPTION
from app.commands.options import add_settings_options, effective_settings
from app.errors import ModelError
from app.text import program

if TYPE_CHECKING:
    from app.tools.importing.importer import Imported, Skipped

DESCRIPTION = """Makes a model that can be chosen by name out of what you have: a PyTorch checkpoint (.pth, .ckpt,
.pt), a .wts text file, an ONNX network, or an InsightFace pack (zip). The family is recognised from names and shapes,
the answers are compared with the original's, and only then is it installed beside the other models and entered in
engines/my_models.yaml, which is yours: updates of the program leave it alone. docs/import.md tells what is accepted."""

EXAMPLES = """Everything needs the package onnx, checkpoints PyTorch as well: python -m pip install onnx torch.
Only weights are read from a checkpoint; code in it is never run.

examples:
  python -m app engines import mobilenet0.25_Final.pth --name my_detector --licence MIT
  python -m app --detector my_detector --camera 0          # use it
  python -m app engines import glintr100.onnx              # known by its name: the right pixels at once
  python -m app engines import mine.onnx --like glintr100  # the same under another name
  python -m app engines import buffalo_sc.zip              # all networks of a pack that can be used
  python -m app engines import retinaface.wts --size 640x480 --batch 1
  python -m app engines import centerface.onnx --size free --batch dynamic   # fixed to 32x32 by whoever exported it
  python -m app engines import backbone.pth --name mine --replace"""

ACTIVATIONS = {"relu": 0.0, "leaky": 0.1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help=".pth, .ckpt, .pt, .wts, .onnx or .zip")
    parser.add_argument("--name", default="", help="what the model is called from now on (default: the file's name)")
    parser.add_argument(
        "--like",
        default="",
        metavar="NAME",
        help="take what the file does not say, such as its preprocessing, from this model of the catalogue (default: "
        "the one after which the file is called); `engines list` shows all",
    )
    parser.add_argument("--family", default="", help="of an ONNX network whose shapes leave it open, such as mask")
    parser.add_argument(
        "--activation",
        choices=tuple(ACTIVATIONS),
        help="of a RetinaFace on MobileNet, whose weights do not name it (default: measured)",
    )
    parser.add_argument(
        "--batch",
        type=word_or("dynamic", 0, whole_number(1, 256)),
        metavar="N|dynamic",
        help="pictures in one run, or any number (default: as it is)",
    )
    parser.add_argument(
        "--size",
        type=word_or("free", (0, 0), picture_size(16, 9999)),
        metavar="WxH|free",
        help="fix the input to this size, such as 640x480, or let it be any (default: as it is)",
    )
    parser.add_argument(
        "--licence", default="", help="under which terms you have it (default: those that the catalogue knows)"
    )
    parser.add_argument("--replace", action="store_true", help="in place of your model of the same name")
    add_settings_options(parser, sections=())


def execute(arguments: argparse.Namespace) -> int:
    from app.tools.importing.drafts import ImportOptions
    from app.tools.importing.importer import import_file, import_pack, kind_of

    models = effective_settings(arguments).settings.models
    options = ImportOptions(
        name=arguments.name,
        family=arguments.family,
        like=arguments.like,
        slope=None if arguments.activation is None else ACTIVATIONS[arguments.activation],
        batch=arguments.batch,
        size=arguments.size,
        licence=arguments.licence,
        replace=arguments.replace,
    )
    path = arguments.file.expanduser()
    imported: List[Imported] = []
    skipped: List[Skipped] = []
    try:
        if kind_of(path) == "pack":
            imported, skipped = import_pack(path, models.catalog, options, _report)
        else:
            imported = [import_file(path, models.catalog, options, _report)]
    except KeyboardInterrupt as interruption:
        told = interruption.args or (f"{path}: of what was being imported nothing was installed",)
        raise KeyboardInterrupt(*told) from None
    for model in imported:
        _print_imported(model)
    for network in skipped:
        print(f"{network.file}: left out: {network.reason}")
    networks = len(imported) + sum(network.is_network for network in skipped)
    if imported and len(imported) < networks:
        print(f"{len(imported)} of {networks} networks imported")
    if not imported and not any(network.is_installed for network in skipped):
        raise ModelError(f"{path}: none of its networks can be used")
    if not imported:
        print("nothing is new: what can be used of it is there already")
    return 0


def _report(line: str) -> None:
    print(f"  {line}", flush=True)


def _print_imported(model: Imported) -> None:
    from app.models.families import can_run

    entry = model.entry
    option = OPTION.get(entry.task) or OPTION.get(entry.family)
    print(f"{entry.name}: installed as {entry.file}, licence: {entry.licence_text}")
    for remark in model.remarks:
        print(f"  note: {remark}")
    if not can_run(entry):
        print(f"  this version cannot run its family, {entry.family}, yet")
    elif option:
        print(f"  use it: {program()} {option} {entry.name}")
