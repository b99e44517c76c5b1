"""A run of two recordings with a server and tokens, which a test holds and lets go on."""

import contextlib
import io
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Tuple

from http_client import Client, free_port
from waiting import PATIENT_S

from app.assembly import run
from app.capture.uri import parse_source
from app.output.outputs import Control
from app.output.progress import Progress
from app.service.run_view import RunView
from app.service.serving import http_server
from app.service.tokens import add_token
from app.settings import GallerySettings, OutputSettings, Settings, StrangerSettings
from app.settings.serve import ServeSettings


class Gate:
    """An output that pauses the run from the 5th frame on until it is opened, and again when it is closed."""

    name = "gate"

    def __init__(self):
        self.frames, self.turns = 0, 0
        self.reached, self.opened = threading.Event(), threading.Event()

    def handle(self, result):
        self.frames += 1
        if self.frames >= 5:
            self.reached.set()

    def poll(self):
        self.turns += 1
        if not self.reached.is_set():
            return Control.RUN
        return Control.RUN if self.opened.wait(0.01) else Control.PAUSE

    def close(self):
        pass


class GatedRun(NamedTuple):
    admin: Client
    reader: Client
    gate: Gate
    report: Future
    tokens: Tuple[str, str]
    """Of the admin and of the reader."""


@contextlib.contextmanager
def gated(video, gallery, models, folder):
    """A run of a video as `hall` and `door`, held after its 5th frame."""
    tokens, log = folder / "tokens.json", folder / "visits.jsonl"
    admin, reader = add_token(tokens, "owner", "admin"), add_token(tokens, "tablet", "read")
    settings = Settings(
        models=models,
        gallery=GallerySettings(folder=gallery),
        strangers=StrangerSettings(enabled=False),
        output=OutputSettings(window=False, events=log),
        serve=ServeSettings(port=free_port(), tokens=tokens, audit_log=folder / "audit.jsonl"),
    )
    sources = [parse_source(str(video), name) for name in ("hall", "door")]
    view, gate, stop = RunView.prepared(settings, sources), Gate(), threading.Event()

    def alongside(opened):
        view.watch(opened)
        return http_server(settings, opened.recognizer, opened.gallery, opened.networks, view)

    with ThreadPoolExecutor(1) as pool:
        outputs = [view.live, gate]
        report = pool.submit(run, settings, sources, lambda: stop, Progress(io.StringIO()), outputs, alongside)
        report.add_done_callback(lambda done: gate.reached.set())
        try:
            assert gate.reached.wait(PATIENT_S)
            clients = [Client(settings.serve.port, Authorization=f"Bearer {one}") for one in (admin, reader)]
            yield GatedRun(*clients, gate, report, (admin, reader))
        finally:
            stop.set()
            gate.opened.set()
            report.result()
