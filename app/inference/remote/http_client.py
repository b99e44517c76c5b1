"""Open Inference Protocol v2 over HTTP, with tensors in binary. Needs no package."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import select
import socket
import ssl
import time
from typing import Any, Dict, Mapping, Optional, Tuple
from urllib.parse import quote

import numpy as np

from app.errors import SettingsError
from app.inference.remote.protocol import (
    DATATYPES,
    MAX_REPLY_BYTES,
    ModelMetadata,
    RefusedError,
    RemoteAddress,
    RemoteError,
    datatype_of,
    from_bytes,
    tensor_spec,
)

HEADER_LENGTH = "Inference-Header-Content-Length"
"""Bytes of a body that are JSON; the tensors follow."""
BINARY = "binary_tensor_data"
HINT_WITHIN_S = 1.0
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
"""How a connection fails that the server has closed since the last request."""


class HttpClient:
    """A `Client` with one connection, which is kept open between requests."""

    def __init__(self, address: RemoteAddress) -> None:
        self._address = address
        self._model = f"{address.path}/v2/models/{quote(address.model, safe='')}"
        self._headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
        self._connection: Optional[http.client.HTTPConnection] = None
        try:
            self._tls = ssl.create_default_context(cafile=address.ca_file) if address.is_encrypted else None
        except OSError as error:
            raise SettingsError(
                f"remote.ca_file: {address.ca_file} cannot be used: {error.strerror or error}"
            ) from error
        self.sent_bytes = self.received_bytes = 0
        self._connections = 0
        self._numbers = itertools.count(1)

    @property
    def connection(self) -> Optional[int]:
        if self._connection is not None and _has_ended(self._connection.sock):
            self.close()
        return None if self._connection is None else self._connections

    def is_ready(self, timeout_s: float) -> bool:
        status, _, _ = self._send("GET", f"{self._address.path}/v2/health/ready", timeout_s)
        return status == 200

    def metadata(self, timeout_s: float) -> ModelMetadata:
        content = _json(self._answer("GET", self._model, timeout_s)[1])
        try:
            inputs, outputs = (
                tuple(tensor_spec(one["name"], one["datatype"], tuple(one["shape"])) for one in content.get(key) or ())
                for key in ("inputs", "outputs")
            )
        except (KeyError, TypeError) as error:
            raise RemoteError(f"its description of the model is not that of the protocol: {error!r}") from error
        return ModelMetadata(inputs, outputs)

    def infer(self, feeds: Mapping[str, np.ndarray], output: str, timeout_s: float) -> np.ndarray:
        tensors = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        header = {
            # KServe answers 500 to requests without an id.
            "id": str(next(self._numbers)),
            "inputs": [
                {
                    "name": name,
                    "shape": list(value.shape),
                    "datatype": datatype_of(value.dtype),
                    "parameters": {"binary_data_size": value.nbytes},
                }
                for name, value in tensors.items()
            ],
            "outputs": [{"name": output, "parameters": {"binary_data": True}}],
        }
        text = json.dumps(header).encode()
        body = b"".join([text, *(value.tobytes() for value in tensors.values())])
        headers = {HEADER_LENGTH: str(len(text)), "Content-Type": "application/octet-stream"}
        length, reply = self._answer("POST", f"{self._model}/infer", timeout_s, body, headers)
        return _output(reply, length, output)

    def abort(self) -> None:
        connection = self._connection
        with contextlib.suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _answer(
        self,
        method: str,
        path: str,
        timeout_s: float,
        body: Optional[bytes] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> Tuple[Optional[int], bytes]:
        """The length of the JSON in a reply, if the server says it, and the reply."""
        status, length, reply = self._send(method, path, timeout_s, body, headers)
        if status == 200:
            return length, reply
        hint = self._address.what_to_change(status)
        if body is not None and status in (400, 500) and not self._takes_binary(timeout_s):
            hint = "it does not say that it takes tensors in binary; if it has gRPC, remote.url begins with grpc://"
        why = "; ".join(filter(None, [f"HTTP {status} for {path}: {_reason(reply)}", hint]))
        if 400 <= status < 500 and status not in (408, 425, 429):
            raise RefusedError(why)
        raise RemoteError(why)

    def _takes_binary(self, timeout_s: float) -> bool:
        """Whether it says so; some that take them do not. True if it says nothing."""
        try:
            status, _, reply = self._send("GET", f"{self._address.path}/v2", min(timeout_s, HINT_WITHIN_S))
            return status != 200 or BINARY in (_json(reply).get("extensions") or ())
        except (RemoteError, RefusedError, TypeError):
            return True

    def _send(
        self,
        method: str,
        path: str,
        timeout_s: float,
        body: Optional[bytes] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> Tuple[int, Optional[int], bytes]:
        deadline = time.monotonic() + timeout_s
        while True:
            is_new = self._connection is None
            connection = self._connected(timeout_s)
            try:
                connection.request(method, path, body, {**self._headers, **(headers or {})})
                self.sent_bytes += len(body or b"")
                _limit(connection, deadline)
                response = connection.getresponse()
                _limit(connection, deadline)
                reply = response.read(MAX_REPLY_BYTES)
                if response.read(1):
                    raise RemoteError(f"its reply has more than {MAX_REPLY_BYTES // 1_000_000} MB")
                self.received_bytes += len(reply)
                if connection.sock is None:
                    # The server closes it after this answer. Otherwise it would be opened again by itself.
                    self.close()
                length = response.getheader(HEADER_LENGTH, "")
                return response.status, int(length) if length.isdecimal() else None, reply
            except (OSError, http.client.HTTPException, RemoteError) as error:
                self.close()
                if isinstance(error, _STALE) and not is_new:
                    continue
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise RefusedError(f"its certificate is not trusted: {error.verify_message}") from error
                if isinstance(error, RemoteError):
                    raise
                raise RemoteError(_why(error, timeout_s)) from error

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connections += 1
            address = self._address
            if address.is_encrypted:
                self._connection = http.client.HTTPSConnection(
                    address.host, address.port, timeout=timeout_s, context=self._tls
                )
            else:
                self._connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
        self._connection.timeout = timeout_s
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_s)
        return self._connection


def _has_ended(sock: Optional[socket.socket]) -> bool:
    """Whether the other side has closed it. Between two requests, nothing else comes."""
    if sock is None:
        return True
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(0))


def _limit(connection: http.client.HTTPConnection, deadline: float) -> None:
    if connection.sock is not None:
        connection.sock.settimeout(max(0.001, deadline - time.monotonic()))


def _why(error: Exception, timeout_s: float) -> str:
    if isinstance(error, socket.timeout):
        return f"no answer within {1000 * timeout_s:.0f} ms"
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
        return "its answer is not HTTP/1.1; for a server of gRPC, remote.url begins with grpc://"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _json(text: bytes) -> Dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise RemoteError("its reply is not JSON: is this a server of the Open Inference Protocol?") from error
    if not isinstance(content, dict):
        raise RemoteError("its reply is not that of the Open Inference Protocol")
    return content


def _output(reply: bytes, length: Optional[int], name: str) -> np.ndarray:
    content = _json(reply if length is None else reply[:length])
    start = len(reply) if length is None else length
    try:
        for one in content["outputs"]:
            size = (one.get("parameters") or {}).get("binary_data_size")
            end = start + (size or 0)
            if one["name"] == name:
                shape = tuple(map(int, one["shape"]))
                if size is None:
                    return np.asarray(one["data"], DATATYPES[one["datatype"]]).reshape(shape)
                return from_bytes(name, one["datatype"], shape, reply[start:end])
            start = end
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RemoteError(f"its reply is not that of the protocol: {error!r}") from error
    raise RemoteError(f"its reply has no output {name}")


def _reason(reply: bytes) -> str:
    """The server's words, shortened."""
    try:
        content = json.loads(reply)
        text = content.get("error") or content.get("detail") or content
    except (ValueError, AttributeError):
        text = reply.decode("utf-8", "replace")
    return " ".join(str(text).split())[:200]
