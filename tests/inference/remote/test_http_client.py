"""Replies that are not what the protocol says, and TLS. Servers that work: tests/models/test_remote.py."""

import contextlib
import dataclasses
import json
import socket
import threading

import numpy as np
import pytest
from certificates import certificate
from http_client import free_port

from app.errors import SettingsError
from app.inference.remote.http_client import HttpClient
from app.inference.remote.protocol import RefusedError, RemoteError, open_client, parse_address

CROPS = {"crops": np.zeros((2, 4, 4, 3), np.uint8)}
TIMEOUT_S = 20.0


@contextlib.contextmanager
def answering(*replies):
    """A client of a server that sends these bytes, one reply per request, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection, connection.makefile("rb") as request:
                    for reply in replies:
                        length = 0
                        while (line := request.readline().strip()) != b"":
                            if line.lower().startswith(b"content-length:"):
                                length = int(line.split(b":")[1])
                        request.read(length)
                        connection.sendall(reply)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        client = HttpClient(parse_address(f"http://127.0.0.1:{server.getsockname()[1]}", "net", None, None))
        yield client
        client.close()
        thread.join()


def reply(body, status="200 OK", **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode("latin-1") + body


def output(**more):
    return {"name": "values", "datatype": "FP32", "shape": [2, 2], **more}


def binary(content, values):
    text = json.dumps(content).encode()
    return reply(text + values, Inference_Header_Content_Length=len(text))


def test_the_wanted_output_is_found_among_others_in_binary_and_in_json():
    values = np.array([[1, 2], [3, 4]], "<f4")
    others = {"name": "other", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}
    both = {"outputs": [others, output(parameters={"binary_data_size": 16})]}
    with answering(
        binary(both, bytes(8) + values.tobytes()),
        reply(json.dumps({"outputs": [output(data=[1, 2, 3, 4])]}).encode()),
    ) as client:
        for _ in range(2):
            assert client.infer(CROPS, "values", TIMEOUT_S).tolist() == values.tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"nonsense\r\n\r\n",
        reply(b"[]"),
        reply(b"{}"),
        reply(b'{"outputs": [{"name": "values"}]}'),
        reply(json.dumps({"outputs": [output(data=[1])]}).encode()),
        reply(json.dumps({"outputs": [{**output(data=[1] * 4), "name": "x"}]}).encode()),
        binary({"outputs": [output(parameters={"binary_data_size": 16})]}, b"short"),
        binary({"outputs": [{**output(parameters={"binary_data_size": 4}), "datatype": "BYTES"}]}, b"1234"),
        reply(b"{", Inference_Header_Content_Length=5),
        reply(b"{}", Inference_Header_Content_Length="\u00b2"),
        reply(b'{"outputs": [["values"]]}'),
        reply(b'{"outputs": [{"name": "values", "datatype": "FP32", "shape": [1e999], "data": [1]}]}'),
        reply(b'{"outputs": [{"name": "values", "datatype": "UINT8", "shape": [1], "data": [-1e30]}]}'),
        reply(b'{"outputs": [{"name": "values", "datatype": "INT64", "shape": [1], "data": [1e999]}]}'),
        reply(b"x" * 10)[:-5],
        reply(b'{"error": "busy"}', "503 Service Unavailable"),
        reply(b"", "429 Too Many Requests"),
    ],
)
def test_what_is_not_the_protocol_is_trouble_that_may_pass(wrong):
    with answering(wrong) as client, pytest.raises(RemoteError):
        client.infer(CROPS, "values", TIMEOUT_S)


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found"])
def test_a_refusal_says_why(status):
    with answering(reply(b'{"error": "not you"}', status)) as client, pytest.raises(RefusedError, match="not you"):
        client.infer(CROPS, "values", TIMEOUT_S)


def test_tls_needs_a_certificate_that_is_trusted(settings, tmp_path):
    from app.service.server import HttpServer

    async def ready(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    cert, key = certificate(tmp_path, "one")
    with HttpServer(dataclasses.replace(settings.serve, port=free_port(), tls_cert=cert, tls_key=key)) as server:
        server.start(ready)
        (url,) = server.addresses
        with contextlib.closing(HttpClient(parse_address(url, "net", None, str(cert)))) as client:
            for _ in range(3):
                assert client.is_ready(TIMEOUT_S) and client.connection == 1
        with pytest.raises(RefusedError, match="certificate"):
            HttpClient(parse_address(url, "net", None, None)).is_ready(TIMEOUT_S)


@pytest.mark.parametrize(
    ("host", "token", "setting"),
    [("a..b", None, "url"), ("a" * 64, None, "url"), ("a", "two\nlines", "token"), ("a", "\u20ac", "token")],
)
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_names_and_tokens_that_cannot_be_sent_are_a_mistake_in_the_settings(scheme, host, token, setting):
    with pytest.raises(SettingsError, match=rf"remote\.{setting}"):
        parse_address(f"{scheme}://{host}:80", "net", token, None)


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_certificates_that_cannot_be_read_are_a_mistake_in_the_settings(tmp_path, scheme):
    if scheme == "grpcs":
        pytest.importorskip("grpc")
    address = parse_address(f"{scheme}://127.0.0.1:1", "net", None, str(tmp_path / "absent.pem"))
    with pytest.raises(SettingsError, match=r"remote\.ca_file"):
        open_client(address)
