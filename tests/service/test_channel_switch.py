"""Channels that are stopped and started over HTTP, in a real run of two recordings."""

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from http_client import Client, free_port
from waiting import PATIENT_S, until

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


@pytest.fixture
def two(people_video, people_gallery, built_in_models, tmp_path):
    """A run of `hall` and `door`: an admin's client, one that may only read, the gate and the run's future."""
    tokens, log = tmp_path / "tokens.json", tmp_path / "visits.jsonl"
    admin, reader = add_token(tokens, "owner", "admin"), add_token(tokens, "tablet", "read")
    settings = Settings(
        models=built_in_models,
        gallery=GallerySettings(folder=people_gallery),
        strangers=StrangerSettings(enabled=False),
        output=OutputSettings(window=False, events=log),
        serve=ServeSettings(port=free_port(), tokens=tokens, audit_log=tmp_path / "audit.jsonl"),
    )
    sources = [parse_source(str(people_video), name) for name in ("hall", "door")]
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
            yield (*clients, gate, report)
        finally:
            stop.set()
            gate.opened.set()
            report.result()


def states(client):
    return {channel["name"]: channel["state"] for channel in client.get("/api/v1/channels").json["channels"]}


def test_a_stopped_channel_waits_for_its_start_while_the_run_goes_on(two, tmp_path):
    admin, reader, gate, report = two
    assert reader.post("/api/v1/channels/door/stop", {}).status == 403
    assert admin.post("/api/v1/channels/nowhere/stop", {}).status == 404
    for name in ("hall", "door", "door"):
        reply = admin.post(f"/api/v1/channels/{name}/stop", {})
        assert (reply.status, reply.json["state"]) == (200, "stopped")
    gate.opened.set()

    turns, frames = gate.turns, gate.frames
    until(lambda: gate.turns > turns + 20)
    assert not report.done()
    assert gate.frames <= frames + 1, "one may have been taken before"

    read = admin.get("/api/v1/channels").json["channels"][0]["counters"]["read"]
    assert admin.post("/api/v1/channels/hall/start", {}).json["state"] == "opening"
    until(lambda: states(reader)["hall"] == "ended")
    assert states(reader)["door"] == "stopped"
    assert admin.get("/api/v1/channels").json["channels"][0]["counters"]["read"] > read, "the counters go on"
    assert admin.post("/api/v1/channels/hall/start", {}).status == 409
    assert not report.done()

    noted = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(one["client"], one["action"], one["channel"]) for one in noted] == [
        ("owner", "stop channel", "hall"),
        ("owner", "stop channel", "door"),
        ("owner", "start channel", "hall"),
    ]
    events = [json.loads(line) for line in (tmp_path / "visits.jsonl").read_text().splitlines()]
    lost = [(one["channel"], one["error"]) for one in events if one["event"] == "source_lost"]
    assert sorted(lost) == [("door", "stopped by a person"), ("hall", "stopped by a person")]
    assert [one["channel"] for one in events if one["event"] == "source_back"] == ["hall"]
