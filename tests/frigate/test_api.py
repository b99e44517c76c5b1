"""Requests to Frigate have limits, and say what is wrong."""

import contextlib
import socket
import threading

import pytest
from frigate_server import FrigateServer
from ports import free_port
from waiting import PATIENT_S

from app.errors import SettingsError
from app.frigate.api import Frigate, FrigateError
from app.http_request import RequestError, request
from app.settings import FrigateSettings


@contextlib.contextmanager
def answering(*parts, pause_s=0.0):
    """A server that sends these bytes to the one who asks, and then nothing more."""
    released = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                with contextlib.suppress(OSError):
                    for part in parts:
                        connection.sendall(part)
                        released.wait(pause_s)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        released.set()
        thread.join(PATIENT_S)


def test_an_answer_that_is_too_large_is_refused():
    with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000) as address, pytest.raises(RequestError, match="larger"):
        request("GET", address, timeout_s=20, max_bytes=1000)


def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_the_program():
    drops = [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", *[b"x"] * 400]
    with answering(*drops, pause_s=0.05) as address, pytest.raises(RequestError, match=r"within 0\.3 s"):
        request("GET", address, timeout_s=0.3, max_bytes=1000)


def test_a_server_that_is_away_is_tried_again():
    frigate = Frigate(FrigateSettings(url=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(FrigateError):
        frigate.snapshot("a")


def test_a_wrong_password_and_a_missing_one_name_the_setting(tmp_path):
    (tmp_path / "password").write_text("wrong", encoding="utf-8")
    with contextlib.closing(FrigateServer(user=("faces", "right"))) as server:
        wrong = FrigateSettings(url=server.url, user="faces", password=f"file:{tmp_path / 'password'}")
        for settings in (wrong, FrigateSettings(url=server.url)):
            with pytest.raises(FrigateError, match=r"frigate\.password") as raised:
                Frigate(settings).sizes()
            assert "wrong" not in str(raised.value)


def test_user_and_password_of_the_address_log_in():
    with contextlib.closing(FrigateServer(user=("faces", "p@ss"))) as server:
        frigate = Frigate(FrigateSettings(url=server.url.replace("://", "://faces:p@ss@")))
        assert frigate.sizes() == {"door": (1280, 720), "yard": (1280, 720)}
        assert "p@ss" not in frigate.name


@pytest.mark.parametrize("address", ["frigate:5000", "ftp://frigate", "http://", "http://host:99999", "http://a b"])
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(SettingsError, match=r"frigate\.url"):
        Frigate(FrigateSettings(url=address))


@pytest.mark.parametrize("config", [{}, {"cameras": []}, {"cameras": {"a": {}}}, [], "x"])
def test_something_else_than_frigate_at_the_address_is_said(config):
    with contextlib.closing(FrigateServer()) as server:
        server.config = config
        with pytest.raises(FrigateError, match=r"frigate\.url"):
            Frigate(FrigateSettings(url=server.url)).sizes()
