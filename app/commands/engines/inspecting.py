"""`engines inspect`: what a network's file holds."""

from __future__ import annotations

import argparse
import json

from app.commands.options import add_settings_options, effective_settings

DESCRIPTION = """Takes a network's file apart: inputs, outputs and their shapes, precision, layers and memory. ONNX
files are read with the package onnx; without it ONNX Runtime tells inputs and outputs. Of an engine that TensorRT built
on this device the card that lies beside it is shown and, where TensorRT can run, what TensorRT tells of it."""

EXAMPLES = """examples:
  python -m app engines inspect retinaface_mnet025             # a model, and its engines
  python -m app engines inspect downloads/model.onnx --layers
  python -m app engines inspect engines/mobilefacenet.engine --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help=".onnx, .engine, or a model of the catalogue: its file, and the engines built from it",
    )
    parser.add_argument("--layers", action="store_true", help="list every layer")
    parser.add_argument("--json", action="store_true", help="print everything, the layers too, as JSON")
    add_settings_options(parser, sections=())


def execute(arguments: argparse.Namespace) -> int:
    from app.models.catalog import read_catalog
    from app.tools.inspection import find_files, inspected_json, inspected_text

    catalog = read_catalog(effective_settings(arguments).settings.models.catalog)
    paths = find_files(arguments.file, catalog)
    if arguments.json:
        print(json.dumps([inspected_json(path) for path in paths], indent=1))
    else:
        print("\n\n".join(inspected_text(path, arguments.layers) for path in paths))
    return 0
