"""Name the people that Frigate sees."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from functools import partial

from app.commands import run
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, effective_settings
from app.credentials import mask_process_list
from app.errors import ExitCode, SettingsError, check_all

DESCRIPTION = """Listens to the events of Frigate over MQTT, looks at its snapshots of people, and writes the names of
those who are enrolled into Frigate, as sub labels. It reads no camera: Frigate does."""

EXAMPLES = """examples:
  python -m app frigate http://frigate:5000 --mqtt mqtt://broker
  python -m app frigate                with frigate.url and mqtt.url in config.local.yaml
settings and results: docs/frigate.md"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", nargs="?", help="address of Frigate (frigate.url)")
    sections = ("frigate", "mqtt", "models", "detection", "gallery", "quality", "recognition", "run.log_level")
    add_settings_options(parser, sections=sections)


def execute(arguments: argparse.Namespace) -> int:
    settings = effective_settings(arguments).settings
    if arguments.url is not None:
        settings = replace(settings, frigate=replace(settings.frigate, url=arguments.url))
    if settings.frigate.url is None or settings.mqtt.url is None:
        raise SettingsError(
            "the address of Frigate (URL, frigate.url) and that of its MQTT broker (--mqtt, mqtt.url) are needed"
        )
    mask_process_list()
    progress = configure_logging(settings.run.log_level)
    # Imported here, so that --help is fast.
    from app.frigate.service import FrigateService
    from app.gallery.folder import require_folder
    from app.gallery.gallery import Gallery
    from app.gallery.strangers import stored_anchors
    from app.models.loading import ModelLoader
    from app.network_thread import NetworkThread
    from app.recognizer import Recognizer
    from app.supervision.supervisor import Supervisor
    from app.supervision.watchdog import Watchdog

    loader = ModelLoader(settings)
    check_all(*loader.checks(), partial(require_folder, settings.gallery.folder))
    with contextlib.ExitStack() as stack:
        networks = NetworkThread()
        networks.start()
        stack.callback(networks.close)
        recognizer = networks.call(lambda: Recognizer.from_loader(loader, with_attributes=False))
        gallery = stack.enter_context(contextlib.closing(Gallery(settings, recognizer, networks)))
        # Closed before the gallery, whose thread may wait for an answer.
        stack.callback(networks.close, recognizer.close)
        service = FrigateService(settings, gallery, networks)
        gallery.load(progress.counter("examining photos"))
        gallery.anchors = stored_anchors(settings, recognizer)
        gallery.watch()
        stop, supervisor = run.stop_on_signals(), Supervisor()
        with Watchdog(supervisor, settings.run.end_if_stuck_s, service.status, lambda: None):
            service.run(stop, supervisor.check)
    return ExitCode.DONE
