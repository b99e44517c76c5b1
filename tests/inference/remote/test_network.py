"""No answer of another model is used. With real networks: tests/models/test_remote.py."""

import contextlib
import time

import numpy as np
import pytest
from model_server import ModelServer
from waiting import until

from app.inference.engine import TensorSpec
from app.inference.remote.network import RemoteNetwork, RemotePolicy
from app.inference.remote.protocol import RemoteError, open_client, parse_address
from app.inference.remote.right_model import Known

SIDE = 4
RANDOM = np.random.default_rng(3)
RIGHT, WRONG = (RANDOM.normal(size=(SIDE * SIDE * 3, 8)) for _ in range(2))
PICTURES = RANDOM.integers(0, 256, (9, SIDE, SIDE, 3), np.uint8)
KNOWN = PICTURES[:4]
TIMEOUT_S = 60.0


def answers(pictures, matrix=RIGHT):
    return (pictures.reshape(len(pictures), -1) @ matrix).astype(np.float32)


WAYS = ["http", "http, one request a connection", "grpc"]


@pytest.fixture(params=WAYS)
def server(request):
    if request.param == "grpc":
        pytest.importorskip("grpc")
    with contextlib.closing(ModelServer(request.param[:4], RIGHT, "one" in request.param)) as server:
        yield server


@pytest.fixture
def remote(server, monkeypatch):
    monkeypatch.setattr("app.inference.remote.circuit.FIRST_PAUSE_S", 0.01)
    with contextlib.closing(opened(server)) as remote:
        yield remote


def opened(server):
    def open_here():
        raise AssertionError("nothing is asked here")

    address = parse_address(server.url, "net", None, None)
    return RemoteNetwork(
        "net",
        address,
        open_client(address),
        Known(KNOWN, answers(KNOWN)),
        TensorSpec("values", (None, RIGHT.shape[1]), np.dtype(np.float32)),
        open_here,
        RemotePolicy(TIMEOUT_S, defers=True),
    )


def asked(remote, pictures):
    found = remote.ask({"crops": pictures})
    return None if found is None else found["values"]


def test_answers_are_those_of_the_model(remote):
    for count in (1, 9):
        assert np.allclose(asked(remote, PICTURES[:count]), answers(PICTURES[:count]))
    assert remote.status.answered == 2 and remote.status.failed == 0


@pytest.mark.parametrize("server", WAYS[1:], indirect=True)
def test_no_answer_of_a_model_that_was_replaced_is_used(server, remote):
    """Over gRPC, what is behind a connection may change without notice: it connects by itself."""
    assert asked(remote, PICTURES) is not None
    server.matrix = WRONG
    assert asked(remote, PICTURES) is None
    assert remote.status.failed == 1 and "another model" in remote.status.trouble
    server.matrix = RIGHT
    until(lambda: remote.status.is_up)
    assert np.allclose(asked(remote, PICTURES), answers(PICTURES))


def test_a_known_picture_goes_with_a_request_when_the_model_may_be_another_one(server, remote):
    del server.batches[:]
    asked(remote, PICTURES), asked(remote, PICTURES)
    each = len(PICTURES) + (server.closes or server.url.startswith("grpc"))
    assert server.batches == [each, each]


def test_a_model_that_is_replaced_behind_a_connection_is_found_with_the_next_check(server, remote):
    server.matrix = WRONG
    remote._circuit.next_check_s = 0.0
    assert asked(remote, PICTURES) is None and "another model" in remote.status.trouble


def test_faces_do_not_wait_for_a_check_of_a_server_that_works(server, remote):
    server.before_ready = lambda: pytest.fail("it is asked for answers only")
    remote._circuit.next_check_s = 0.0
    remote._requests.put(None)
    until(lambda: remote._circuit.next_check_s > 0.0)
    assert np.allclose(asked(remote, PICTURES), answers(PICTURES))
    assert remote.status.is_up


@pytest.mark.parametrize("step", ["infer", "is_ready"])
def test_an_error_of_this_program_does_not_end_the_thread(server, remote, step, monkeypatch, caplog):
    def fail(*arguments):
        raise ZeroDivisionError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(remote._client, step, fail)
        if step == "infer":
            assert asked(remote, PICTURES) is None
        else:
            remote._lost(RemoteError("planted"))
        until(lambda: "ZeroDivisionError" in remote.status.trouble)
        assert "Traceback" in caplog.text
    until(lambda: remote.status.is_up)
    assert np.allclose(asked(remote, PICTURES), answers(PICTURES))


def test_a_check_may_take_as_long_as_a_request(server, monkeypatch):
    monkeypatch.setattr("app.inference.remote.network.CHECK_TIMEOUT_S", 0.05)
    server.before_ready = lambda: time.sleep(0.3)
    with contextlib.closing(opened(server)) as remote:
        assert remote.status.is_up


@pytest.mark.parametrize("server", ["http"], indirect=True)
def test_a_connection_that_the_server_has_closed_costs_no_second_request(server, remote):
    del server.batches[:]
    server.hang_up()
    until(lambda: remote._client.connection is None)
    assert np.allclose(asked(remote, PICTURES), answers(PICTURES))
    assert server.batches == [len(PICTURES) + 1]
