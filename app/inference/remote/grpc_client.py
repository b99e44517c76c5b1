"""Open Inference Protocol v2 over gRPC. grpcio is an optional package, which only this module imports."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Mapping, Optional

import numpy as np

from app.errors import SettingsError
from app.inference.remote import messages
from app.inference.remote.protocol import (
    MAX_REPLY_BYTES,
    ModelMetadata,
    RefusedError,
    RemoteAddress,
    RemoteError,
)
from app.text import install_hint

_REFUSALS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 501,
}
"""What a person has to change, and the status that HTTP has for it."""


class GrpcClient:
    """A `Client`. The channel connects by itself, and again after a failure."""

    connection = None
    """Not known: grpcio connects again by itself, and a load balancer may pass each request to another server."""

    def __init__(self, address: RemoteAddress) -> None:
        try:
            import grpc
        except ImportError as error:
            raise SettingsError(
                f"remote.url = {address.scheme}://… needs grpcio: {install_hint('grpcio')}; http:// needs no package"
            ) from error
        self._grpc = grpc
        self._address = address
        self._metadata = [("authorization", f"Bearer {address.token}")] if address.token else []
        self._numbers = itertools.count(1)
        self._pending: Optional[Any] = None
        options = [
            ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
            ("grpc.enable_retries", 0),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if address.is_encrypted:
            try:
                roots = None if address.ca_file is None else Path(address.ca_file).read_bytes()
            except OSError as error:
                raise SettingsError(f"remote.ca_file: {address.ca_file} cannot be used: {error.strerror}") from error
            self._channel = grpc.secure_channel(address.netloc, grpc.ssl_channel_credentials(roots), options)
        else:
            self._channel = grpc.insecure_channel(address.netloc, options)
        self.sent_bytes = self.received_bytes = 0

    def is_ready(self, timeout_s: float) -> bool:
        return messages.is_true(self._call("ServerReady", b"", timeout_s))

    def metadata(self, timeout_s: float) -> ModelMetadata:
        return messages.model_metadata(
            self._call("ModelMetadata", messages.name_request(self._address.model), timeout_s)
        )

    def infer(self, feeds: Mapping[str, np.ndarray], output: str, timeout_s: float) -> np.ndarray:
        request = messages.infer_request(self._address.model, next(self._numbers), feeds, output)
        return messages.infer_response(self._call("ModelInfer", request, timeout_s), output)

    def abort(self) -> None:
        pending = self._pending
        if pending is not None:
            pending.cancel()

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        call = self._channel.unary_unary(f"/{messages.SERVICE}/{method}")
        try:
            self._pending = call.future(request, timeout=timeout_s, metadata=self._metadata)
            self.sent_bytes += len(request)
            reply: bytes = self._pending.result()
            self.received_bytes += len(reply)
            return reply
        except self._grpc.RpcError as error:
            status, details = error.code().name, " ".join(str(error.details()).split())[:200]
            if status in _REFUSALS:
                hint = self._address.what_to_change(_REFUSALS[status])
                raise RefusedError("; ".join(filter(None, [f"gRPC {status}: {details}", hint]))) from error
            if "http1" in details:
                raise RemoteError("it does not speak gRPC; for HTTP, remote.url begins with http://") from error
            if status == "DEADLINE_EXCEEDED":
                raise RemoteError(f"no answer within {1000 * timeout_s:.0f} ms") from error
            raise RemoteError(f"gRPC {status}: {details}") from error
        except self._grpc.FutureCancelledError as error:
            raise RemoteError("the request was given up") from error
        finally:
            self._pending = None
