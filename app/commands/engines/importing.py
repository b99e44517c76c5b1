"""`engines import`: converts and installs model files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, List

from app.commands.arguments import picture_size, whole_number, word_or
from app.commands.engines.showing import OPTION
from app.commands.options import add_settings_options, effective_settings
from app.errors import ModelError
from app.text import printable, program

if TYPE_CHECKING:
    from app.tools.importing.importer import Imported, Skipped

DESCRIPTION = """Converts and installs your own model file: a PyTorch checkpoint (.pth, .ckpt, .pt), a .wts text file,
an ONNX network, or an InsightFace pack (zip). The family is detected from names and shapes, and the results are
compared with the original's before the model is installed. It is added to engines/my_models.yaml, which updates of the
program do not change. docs/import.md lists what is supported."""

EXAMPLES = """Requires the package onnx, and PyTorch for checkpoints: python -m pip install onnx torch.
Only weights are read from a checkpoint; code in it is never run.

examples:
  python -m app engines import mobilenet0.25_Final.pth --name my_detector --licence MIT
  python -m app --detector my_detector --camera 0          # use it
  python -m app engines import glintr100.onnx              # known file name: preprocessing is set up for you
  python -m app engines import mine.onnx --like glintr100  # the same with another file name
  python -m app engines import buffalo_sc.zip              # all supported networks of a pack
  python -m app engines import retinaface.wts --size 640x480 --batch 1
  python -m app engines import centerface.onnx --size free --batch dynamic   # if it was exported with a fixed size
  python -m app engines import backbone.pth --name mine --replace"""

ACTIVATIONS = {"relu": 0.0, "leaky": 0.1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help=".pth, .ckpt, .pt, .wts, .onnx or .zip")
    parser.add_argument("--name", default="", help="name of the model (default: the file's name)")
    parser.add_argument(
        "--like",
        default="",
        metavar="NAME",
        help="use the preprocessing and other properties of this model (default: the model with the file's name); see "
        "`engines list`",
    )
    parser.add_argument(
        "--family", default="", help="family, such as mask, if the shapes of an ONNX network are ambiguous"
    )
    parser.add_argument(
        "--activation",
        choices=tuple(ACTIVATIONS),
        help="activation of a RetinaFace with MobileNet (default: measured, as the weights do not contain it)",
    )
    parser.add_argument(
        "--batch",
        type=word_or("dynamic", 0, whole_number(1, 256)),
        metavar="N|dynamic",
        help="batch size (default: unchanged)",
    )
    parser.add_argument(
        "--size",
        type=word_or("free", (0, 0), picture_size(16, 9999)),
        metavar="WxH|free",
        help="input size, such as 640x480, or free (default: unchanged)",
    )
    parser.add_argument("--licence", default="", help="licence of the model (default: the one in the catalogue)")
    parser.add_argument("--replace", action="store_true", help="replace your model of the same name")
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
        message = interruption.args or (f"{path}: nothing was installed",)
        raise KeyboardInterrupt(*message) from None
    for model in imported:
        _print_imported(model)
    for network in skipped:
        print(f"{printable(network.file)}: skipped: {network.reason}")
    networks = len(imported) + sum(network.is_network for network in skipped)
    if imported and len(imported) < networks:
        print(f"{len(imported)} of {networks} networks imported")
    if not imported and not any(network.is_installed for network in skipped):
        raise ModelError(f"{path}: contains no supported network")
    if not imported:
        print("nothing to do: all supported networks are installed")
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
        print(f"  its family, {entry.family}, is not supported yet")
    elif option:
        print(f"  use it: {program()} {option} {entry.name}")
