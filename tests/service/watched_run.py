"""Runs that are watched over HTTP: real ones, and servers whose pictures a test chooses."""

import contextlib
import dataclasses
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from http_client import Client, free_port
from waiting import PATIENT_S

from app.assembly import run
from app.capture.uri import parse_source
from app.gallery.gallery import Gallery
from app.network_thread import NetworkThread
from app.output.outputs import Control
from app.output.progress import Progress
from app.service.feed import EventFeed
from app.service.live import LiveFrames
from app.service.run_view import RunView
from app.service.serving import http_server
from app.service.streams import Viewers
from app.settings import GallerySettings, OutputSettings, Settings, StrangerSettings
from app.settings.serve import ServeSettings


class Held:
    """An output that pauses the run after some frames, until it is released. Then the run ends."""

    name = "held"

    def __init__(self, after_frames):
        self._left = after_frames
        self.reached, self.released = threading.Event(), threading.Event()

    def handle(self, result):
        self._left -= 1

    def poll(self):
        if self._left > 0:
            return Control.RUN
        self.reached.set()
        return Control.STOP if self.released.wait(0.01) else Control.PAUSE

    def go_on(self, frames):
        self._left = frames

    def close(self):
        pass


class HeldRun(NamedTuple):
    client: Client
    view: RunView
    held: Held


@contextlib.contextmanager
def running(video, gallery, models, folder, **output):
    """A run of a video as the channel `hall`, held after its 20th frame: a client, and the view of the run."""
    with held_run(video, gallery, models, folder, 20, **output) as one:
        yield one.client, one.view


@contextlib.contextmanager
def held_run(video, gallery, models, folder, after_frames, strangers=False, **output):
    port = free_port()
    settings = Settings(
        models=models,
        gallery=GallerySettings(folder=gallery),
        strangers=StrangerSettings(enabled=strangers),
        output=OutputSettings(window=False, **output),
        serve=ServeSettings(port=port, tokens=folder / "tokens.json"),
    )
    sources = [parse_source(str(video), "hall")]
    view, held = RunView.prepared(settings, sources), Held(after_frames)

    def alongside(opened):
        view.watch(opened)
        return http_server(settings, opened.recognizer, opened.gallery, opened.networks, view)

    with ThreadPoolExecutor(1) as pool:
        progress = Progress(io.StringIO())
        report = pool.submit(run, settings, sources, threading.Event, progress, [view.live, held], alongside)
        report.add_done_callback(lambda done: held.reached.set())
        try:
            assert held.reached.wait(PATIENT_S)
            if report.done():
                report.result()
            yield HeldRun(Client(port), view, held)
        finally:
            held.released.set()
            report.result()


@contextlib.contextmanager
def watched(settings, recognizer, folder, channels=(), log=None, viewers=20, **output):
    """A server with channels, without a run: a client, and the view that a test fills."""
    port = free_port()
    settings = dataclasses.replace(
        settings,
        serve=ServeSettings(port=port, tokens=folder / "tokens.json", max_viewers=viewers),
        output=dataclasses.replace(settings.output, events=log, **output),
    )
    view = RunView(LiveFrames(channels), EventFeed(log), Viewers(viewers))
    networks = NetworkThread()
    with contextlib.closing(Gallery(settings, recognizer, networks)) as gallery, http_server(
        settings, recognizer, gallery, networks, view
    ):
        yield Client(port), view
