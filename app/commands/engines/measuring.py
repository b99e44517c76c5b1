"""`engines measure`: measures again which backend is fastest."""

from __future__ import annotations

import argparse

from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings

DESCRIPTION = """Measures which backend runs a model fastest on this machine, and remembers the result. The first start
does this by itself, and again after an update of the program or of a backend, or on another machine. Use this command
after a change that the program does not notice, such as a new graphics driver, or if the machine was busy when it
measured. Without MODEL it measures all models in use."""

EXAMPLES = """The results are kept in backend-choices.json next to the models; `engines list` shows them.

examples:
  python -m app engines measure
  python -m app engines measure retinaface_mv2"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", metavar="MODEL", nargs="*", help="models of the catalogue (default: those in use)")
    add_settings_options(parser, sections=("models.backend", "models.precision"))


def execute(arguments: argparse.Namespace) -> int:
    from app.models.engines import measure_backends, require_buildable
    from app.models.loading import ModelLoader, leave_cores_to_networks

    settings = effective_settings(arguments).settings
    configure_logging("warning")
    loader = ModelLoader(settings)
    in_use = [settings.models.detector, settings.models.embedder, *settings.attributes.models.values()]
    names = list(dict.fromkeys(arguments.models or in_use))
    for name in names:
        require_buildable(loader.catalog, name)
    leave_cores_to_networks()
    for name in names:
        choice = measure_backends(loader, loader.catalog.require(name))
        print(f"{name}: {choice}", flush=True)
    return 0
