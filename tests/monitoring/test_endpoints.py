"""Metrics and health of a real run, as another program gets them."""

import contextlib
import dataclasses
import io
import json
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families
from waiting import PATIENT_S, until

from app.assembly import open_run, run
from app.capture.uri import parse_source
from app.errors import OutputError
from app.monitoring import server as server_module
from app.monitoring.endpoints import Endpoints
from app.monitoring.monitor import RunMonitor
from app.monitoring.server import MAX_CLIENTS, MonitoringServer
from app.output.progress import Progress
from app.settings import DegradeSettings, MonitoringSettings

ROOT = Path(__file__).resolve().parents[2]


def get(port, path):
    """The status, the headers and the text of the answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENT_S) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def samples(page):
    """Values by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def monitored(settings, port, people_gallery):
    gallery = dataclasses.replace(settings.gallery, folder=people_gallery)
    return dataclasses.replace(settings, gallery=gallery, monitoring=MonitoringSettings(port=port))


class Visitor:
    """An output that asks the server at the 30th frame, on the thread of the loop, which waits for the answers."""

    name = "visitor"

    def __init__(self, port):
        self.port = port
        self.answers = {}
        self.frames = 0

    def handle(self, result):
        self.frames += 1
        if self.frames == 30:
            self.answers = {path: get(self.port, path) for path in ("/metrics", "/health", "/", "/metrics?x=1")}

    def close(self):
        pass


@pytest.fixture
def visited(monitored, port, people_video):
    visitor = Visitor(port)
    run(monitored, [parse_source(str(people_video), "door")], threading.Event, Progress(io.StringIO()), [visitor])
    return visitor.answers


def test_a_run_counts_what_it_does(visited):
    status, headers, page = visited["/metrics"]
    found = samples(page)
    assert status == 200 and headers["Content-Type"].startswith("text/plain")

    def value(name, **labels):
        return found[("face_recognition_" + name, *sorted(labels.items()))]

    door = {"channel": "door"}
    # The visitor comes before the counting of the 30th frame.
    assert value("frames_processed_total", **door) == 29
    assert value("frames_read_total", **door) >= 30
    assert value("frames_dropped_total", **door) == 0
    assert value("stage_seconds_count", stage="track") == 29
    assert value("stage_seconds_bucket", stage="track", le="+Inf") == 29
    assert value("stage_seconds_sum", stage="detect") > 0
    looks = {key: value for key, value in found.items() if key[0] == "face_recognition_looks_total"}
    assert sum(looks.values()) == 29
    named, unknown = (value("faces_total", answer=answer, **door) for answer in ("named", "unknown"))
    assert named > 29 and unknown > 0
    reasons = {key: value for key, value in found.items() if key[0] == "face_recognition_face_reasons_total"}
    assert sum(reasons.values()) == named + unknown
    assert value("events_total", kind="identified") == 2
    assert value("network_info", network="detector", backend="ONNX Runtime", precision="fp32") == 1
    assert value("source_state", state="running", **door) + value("source_state", state="ended", **door) == 1
    assert value("threads") >= 2
    assert found[("process_resident_memory_bytes",)] > 1e6
    assert found[("process_open_fds",)] > 3


def test_metrics_name_no_person_and_no_path(visited, people_video):
    page = visited["/metrics"][2]
    assert not re.search("grace|hopper|collins", page, re.IGNORECASE)
    assert str(people_video.parent) not in page
    labels = {label for key in samples(page) for label, _ in key[1:]}
    assert labels <= {
        "channel", "state", "answer", "reason", "stage", "le", "kind", "version", "sensor", "output", "sink", "look",
        "network", "backend", "precision",
    }  # fmt: skip


def test_health_says_that_all_is_well(visited):
    status, headers, body = visited["/health"]
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["status"] == "ok"


def test_other_paths_are_not_found(visited):
    assert visited["/"][0] == 404
    assert visited["/metrics?x=1"][0] == 200


def test_the_server_does_not_say_which_python_runs_it(visited):
    assert "Python" not in visited["/health"][1]["Server"]


def test_the_port_is_free_after_the_run(visited, port):
    with pytest.raises(urllib.error.URLError):
        get(port, "/health")


def test_health_fails_until_everything_is_open_and_when_the_loop_is_stuck(monitored, port, people_video, tmp_path):
    asked = []

    class Source(Progress):
        """Enrolment reports its progress: by then the server runs, and no source is open."""

        def counter(self, what):
            asked.append(get(port, "/health"))
            return super().counter(what)

    stuck = dataclasses.replace(monitored.monitoring, stuck_after_s=1.0)
    sources = [parse_source(str(people_video), "door")]
    with open_run(dataclasses.replace(monitored, monitoring=stuck), sources, Source(io.StringIO())):
        assert asked[0][0] == 503
        assert json.loads(asked[0][2])["problems"] == ["starting"]
        # Nothing turns the loop here.
        until(lambda: get(port, "/health")[0] == 503)
        assert json.loads(get(port, "/health")[2])["problems"] == ["loop_stuck"]
        assert samples(get(port, "/metrics")[2])[("face_recognition_healthy",)] == 0


