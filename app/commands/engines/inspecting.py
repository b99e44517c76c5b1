"""`engines inspect`: shows what is inside a model file."""

from __future__ import annotations

import argparse
import json

from app.commands.options import add_settings_options, effective_settings

DESCRIPTION = """Shows what is inside a model file: inputs, outputs and their shapes, precision, layers and memory.
Without the package onnx only the inputs and outputs of ONNX files are shown. For a TensorRT engine it shows the
metadata from its build and, if TensorRT works on this machine, the layers."""

EXAMPLES = """examples:
  python -m app engines inspect retinaface_mnet025             # a model, and its engines
  python -m app engines inspect downloads/model.onnx --layers
  python -m app engines inspect engines/mobilefacenet.engine --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help=".onnx or .engine file, or the name of a model: its file and its engines",
    )
    parser.add_argument("--layers", action="store_true", help="list every layer")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, including the layers")
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
