"""One server from end to end: alone, or next to a run that reads sources."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import Callable, Iterator, Optional, Tuple

from starlette.types import ASGIApp

from app.database.connection import require_usable
from app.errors import FatalError, SettingsError, check_all
from app.fleet.thread import FleetThread
from app.gallery.folder import require_folder
from app.gallery.gallery import Gallery
from app.gallery.strangers import stored_anchors
from app.models.loading import ModelLoader
from app.network_thread import NetworkThread
from app.output.progress import Progress
from app.recognizer import Recognizer
from app.service.api.routes import own_api
from app.service.application import application
from app.service.audit import AuditLog
from app.service.compreface.routes import compreface
from app.service.compreface_core.routes import compreface_core
from app.service.core import FaceService
from app.service.deepstack.routes import deepstack
from app.service.enrolment import Enrolment
from app.service.guard import Guard
from app.service.http import Dialect
from app.service.inference_protocol.routes import inference_protocol
from app.service.insightface_rest.messages import Defaults, with_root_images
from app.service.insightface_rest.routes import insightface_rest
from app.service.measurements import Measurements
from app.service.page.routes import page
from app.service.run_view import Doctor, RunView
from app.service.server import HttpServer
from app.settings import Settings

logger = logging.getLogger(__name__)


def dialects(service: FaceService, view: RunView, guard: Guard, measurements: Measurements) -> Tuple[Dialect, ...]:
    """Every surface of the server. No path is in two of them, so all are on every port."""
    try:
        defaults = Defaults.from_environment()
    except ValueError as error:
        raise SettingsError(str(error)) from error
    enrolment = Enrolment(service, AuditLog(service.settings.serve.audit_log, service.settings.serve.audit_log_mb))
    return (
        insightface_rest(service, defaults),
        compreface_core(service),
        compreface(service, enrolment),
        deepstack(service, enrolment),
        inference_protocol(service),
        own_api(service, enrolment, view, guard, measurements),
        page(),
    )


@contextlib.contextmanager
def http_server(
    settings: Settings,
    recognizer: Recognizer,
    gallery: Gallery,
    networks: NetworkThread,
    view: Optional[RunView] = None,
    on_fatal: Callable[[FatalError], object] = lambda error: None,
    around: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> Iterator[HttpServer]:
    """Answers requests until it is left. `networks` owns the recognizer and is worked on by another thread.

    `view` is what can be watched, if there is a run. `on_fatal` is called when the networks cannot be run any more;
    a run notices by itself. `around` may put a layer around the application.
    """
    view = view or RunView.prepared(settings)
    guard = Guard(settings.serve)
    guard.check_address()
    with HttpServer(settings.serve) as server:
        service = FaceService(with_root_images(settings), recognizer, gallery, networks)
        measurements = Measurements(view)
        surfaces = dialects(service, view, guard, measurements)
        server.start(around(application(surfaces, guard, settings.serve, on_fatal)))
        measurements.start()
        logger.info("listening on %s", ", ".join(server.addresses))
        if guard.needs_token:
            # Behind the #, it is sent to no server. It is of use once, and for 10 minutes.
            logger.info(
                "to log in with a browser, once, within 10 minutes: %s/#/login/%s",
                server.addresses[0],
                guard.login_code.make(),
            )
        try:
            yield server
        finally:
            measurements.close()
            view.close()
            server.close()  # what has begun still needs the service
            service.close()


@contextlib.contextmanager
def serving(
    settings: Settings,
    progress: Progress,
    on_fatal: Callable[[FatalError], object] = lambda error: None,
    doctor: Optional[Doctor] = None,
    networks: Optional[NetworkThread] = None,
    around: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> Iterator[HttpServer]:
    """A server without sources: the networks have a thread of their own, which is started here. `doctor` is as in
    `RunView`, `around` as in `http_server`."""
    view = RunView.prepared(settings, doctor=doctor)
    loader = ModelLoader(settings)
    check_all(
        *loader.checks(), partial(require_folder, settings.gallery.folder), partial(require_usable, settings.fleet)
    )
    with contextlib.ExitStack() as stack:
        networks = networks or NetworkThread()
        networks.start()
        stack.callback(networks.close)
        recognizer = networks.call(lambda: Recognizer.from_loader(loader))
        gallery = stack.enter_context(contextlib.closing(Gallery(settings, recognizer, networks)))
        fleet = stack.enter_context(contextlib.closing(FleetThread(settings, gallery)))
        # Closed before the gallery and the fleet, whose threads may wait for an answer.
        stack.callback(networks.close, recognizer.close)
        gallery.load(progress.counter("examining photos"))
        gallery.anchors = stored_anchors(settings, recognizer)
        gallery.watch()
        fleet.start()
        yield stack.enter_context(http_server(settings, recognizer, gallery, networks, view, on_fatal, around))
