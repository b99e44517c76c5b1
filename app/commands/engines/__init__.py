"""`engines`: lists, downloads, imports, builds, compares and inspects models."""

from __future__ import annotations

import argparse

from app.commands.arguments import add_actions, execute_action

DESCRIPTION = """Manages the models, the networks that detect and recognise faces: lists those of the catalogue
(engines/catalog.yaml), downloads and imports more, builds TensorRT engines, and inspects and compares them. Some models
are built in and need no download."""

EXAMPLES = """examples:
  python -m app engines list
  python -m app engines show retinaface_mv2
  python -m app engines pull --list                        # what can be downloaded
  python -m app engines pull retinaface_mv2
  python -m app --detector retinaface_mv2 --camera 0       # use it
  python -m app engines import mine.onnx                   # a model of your own
  python -m app engines build                              # on a Jetson: before the first start
  python -m app engines measure                            # which backend is fastest on this machine?
  python -m app engines compare mobilefacenet --b openvino # same results on another backend?
  python -m app engines inspect mobilefacenet              # what is inside the file
  python -m app engines pull --help                        # licences, mirrors, machines without a network"""

ACTIONS = {
    "list": ("listing", "list all models with task, licence and state"),
    "show": ("showing", "show the details of one model"),
    "pull": ("pulling", "download models"),
    "import": ("importing", "convert and install your own model file: .pth, .ckpt, .wts, .onnx, or a pack (zip)"),
    "build": ("building", "build TensorRT engines on this machine"),
    "compare": ("comparing", "compare the results of one model on two backends"),
    "measure": ("measuring", "measure again which backend is fastest on this machine"),
    "export-triton": ("exporting", "write a model repository for Triton, which embeds for other devices"),
    "inspect": ("inspecting", "show what is inside a model file: inputs, outputs, precision, layers, memory"),
}
"""By name: the module in this package, and the help."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_actions(parser, __name__, ACTIONS)


def execute(arguments: argparse.Namespace) -> int:
    return execute_action(arguments, __name__, ACTIONS)