class FolderThief:
    """An output that removes the folder of the video after ten frames, and puts it back when `/health` fails."""

    name = "thief"

    def __init__(self, port, folder, stop):
        self.port = port
        self.folder = folder
        self.stop = stop
        self.frames = 0
        self.answers = []

    def handle(self, result):
        self.frames += 1
        if self.frames == 10:
            shutil.rmtree(self.folder)
        elif self.frames > 10:
            status, _, body = get(self.port, "/health")
            answer = (status, *json.loads(body)["problems"])
            if self.answers[-1:] != [answer]:
                self.answers.append(answer)
            if status == 503:
                self.folder.mkdir(exist_ok=True)
            elif len(self.answers) == 3:
                self.stop.set()

    def close(self):
        pass


@pytest.mark.slow
def test_health_fails_while_a_video_cannot_be_written(monitored, port, rtsp_server, tmp_path):
    stop, folder = threading.Event(), tmp_path / "videos"
    thief = FolderThief(port, folder, stop)
    monitored = dataclasses.replace(
        monitored,
        capture=dataclasses.replace(monitored.capture, open_timeout_s=PATIENT_S, read_timeout_s=2 * PATIENT_S),
        output=dataclasses.replace(monitored.output, save=folder / "door.mp4"),
        degrade=DegradeSettings(level="off"),
    )
    report = run(monitored, [parse_source(rtsp_server().url, "door")], lambda: stop, Progress(io.StringIO()), [thief])
    assert thief.answers == [(200,), (503, "output_failed"), (200,)]
    assert "removed" in report.lost[0]


def test_a_busy_port_is_reported_at_the_start(answered, port, people_video):
    with socket.create_server(("127.0.0.1", port)):
        code, _, err = answered("--video", people_video, "--metrics-port", port, "--no-window")
    assert code == 2
    assert f"127.0.0.1:{port}" in err and "--metrics-port" in err


def test_an_address_that_is_not_ours_is_refused():
    with pytest.raises(OutputError, match=r"203\.0\.113\.7"):
        MonitoringServer("203.0.113.7", 0, Endpoints(RunMonitor(30)))


def test_ipv6_addresses_can_be_used():
    try:
        server = MonitoringServer("::1", 0, Endpoints(RunMonitor(30)))
    except OutputError:
        pytest.skip("this machine has no IPv6")
    with contextlib.closing(server), urllib.request.urlopen(f"{server.url}/metrics") as reply:
        assert reply.status == 200


def test_without_the_package_the_program_says_what_to_install(people_video):
    program = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        f"import app.cli; sys.argv = ['app', '--video', {str(people_video)!r}, '--metrics-port', '0', '--no-window']\n"
        "sys.exit(app.cli.main())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 2
    assert "pip install prometheus-client" in done.stderr


@pytest.fixture
def server():
    monitor = RunMonitor(30)
    server = MonitoringServer("127.0.0.1", 0, Endpoints(monitor))
    yield server
    server.close()


def test_health_answers_while_a_network_runs(server, recognizer):
    picture, begun, ended, stop = np.zeros((1080, 1920, 3), np.uint8), [], [], threading.Event()

    def find_faces():
        while not stop.is_set():
            begun.append(None)
            recognizer.find([picture])
            ended.append(None)

    def is_answered_within_one_call():
        counts = len(begun), len(ended)
        assert get(server.port, "/health")[0] == 503
        return counts[0] > counts[1] and (len(begun), len(ended)) == counts

    thread = threading.Thread(target=find_faces)
    thread.start()
    try:
        until(is_answered_within_one_call)
    finally:
        stop.set()
        thread.join()


def test_clients_that_send_nothing_keep_no_other_one_waiting(server):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(MAX_CLIENTS - 1)]
    assert get(server.port, "/health")[0] == 503
    for client in silent:
        client.close()


def test_too_many_clients_are_refused_and_do_not_cost_a_thread_each(server):
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5 * MAX_CLIENTS)]
    running = []
    until(
        lambda: select.select([silent[-1]], [], [], 0)[0],  # the server has closed it
        do=lambda: running.append(threading.active_count()) or time.sleep(0.01),
    )
    assert max(running, default=0) <= before + MAX_CLIENTS
    for client in silent:
        client.close()
    until(lambda: threading.active_count() <= before)
    assert get(server.port, "/health")[0] == 503


def test_clients_for_whom_no_thread_can_be_started_keep_no_place(server, monkeypatch):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        for _ in range(MAX_CLIENTS + 1):
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENT_S) as client:
                assert client.recv(1) == b""
    assert get(server.port, "/health")[0] == 503


def test_each_run_has_metrics_of_its_own():
    first, second = RunMonitor(30), RunMonitor(30)
    pages = [Endpoints(monitor).get("/metrics").body.decode() for monitor in (first, second)]
    first.counts.processed["door"] += 1
    assert "door" not in pages[0] + Endpoints(second).get("/metrics").body.decode()
    assert "door" in Endpoints(first).get("/metrics").body.decode()


def test_scrapers_that_want_open_metrics_get_it():
    reply = Endpoints(RunMonitor(30)).get("/metrics", "application/openmetrics-text; version=1.0.0")
    assert reply.content_type.startswith("application/openmetrics-text")
    assert reply.body.endswith(b"# EOF\n")


def test_a_client_that_drips_its_request_is_disconnected(server, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_CLIENT_S", 0.3)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nX: ")

        def is_cut_off():
            try:
                client.sendall(b"x")
            except OSError:
                return True
            return False

        until(is_cut_off)
