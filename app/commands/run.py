"""Recognise people in live video or recordings."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import shlex
import signal
import sys
import threading
import time
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Callable, ContextManager, Dict, Optional, Sequence, Tuple

from app.capture.uri import Source, name_sources
from app.commands.logs import configure_logging
from app.commands.options import OWN_SETTINGS, add_settings_options, add_source_options, effective_settings
from app.credentials import mask_process_list
from app.errors import ExitCode, ModelError, SettingsError
from app.events.pipe import is_stdout
from app.files import dated, write_text
from app.settings import Settings
from app.settings.permissions import readable_by_all
from app.settings.reader import Assignment, format_settings
from app.text import from_here, program, suggestion

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from app.assembly import OpenedRun
    from app.output.outputs import Output

DESCRIPTION = "Finds the faces in live video or recordings and names the people whose photos are in the gallery."

EXAMPLES = """examples:
  python -m app --rtsp rtsp://user:password@192.168.1.20/stream1
  python -m app --camera desk=0 --rtsp door=rtsp://192.168.1.20/stream1 --events visits.jsonl
  python -m app --video clip.mp4 --save annotated.mp4
  python -m app --camera 0 --events - --no-window | jq .name
  python -m app --images 'holiday/*.jpg' --save album.mp4 --no-window
  python -m app --rtsp door=rtsp://192.168.1.20/stream1 --record videos --record-when visits
in the window: q or Esc quits, s saves a snapshot, space pauses, l shows the landmarks, w shows why,
g shows a grid to read positions from
Ctrl-C stops a run cleanly: videos are completed and the summary is printed.

exit codes: 0 done, also if Ctrl-C stopped a run; 1 something failed or was refused; 2 a wrong option or setting, or a
source that cannot be opened; 3 a part that the run cannot do without failed and could not be restored: start it again;
130 another command was interrupted by Ctrl-C"""

NO_SOURCE = """no source given; name at least one, for example
  python -m app --camera 0
  python -m app --rtsp rtsp://user:password@192.168.1.20/stream1
  python -m app --video clip.mp4
or put them into config.local.yaml under 'sources:'. To try it without a camera: python -m app demo"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [--rtsp URL | --camera N | --csi N | --video FILE | --images DIR] ... [settings]"
    add_source_options(parser)
    add_settings_options(parser)
    parser.add_argument(
        "--show-settings", action="store_true", help="print every setting and where its value comes from"
    )


def execute(arguments: argparse.Namespace) -> int:
    mask_process_list()
    effective = effective_settings(arguments)
    sources = name_sources(effective.settings.sources)
    for channel, place in effective.channel_places.items():
        names = [source.name for source in sources]
        if sources and channel not in names:
            log.warning("%s: channels.%s: no source has this name%s", place, channel, suggestion(channel, names))
    if arguments.show_settings:
        addresses = [f"{source.name}={source.masked_address}" for source in sources]
        print(format_settings(effective, addresses, _resolved(effective.settings)))
        return ExitCode.DONE
    if not sources:
        own = arguments.config or from_here(OWN_SETTINGS)
        raise SettingsError(NO_SOURCE.replace("python -m app", program()).replace("config.local.yaml", str(own)))
    progress = configure_logging(effective.settings.run.log_level)
    if effective.replaced_sources is not None:
        log.info("the sources of the command line replace those of %s", effective.replaced_sources)
    for path in readable_by_all(effective):
        log.warning(
            "%s has a password that every user of this machine can read: chmod 600 %s, or write ${NAME} instead of the "
            "password, for an environment variable",
            path,
            shlex.quote(str(path)),
        )
    # Imported late, so that --help and a wrong option are answered at once.
    from app.assembly import run

    settings = effective.settings
    extra_outputs: Sequence[Output] = ()
    alongside: Callable[[OpenedRun], ContextManager[object]] = contextlib.nullcontext
    if settings.serve.enabled:
        settings, extra_outputs, alongside = with_http_server(settings, sources)
    report = run(settings, sources, stop_on_signals, progress, extra_outputs, alongside)
    summary_json = effective.settings.output.summary_json
    if summary_json is not None:
        path = dated(summary_json, time.time())
        write_text(path, json.dumps(report.as_json(), ensure_ascii=False, indent=2) + "\n")
        report = dataclasses.replace(report, written=(*report.written, path))
    if report.summary.frames or report.lost or len(report.failed) < len(sources):
        # Another program reads the events, if they are on standard output.
        print(report.text(), file=sys.stderr if is_stdout(effective.settings.output.events) else sys.stdout)
    if report.failed:
        return ExitCode.USER_ERROR
    return ExitCode.INCOMPLETE if report.lost else ExitCode.DONE


def with_http_server(
    settings: Settings, sources: Sequence[Source]
) -> Tuple[Settings, Sequence[Output], Callable[[OpenedRun], ContextManager[object]]]:
    """The HTTP server of a run, which shares its networks and its gallery, with the settings and outputs it needs."""
    from app.service.packages import require_packages

    if settings.serve.workers > 1:
        raise SettingsError(
            f"--workers {settings.serve.workers} (serve.workers): only without sources, since each worker would read "
            "the cameras and report everyone again; run the sources and the workers as two programs, on two ports"
        )
    require_packages()
    from app.service.server import require_address

    require_address(settings.serve)
    from app.service.compreface_core.plugins import with_compreface_variables
    from app.service.insightface_rest.messages import with_insightface_variables
    from app.service.run_view import RunView
    from app.service.serving import http_server
    from app.tools.doctor.checks import findings_of_server

    settings = with_compreface_variables(with_insightface_variables(settings))
    view = RunView.prepared(settings, sources, partial(findings_of_server, settings))

    def alongside(opened: OpenedRun) -> ContextManager[object]:
        view.watch(opened)
        return http_server(settings, opened.recognizer, opened.gallery, opened.networks, view)

    return settings, [view.live], alongside


def stop_on_signals() -> threading.Event:
    """An event that Ctrl-C, SIGTERM or a closed terminal sets, so that a run ends cleanly.

    A second Ctrl-C ends the program at once. `nohup` keeps it running when the terminal is closed; that may be told
    twice, by the shell and by the system.
    """
    stop = threading.Event()

    def ask_to_stop(number: int, frame: Optional[FrameType]) -> None:
        if stop.is_set() and number in (signal.SIGINT, signal.SIGTERM):
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, ask_to_stop)
    return stop


def _resolved(settings: Settings) -> Dict[str, Assignment]:
    """The values of settings that are left to the models, by key."""
    from app.models.loading import ModelLoader

    find: Dict[str, Callable[[ModelLoader], Tuple[float, str]]] = {
        "detection.min_score": lambda loader: (loader.min_score, loader.detector_entry.name),
        "quality.photo_min_score": lambda loader: (loader.detector_entry.photo_score, loader.detector_entry.name),
        "recognition.threshold": lambda loader: (loader.threshold, loader.embedder_entry.name),
    }
    try:
        loader = ModelLoader(settings)
    except ModelError as error:
        return dict.fromkeys(find, Assignment(None, str(error)))
    resolved = {}
    for key, value_and_model in find.items():
        try:
            value, model = value_and_model(loader)
        except ModelError as error:
            resolved[key] = Assignment(None, str(error))
        else:
            resolved[key] = Assignment(value, f"default of {model}")
    if settings.recognition.rate_to_follow is not None and loader.reference() is not None:
        resolved["recognition.threshold"] = Assignment(None, "follows from recognition.false_accept_rate")
    return resolved
