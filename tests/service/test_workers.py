"""A server of two worker processes, over real HTTP."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from http_client import Client, free_port
from local_process import is_running
from shipped import ROOT
from waiting import PATIENT_S, until

from app.commands.workers import device_of
from app.service.sessions import MAX_FAILED_LOGINS
from app.service.tokens import add_token


class Server:
    """`serve --workers 2`, with what it logs."""

    def __init__(self, config, gallery, *words):
        self.port = free_port()
        command = [sys.executable, "-m", "app", "serve", "--workers", "2", "--config", str(config), "--gallery",
                   str(gallery), "--port", str(self.port), *words]  # fmt: skip
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.client = Client(self.port)
        self.lines = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self._reader.start()

    @property
    def log(self):
        return "".join(self.lines)

    def workers(self):
        """The processes of all workers that have begun to answer, the oldest first."""
        assert self.process.poll() is None, self.log
        return [int(pid) for pid in re.findall(r"worker \d answers, process (\d+)", self.log)]

    def worker_processes(self):
        """Of all workers, also those that do not answer yet."""
        parent = Path(f"/proc/{self.process.pid}")
        found = set()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for pid in map(int, (parent / f"task/{parent.name}/children").read_text().split()):
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.add(pid)
        return found

    def ended(self):
        code = self.process.wait(PATIENT_S)
        self._reader.join(PATIENT_S)
        return code


@pytest.fixture
def tokens(tmp_path):
    """The secret of a token."""
    return add_token(tmp_path / "tokens.json", "phone", "read")


@pytest.fixture
def server(config_file, tmp_path):
    folder = tmp_path / "gallery"
    folder.mkdir()
    config_file.write_text(
        config_file.read_text() + "serve:\n  tokens: tokens.json\n  audit_log: audit.jsonl\n", encoding="utf-8"
    )
    opened = Server(config_file, folder)
    yield opened
    opened.process.kill()
    opened.ended()


def people_seen(client):
    """By 16 connections, which the system gives to the workers."""
    return {tuple(sorted(one["name"] for one in client.get("/api/v1/people").json["people"])) for _ in range(16)}


@pytest.mark.slow
def test_two_workers_share_port_and_gallery_and_one_that_is_killed_is_replaced(server, photos):
    until(lambda: len(server.workers()) == 2)
    assert people_seen(server.client) == {()}

    added = server.client.upload("/api/v1/people/Zoe/photos", files=[("photos", "zoe.png", photos[0][0])])
    assert added.json["photos"][0]["added"], added.body
    until(lambda: people_seen(server.client) == {("Zoe",)})

    first, second = server.workers()
    os.kill(first, signal.SIGKILL)
    until(lambda: len(server.workers()) == 3)
    assert "worker 1 died" in server.log
    assert is_running(second)
    assert people_seen(server.client) == {("Zoe",)}

    workers = server.workers()[1:]
    server.process.send_signal(signal.SIGTERM)
    assert server.ended() == 0, server.log
    assert "Traceback" not in server.log
    assert not any(map(is_running, workers))


def test_a_log_in_with_one_worker_is_valid_with_both(tokens, server):
    until(lambda: len(server.workers()) == 2)
    client = server.client
    assert {client.get("/api/v1/people").status for _ in range(16)} == {401}
    reply = client.post("/api/v1/session", {"token": tokens}, **{"X-CSRF": "1"})
    cookie = reply.headers["set-cookie"].partition(";")[0]
    assert {client.get("/api/v1/people", Cookie=cookie).status for _ in range(16)} == {200}


@pytest.mark.slow
def test_wrong_tokens_are_counted_by_both_workers_together(tokens, server):
    until(lambda: len(server.workers()) == 2)
    tries = [Client(server.port, Authorization="Bearer frt_wrong").get("/api/v1/people").status for _ in range(12)]
    assert tries == [401] * MAX_FAILED_LOGINS + [429] * (12 - MAX_FAILED_LOGINS)


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_ends_the_server(server):
    until(lambda: len(server.workers()) == 2)
    first, _ = server.workers()
    killed = set()

    def kill_the_second():
        """As soon as it is there: how long it takes to answer does not matter."""
        for pid in server.worker_processes() - killed - {first}:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        time.sleep(0.01)

    until(lambda: server.process.poll() is not None, do=kill_the_second)
    assert server.ended() == 3, server.log
    assert len(killed) == 5


def test_workers_end_when_their_parent_is_killed(server):
    until(lambda: len(server.workers()) == 2)
    workers = server.workers()
    server.process.kill()
    until(lambda: not any(map(is_running, workers)))


def test_a_busy_port_is_found_although_workers_share_theirs(people_gallery, completed):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        code, _, err = completed("serve", "--workers", "2", "--port", port, "--gallery", str(people_gallery))
    assert code == 2
    assert port in err and "serve.port" in err


def test_a_worker_that_refuses_its_settings_ends_the_server(config_file, people_gallery):
    server = Server(config_file, people_gallery, "--tls-cert", "missing.pem", "--tls-key", "missing.pem")
    try:
        assert server.ended() == 2
    finally:
        server.process.kill()
    assert "missing.pem" in server.log and "Traceback" not in server.log


def test_workers_are_refused_with_sources(completed):
    code, _, err = completed("serve", "--workers", "2", "--camera", "0")
    assert code == 2
    assert "--workers 2" in err


@pytest.mark.parametrize(
    "visible, count, devices",
    [
        (None, 0, [None, None, None]),
        (None, 1, [None, None, None]),
        (None, 2, ["0", "1", "0"]),
        ("3,GPU-a", 8, ["3", "GPU-a", "3"]),
        ("2", 8, ["2", "2", "2"]),
        ("", 8, ["", "", ""]),
    ],
)
def test_workers_use_one_gpu_after_the_other(visible, count, devices):
    assert [device_of(number, visible, count) for number in (1, 2, 3)] == devices
