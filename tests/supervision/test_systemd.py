"""Messages to systemd, over real datagram sockets as systemd makes them."""

import os
import socket

import pytest
from waiting import PATIENT_S

from app.supervision.systemd import notify, watchdog_s


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """The socket of a service manager, and the variables that it gives to a service."""
    name = f"notify-{os.getpid()}-{tmp_path.name}"
    shown = str(tmp_path / "notify") if request.param == "path" else f"@{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(shown if request.param == "path" else f"\0{name}")
        receiver.settimeout(PATIENT_S)
        yield receiver, {"NOTIFY_SOCKET": shown}


def test_a_message_arrives_whole(manager):
    receiver, environment = manager
    assert notify("READY=1\nSTATUS=Tür: 1 source", environment)
    assert receiver.recv(4096).decode() == "READY=1\nSTATUS=Tür: 1 source"


def test_without_a_service_manager_nothing_happens(tmp_path):
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": ""})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "vsock:2:1234"})


def test_a_service_manager_that_reads_nothing_is_not_waited_for(manager):
    _, environment = manager
    while notify("x" * 4096, environment):
        pass


@pytest.mark.parametrize(
    ("environment", "limit"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdogs_limit_is_that_of_the_unit(environment, limit):
    assert watchdog_s(environment) == limit
