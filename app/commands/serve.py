"""Answer requests over HTTP, as InsightFace-REST, CompreFace and DeepStack do."""

from __future__ import annotations

import argparse
import threading
from functools import partial
from typing import Callable, List, Optional

from app.capture.uri import name_sources
from app.commands import run
from app.commands.logs import configure_logging
from app.commands.options import add_settings_options, add_source_options, effective_settings
from app.credentials import mask_process_list
from app.errors import ExitCode, FatalError, SettingsError
from app.network_thread import NetworkThread, Priority
from app.output.progress import Progress
from app.service.packages import require_packages
from app.settings import Settings
from app.supervision.supervisor import Supervisor
from app.supervision.watchdog import Watchdog

LOOK_EVERY_S = 0.2
"""How soon a failure of the networks ends the program, and how often the server has to show that it lives."""

DESCRIPTION = """Answers requests over HTTP with the same networks and gallery as a run. With sources, it also
recognises people in them, as `run` does."""

EXAMPLES = """examples:
  python -m app serve
  python -m app serve --port 18081                  a stand-in for InsightFace-REST
  python -m app serve --workers 2                   one process for each of two GPUs
  python -m app serve --camera 0 --events visits.jsonl
try it:
  curl -s 127.0.0.1:8080/health
what clients can ask: docs/service.md"""


_OF_A_RUN = (
    "output.save",
    "output.summary_json",
    "record.folder",
    "monitoring.port",
    "run.max_frames",
    "run.duration_s",
)
"""What a server without sources does not do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [--host ADDRESS] [--port N] [sources] [settings]"
    add_source_options(parser)
    add_settings_options(parser)
    parser.set_defaults(**{"serve.enabled": True})
    parser.add_argument(
        "--show-settings", action="store_true", help="print every setting and where its value comes from"
    )


def execute(arguments: argparse.Namespace) -> int:
    effective = effective_settings(arguments)
    if arguments.show_settings or name_sources(effective.settings.sources):
        return run.execute(arguments)
    unused = [effective.origins[key] for key in _OF_A_RUN if effective.origins[key].startswith("--")]
    if unused:
        raise SettingsError(f"{', '.join(unused)}: only with a source, such as --camera 0")
    mask_process_list()
    progress = configure_logging(effective.settings.run.log_level)
    require_packages()
    # Imported late, so that --help and a wrong option are answered at once, also without these packages.
    from app.service.compreface_core.plugins import with_compreface_variables
    from app.service.insightface_rest.messages import with_insightface_variables
    from app.service.server import require_address

    require_address(effective.settings.serve)
    settings = with_compreface_variables(with_insightface_variables(effective.settings))
    if settings.serve.workers > 1:
        from app.commands.workers import serve_with_workers

        serve_with_workers(settings)
    else:
        answer(settings, progress)
    return ExitCode.DONE


def answer(
    settings: Settings,
    progress: Progress,
    stop: Optional[threading.Event] = None,
    on_ready: Callable[[], object] = lambda: None,
) -> None:
    """Answers requests until it is stopped, by signals unless `stop` is given. Raises FatalError."""
    from app.service.serving import serving
    from app.tools.doctor.checks import findings_of_server

    failures: List[FatalError] = []
    networks = NetworkThread()
    doctor = partial(findings_of_server, settings)
    with serving(settings, progress, failures.append, doctor, networks) as server:
        stop, supervisor = stop or run.stop_on_signals(), Supervisor()

        def come_by() -> None:
            # With the priority of a frame it passes a long queue of requests, which is not a network that hangs.
            networks.submit(supervisor.check, Priority.FRAME)

        on_ready()
        with Watchdog(supervisor, settings.run.end_if_stuck_s, lambda: "answering requests", lambda: None):
            turns = -1
            while not (failures or stop.wait(LOOK_EVERY_S)):
                if supervisor.turns != turns:
                    turns = supervisor.turns
                    server.call_soon(come_by)
    if failures:
        raise failures[0]
