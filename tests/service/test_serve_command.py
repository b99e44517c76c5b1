"""The program as a server: as its own process, and next to a run."""

import signal
import socket
import subprocess
import sys

import pytest
from http_client import Client, free_port
from shipped import ROOT
from waiting import PATIENT_S, until

from app.service.shared_state import SharedState
from app.service.tokens import read_tokens


@pytest.fixture
def start(config_file, people_gallery):
    started = []

    def start(*words):
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "app", *words, "--config", str(config_file), "--gallery", str(people_gallery),
             "--port", str(port)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        started.append(process)
        client = Client(port)

        def answers():
            assert process.poll() is None, process.stderr.read()
            try:
                return client.get("/health").status == 200
            except OSError:
                return False

        until(answers)
        return process, client

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_server_without_sources_answers_until_it_is_stopped(start):
    process, client = start("serve")
    assert client.get("/info").json["models"]["det_name"] == "retinaface_mnet025"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0, err
    assert "Traceback" not in err


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """The socket of a service manager with WatchdogSec=8, which a server that is started later reports to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(PATIENT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "8000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield lambda: receiver.recv(4096).decode().splitlines()


@pytest.mark.slow
def test_a_server_without_sources_feeds_the_watchdog_of_systemd(start, systemd):
    process, _ = start("serve")
    assert systemd() == ["READY=1", "STATUS=answering requests"]
    for _ in range(2):
        until(lambda: systemd() == ["WATCHDOG=1"], do=lambda: None)
    process.send_signal(signal.SIGTERM)
    until(lambda: "STOPPING=1" in systemd(), do=lambda: None)
    assert process.wait(PATIENT_S) == 0


@pytest.mark.slow
@pytest.mark.parametrize("hangs", ["networks", "http"])
def test_a_server_that_hangs_is_ended_with_what_its_threads_do(config_file, people_gallery, systemd, hangs):
    """A job that never ends, on the one thread or the other, as a driver or a handler that hangs."""
    program = f"""
import gc, sys, threading
from app.cli import main
from app.network_thread import NetworkThread
from app.service.server import HttpServer

call_soon = HttpServer.call_soon

def hang():
    threading.Event().wait()

def call_soon_and_hang(server, callback):
    (networks,) = [one for one in gc.get_objects() if isinstance(one, NetworkThread)]
    if {hangs!r} == "networks":
        networks.submit(hang)
    call_soon(server, callback if {hangs!r} == "networks" else hang)

HttpServer.call_soon = call_soon_and_hang
sys.exit(main(sys.argv[1:]))
"""
    words = ("serve", "--config", str(config_file), "--gallery", str(people_gallery), "--port", str(free_port()))
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, timeout=PATIENT_S
    )
    assert done.returncode == 3, done.stderr
    assert "stuck" in done.stderr and f"thread {hangs}" in done.stderr


def test_a_run_answers_requests_while_its_camera_is_awaited(start):
    address = f"rtsp://ann:s3cret@127.0.0.1:{free_port()}/door"
    process, client = start("run", "--serve", "--wait", "--rtsp", f"door={address}", "--no-window")
    assert client.get("/info").status == 200

    def error():
        (door,) = client.get("/api/v1/channels").json["channels"]
        assert (door["name"], door["live"], door["last_frame"]) == ("door", True, None)
        return door["last_error"]

    until(error)
    assert b"s3cret" not in client.get("/api/v1/channels").body
    assert client.get("/api/v1/channels/door/snapshot.jpg").status == 503
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0, err


def test_tokens_are_made_listed_and_removed(tmp_path, config_file):
    config_file.write_text(config_file.read_text() + "serve:\n  tokens: tokens.json\n")

    def tokens(*words):
        done = subprocess.run(
            [sys.executable, "-m", "app", "tokens", *words, "--config", str(config_file)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    code, secret, err = tokens("add", "phone", "--scope", "enrol")
    assert (code, len(secret.strip())) == (0, 36)
    assert "enrol" in err and secret.strip() not in err
    heading, _, row = tokens("list")[1].splitlines()
    assert heading.split()[:2] == ["name", "scope"]
    assert row.split()[:2] == ["phone", "enrol"]
    (token,) = read_tokens(tmp_path / "tokens.json")
    SharedState.next_to(tmp_path / "tokens.json").change(lambda known: known.used.update({token.sha256: 86_400.0}))
    assert "1970-01-02" in tokens("list")[1]
    assert tokens("add", "phone")[0] == 2
    assert tokens("remove", "phone")[0] == 0
    code, out, err = tokens("list")
    assert (code, out) == (0, "") and "tokens.json" in err
    assert tokens("remove", "phone")[0] == 2


def test_what_only_a_run_does_is_refused_without_a_source(completed):
    code, _, err = completed("serve", "--record", "videos", "--duration", "3")
    assert code == 2
    assert "--record, --duration: only with a source" in err


@pytest.mark.parametrize(
    "words", [["serve"], ["serve", "--workers", "2"], ["run", "--serve", "--wait", "--rtsp", "rtsp://127.0.0.1:9/"]]
)
def test_a_port_that_is_in_use_is_refused_before_networks_are_loaded(completed, words):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        # A model that does not exist is reported only when models are looked for.
        code, _, err = completed(*words, "--port", str(port), "--detector", "missing")
    assert code == 2
    assert str(port) in err and "missing" not in err


def test_other_machines_without_a_token_are_refused_before_networks_are_loaded(completed):
    code, _, err = completed("serve", "--host", "0.0.0.0", "--port", str(free_port()), "--detector", "missing")
    assert code == 2
    assert "tokens add" in err and "missing" not in err


@pytest.mark.parametrize("words", [["serve"], ["run", "--serve", "--camera", "0"], ["tokens", "list"]])
def test_packages_that_are_missing_are_named_with_the_command_that_installs_them(words, monkeypatch, capsys):
    from app.cli import main

    monkeypatch.setitem(sys.modules, "orjson", None)
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    assert main(words) == 2
    assert "pip install orjson python-multipart" in capsys.readouterr().err
