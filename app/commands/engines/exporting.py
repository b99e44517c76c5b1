"""`engines export-triton`: writes a model repository for Triton."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings

DESCRIPTION = """Writes a model repository for NVIDIA's Triton Inference Server, from which other devices get their
embeddings (remote.url, docs/remote.md). The networks in it take pictures of faces as they are: the preprocessing is
part of them. Their answers are compared with those of the originals. Without MODEL it exports the embedder in use."""

EXAMPLES = """Requires the packages onnx and onnxruntime.

examples:
  python -m app engines export-triton models/
  tritonserver --model-repository=models/
  python -m app engines export-triton models/ r100 --tensorrt   # through TensorRT, in fp16"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="the model repository")
    parser.add_argument("models", metavar="MODEL", nargs="*", help="models of the catalogue (default: the embedder)")
    parser.add_argument(
        "--tensorrt", action="store_true", help="let ONNX Runtime in Triton use TensorRT, in fp16, on a GPU"
    )
    add_settings_options(parser, sections=("models.embedder",))


def execute(arguments: argparse.Namespace) -> int:
    from app.models.catalog import read_catalog
    from app.tools.triton_export import export_model

    settings = effective_settings(arguments).settings
    configure_logging("warning")
    catalog = read_catalog(settings.models.catalog)
    for name in dict.fromkeys(arguments.models or [settings.models.embedder]):
        entry = catalog.require(name)
        written = export_model(entry, arguments.folder, arguments.tensorrt)
        print(f"{written}: {entry.name}, {entry.licence_text}", flush=True)
    print(
        f"serve it with: tritonserver --model-repository={arguments.folder}\n"
        "then set remote.url in config.local.yaml of each device (docs/remote.md)"
    )
    return 0
