"""`health` asks a run over its real port."""

import contextlib
import dataclasses
import socket

import pytest
from certificates import certificate
from http_client import free_port
from quiet_http import Handler, QuietServer

from app.monitoring.endpoints import Endpoints
from app.monitoring.health import STARTING, Health, Problem
from app.monitoring.monitor import RunMonitor
from app.monitoring.server import MonitoringServer
from app.service.server import HttpServer


class Known(RunMonitor):
    """A run of which this is known."""

    def __init__(self, health):
        super().__init__(stuck_after_s=30.0)
        self._known = health

    def health(self):
        return self._known


@contextlib.contextmanager
def serving(health, host="127.0.0.1"):
    server = MonitoringServer(host, 0, Endpoints(Known(health)))
    try:
        yield server.port
    finally:
        server.close()


@pytest.mark.parametrize(
    ("health", "code", "line"),
    [
        (Health((), 2, 2), 0, "ok: no problems"),
        (Health((Problem.SOURCE_LOST,), 2, 1), 0, "warning: source_lost"),
        (Health((Problem.ALL_SOURCES_LOST, Problem.OUTPUT_FAILED), 2, 0), 1, "all_sources_lost, output_failed"),
        (STARTING, 1, "failing: starting"),
    ],
)
def test_the_answer_of_a_run_is_printed_and_is_the_exit_code(answered, health, code, line):
    with serving(health) as port:
        found, out, _ = answered("health", "--metrics-port", port)
    assert found == code and line in out


def test_a_run_that_listens_everywhere_is_asked_on_this_machine(answered, tmp_path):
    with serving(Health((), 1, 1), "0.0.0.0") as port:
        (tmp_path / "own.yaml").write_text(f"monitoring:\n  host: 0.0.0.0\n  port: {port}\n", encoding="utf-8")
        assert answered("health", "--config", tmp_path / "own.yaml")[0] == 0


def test_without_an_answer_it_is_not_healthy(answered):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        code, out, _ = answered("health", "--metrics-port", port)
    assert code == 1 and "no answer" in out and str(port) in out


def test_without_a_port_for_metrics_the_server_is_asked(answered, config_file):
    port = free_port()
    config_file.write_text(config_file.read_text(encoding="utf-8") + f"serve:\n  port: {port}\n", encoding="utf-8")
    code, out, _ = answered("health", "--config", config_file)
    assert code == 1 and f"no answer from http://127.0.0.1:{port}/health" in out


@contextlib.contextmanager
def http_server(settings, answer, **serve):
    """The real HTTP server, with an application that gives one answer."""

    async def app(scope, receive, send):
        assert scope["path"] == "/health"
        status, body = answer
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    with HttpServer(dataclasses.replace(settings.serve, port=free_port(), **serve)) as server:
        server.start(app)
        yield server.addresses[0].rpartition(":")[2]


@pytest.mark.parametrize(
    ("answer", "code", "line"),
    [
        ((200, b'{"status": "ok"}'), 0, "ok: no problems"),
        ((500, b'{"detail": "self check failed"}'), 1, "failing:"),
        ((503, b"too many connections"), 1, "503"),
        ((200, b"[]"), 1, "another program"),
    ],
)
def test_the_answer_of_a_server_is_the_exit_code(answered, settings, answer, code, line):
    with http_server(settings, answer) as port:
        found, out, _ = answered("health", "--port", port)
    assert found == code and line in out


def test_a_server_with_tls_is_asked_over_https(answered, settings, tmp_path):
    cert, key = certificate(tmp_path, "faces.home")
    with http_server(settings, (200, b'{"status": "ok"}'), tls_cert=cert, tls_key=key) as port:
        (tmp_path / "own.yaml").write_text(f"serve:\n  port: {port}\n  tls_cert: {cert}\n  tls_key: {key}\n")
        assert answered("health", "--config", tmp_path / "own.yaml")[0] == 0
        assert answered("health", "--port", port)[0] == 1, "plain HTTP is not answered"


def test_the_server_is_asked_where_no_run_listens_and_only_there(answered, settings, tmp_path):
    with http_server(settings, (200, b'{"status": "ok"}')) as port:
        for unused, code in ((free_port(), 0), (None, 1)):
            with serving(Health((Problem.ALL_SOURCES_LOST,), 1, 0)) as failing:
                text = f"monitoring:\n  port: {unused or failing}\nserve:\n  port: {port}\n"
                (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
                assert answered("health", "--config", tmp_path / "own.yaml")[0] == code
        assert answered("health", "--metrics-port", free_port())[0] == 1, "only the run is asked for"


def test_a_run_that_hangs_is_not_waited_for(answered, monkeypatch):
    monkeypatch.setattr("app.commands.health.TIMEOUT_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        code, out, _ = answered("health", "--metrics-port", silent.getsockname()[1])
    assert code == 1 and "no answer" in out


def test_another_program_on_the_port_is_no_healthy_run(answered, tmp_path, monkeypatch):
    class Page(Handler):
        def do_GET(self):
            self.reply(200, b"<html>")

    with contextlib.closing(QuietServer(Page)) as server:
        code, out, _ = answered("health", "--metrics-port", server.port)
    assert code == 1 and "another program" in out


def test_a_proxy_is_not_asked(answered, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(Health((), 1, 1)) as port:
        assert answered("health", "--metrics-port", port)[0] == 0
