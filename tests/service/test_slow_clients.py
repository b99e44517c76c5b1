"""Clients that send or read slowly, or too much, on real connections."""

import contextlib
import socket

import pytest
from http_client import serving
from waiting import PATIENT_S, until

from app.service.http import MAX_FIELDS, MAX_FILES
from app.service.server import MAX_HEADER_BYTES, OneWrite


def connected(client):
    return socket.create_connection(("127.0.0.1", client.port), timeout=PATIENT_S)


def everything(connection):
    """What comes until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while True:
            chunk = connection.recv(65_536)
            if not chunk:
                break
            received += chunk
    return received


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "], ids=["none", "some"])
def test_headers_that_do_not_come_are_not_waited_for(settings, sent):
    with serving(settings, receive_timeout_s=3.0) as client, connected(client) as slow:
        slow.sendall(sent)
        assert client.get("/health").status == 200
        assert b" 408 " in everything(slow)[:20]


def test_headers_without_an_end_are_refused(served):
    with connected(served) as greedy:
        with contextlib.suppress(ConnectionError):
            greedy.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-More: 1\r\n" * (MAX_HEADER_BYTES // 10))
        assert b" 431 " in everything(greedy)[:20]


def test_one_address_has_a_limited_number_of_connections(settings):
    with serving(settings, max_connections_per_address=2) as client, connected(client) as first, connected(
        client
    ) as other:
        for one in (first, other):
            one.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in one.recv(100)
        with connected(client) as third:
            assert b" 503 " in everything(third)[:20]


def test_a_client_that_reads_nothing_is_dropped_and_holds_up_no_one(settings, monkeypatch):
    monkeypatch.setattr(OneWrite, "reader_within_s", 1.0)
    with serving(settings) as client, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(PATIENT_S)
        slow.connect(("127.0.0.1", client.port))
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        # The replies, far more than all buffers hold, are not read.
        slow.sendall(request * 500)
        slow.setblocking(False)

        def is_dropped():
            try:
                slow.send(request)
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            return False

        assert client.get("/api/v1/health").status == 200
        until(is_dropped)
        assert client.get("/api/v1/health").status == 200


@pytest.mark.parametrize(("files", "fields", "status"), [(MAX_FILES + 1, 0, 400), (0, MAX_FIELDS + 1, 400)])
def test_forms_have_a_limited_number_of_parts(served, files, fields, status):
    names = {f"field{number}": "1" for number in range(fields)}
    reply = served.upload("/find_faces", names, [("file", "a.jpg", b"x")] * files)
    assert (reply.status, b"parts" in reply.body) == (status, True)
