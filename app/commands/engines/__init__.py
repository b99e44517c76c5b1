"""The models: which there are, what is known of them, and everything that is done to them."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

DESCRIPTION = """Everything about the models, the networks that find faces and tell them apart: lists those of the
catalogue (engines/catalog.yaml), downloads more, takes in your own, builds engines for TensorRT, and shows what is
inside and what another backend changes. Two models are built in and need no download."""

EXAMPLES = """examples:
  python -m app engines list
  python -m app engines show retinaface_mv2
  python -m app engines pull --list                        # what can be downloaded
  python -m app engines pull retinaface_mv2
  python -m app --detector retinaface_mv2 --camera 0       # use it
  python -m app engines import mine.onnx                   # a model of your own
  python -m app engines build                              # on a Jetson: now instead of at the first start
  python -m app engines measure                            # which backend is fastest on this machine?
  python -m app engines compare mobilefacenet --b openvino # the same answers on another backend?
  python -m app engines inspect mobilefacenet              # what is in the file
  python -m app engines pull --help                        # licences, mirrors, machines without a network"""

ACTIONS = {
    "list": ("listing", "all models: what for, under which licence, whether they are here, and which are in use"),
    "show": ("showing", "everything that is known of one model"),
    "pull": ("pulling", "download models"),
    "import": ("importing", "make a model of what you have: .pth, .ckpt, .wts, .onnx, or a pack (zip)"),
    "build": ("building", "build engines for TensorRT on this device, once, which run faster"),
    "compare": ("comparing", "one model on two backends: how far their answers lie apart, and whether it matters"),
    "measure": ("measuring", "measure again which backend is fastest for a model on this machine"),
    "inspect": ("inspecting", "take a network's file apart: inputs, outputs, precision, layers, memory"),
}
"""By name: the file in this folder, and what it is for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="|".join(ACTIONS), required=True)
    for name, (_, purpose) in ACTIONS.items():
        module = _module(name)
        action = actions.add_parser(
            name, help=purpose, description=module.DESCRIPTION or purpose, epilog=module.EXAMPLES
        )
        module.add_arguments(action)


def execute(arguments: argparse.Namespace) -> int:
    return int(_module(arguments.action).execute(arguments))


def _module(action: str) -> Any:
    return importlib.import_module(f"app.commands.engines.{ACTIONS[action][0]}")
