"""What a gRPC server may do to us: refuse, be late, want TLS and a token. A real model: tests/remote_servers."""

import contextlib
import threading
from concurrent import futures

import numpy as np
import pytest
from certificates import certificate

from app.inference.remote import messages
from app.inference.remote.protocol import RefusedError, RemoteError, open_client, parse_address

grpc = pytest.importorskip("grpc")

CROPS = {"crops": np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)}
TIMEOUT_S = 20.0


@contextlib.contextmanager
def serving(answer, certificate_and_key=None):
    """A server that calls `answer(method, request, context)`; gives its port."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            method = details.method.rpartition("/")[2]
            assert details.method == f"/inference.GRPCInferenceService/{method}"
            return grpc.unary_unary_rpc_method_handler(lambda request, context: answer(method, request, context))

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Handler()])
    if certificate_and_key is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        cert, key = (path.read_bytes() for path in certificate_and_key)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
    server.start()
    yield port
    server.stop(None).wait()


@contextlib.contextmanager
def client_of(port, scheme="grpc", token=None, ca_file=None):
    with contextlib.closing(
        open_client(parse_address(f"{scheme}://127.0.0.1:{port}", "net", token, ca_file))
    ) as client:
        yield client


def ready(method, request, context):
    return b"\x08\x01" if method == "ServerReady" else b""


def test_the_token_goes_with_every_call():
    seen = []

    def answer(method, request, context):
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        return ready(method, request, context)

    with serving(answer) as port:
        with client_of(port, token="secret") as client:
            assert client.is_ready(TIMEOUT_S) and client.metadata(TIMEOUT_S).inputs == ()
        with client_of(port) as client:
            assert client.is_ready(TIMEOUT_S)
    assert seen == ["Bearer secret", "Bearer secret", None]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("UNAUTHENTICATED", RefusedError),
        ("PERMISSION_DENIED", RefusedError),
        ("NOT_FOUND", RefusedError),
        ("INVALID_ARGUMENT", RefusedError),
        ("UNIMPLEMENTED", RefusedError),
        ("UNAVAILABLE", RemoteError),
        ("RESOURCE_EXHAUSTED", RemoteError),
        ("INTERNAL", RemoteError),
    ],
)
def test_the_status_says_whether_it_may_pass(status, error):
    def answer(method, request, context):
        context.abort(grpc.StatusCode[status], "for a reason")

    with serving(answer) as port, client_of(port) as client, pytest.raises(error, match="for a reason"):
        client.infer(CROPS, "values", TIMEOUT_S)


def test_a_late_answer_is_given_up_and_the_next_one_is_not_mixed_up_with_it():
    go_on, values = threading.Event(), np.array([[1.5], [2.5]], np.float32)

    def answer(method, request, context):
        number = messages.parse(request)[3][0]
        if number == b"1":
            go_on.wait(TIMEOUT_S)
        described = b"\x0a\x06values\x12\x04FP32\x1a\x02\x02\x01"
        raw = (values + (number == b"1")).tobytes()
        return b"\x2a" + bytes([len(described)]) + described + b"\x32" + bytes([len(raw)]) + raw

    with serving(answer) as port, client_of(port) as client:
        try:
            with pytest.raises(RemoteError, match="100 ms"):
                client.infer(CROPS, "values", 0.1)
        finally:
            go_on.set()
        assert client.infer(CROPS, "values", TIMEOUT_S).tolist() == values.tolist()


def test_a_server_that_is_away_is_trouble_that_may_pass():
    with serving(ready) as port, client_of(port) as client:
        assert client.is_ready(TIMEOUT_S)
    with client_of(port) as client, pytest.raises(RemoteError):
        client.is_ready(TIMEOUT_S)


def test_tls_needs_a_certificate_that_is_trusted(tmp_path):
    cert, key = certificate(tmp_path, "one")
    with serving(ready, (cert, key)) as port:
        with client_of(port, "grpcs", ca_file=str(cert)) as client:
            assert client.is_ready(TIMEOUT_S)
        with client_of(port, "grpcs") as client, pytest.raises(RemoteError):
            client.is_ready(TIMEOUT_S)
