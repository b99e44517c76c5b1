"""What the ways to a server of the Open Inference Protocol, version 2, have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Mapping, NamedTuple, Optional, Protocol, Tuple
from urllib.parse import urlsplit

import numpy as np

from app.credentials import has_secret, masked
from app.errors import BackendError, ModelError, SettingsError
from app.inference.engine import TensorSpec

DATATYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
"""The protocol's names of the types that networks here have."""
MAX_REPLY_BYTES = 64_000_000

_PORTS: Dict[str, Optional[int]] = {"http": 80, "https": 443, "grpc": None, "grpcs": None}


class RemoteError(BackendError):
    """The server cannot be reached, answers too late or is in trouble. Later it may work."""


class RefusedError(ModelError):
    """The server lets this program not in, or has another model. It stays so until a person changes something."""


@dataclass(frozen=True)
class RemoteAddress:
    """Where a model is, and how this program is let in."""

    scheme: str
    host: str
    port: int
    path: str
    """Before `/v2`, without a slash at its end."""
    model: str
    token: Optional[str] = None
    """Sent as `Authorization: Bearer`."""
    ca_file: Optional[str] = None
    """Certificates (PEM) to trust instead of the system's."""
    if_missing: str = "remote.model is the name there"
    """What to change if the server does not have the model."""

    def what_to_change(self, status: int) -> Optional[str]:
        """After a refusal that has, or would have, this status of HTTP."""
        return {
            401: "remote.token has to be one that the server knows",
            403: "remote.token has to be one that may do this",
            404: self.if_missing,
        }.get(status)

    @property
    def is_encrypted(self) -> bool:
        return self.scheme in ("https", "grpcs")

    @property
    def netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}, model {self.model}"


def parse_address(url: str, model: str, token: Optional[str], ca_file: Optional[str]) -> RemoteAddress:
    """Raises SettingsError."""
    expected = "expected http://HOST:PORT, https://HOST:PORT, grpc://HOST:PORT or grpcs://HOST:PORT"
    if has_secret(url) or "@" in url:
        raise SettingsError(f"remote.url = {masked(url)!r}: a password does not belong there; see remote.token")
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme)
        (parts.hostname or "").encode("idna")
    except ValueError:
        port = None
    if parts.scheme not in _PORTS or not parts.hostname or port is None or parts.query or parts.fragment:
        raise SettingsError(f"remote.url = {url!r}: {expected}")
    if token is not None and not (token.isascii() and token.isprintable()):
        raise SettingsError("remote.token has characters that cannot be sent, such as a line break")
    path = parts.path.rstrip("/")
    if path and parts.scheme.startswith("grpc"):
        raise SettingsError(f"remote.url = {url!r}: gRPC has no paths; {expected}")
    return RemoteAddress(parts.scheme, parts.hostname, port, path, model, token, ca_file)


class ModelMetadata(NamedTuple):
    """What a server says of a model. Some say nothing: both are empty then."""

    inputs: Tuple[TensorSpec, ...]
    outputs: Tuple[TensorSpec, ...]


class Client(Protocol):
    """A connection to one model. Used by one thread, except for `abort`.

    Raises RemoteError and RefusedError.
    """

    @property
    def connection(self) -> Optional[int]:
        """The number of the connection that is open. None: the next answer may come from another server or model."""
        ...

    @property
    def sent_bytes(self) -> int:
        """Of the bodies of all requests: without what the protocols below add."""
        ...

    @property
    def received_bytes(self) -> int: ...

    def is_ready(self, timeout_s: float) -> bool: ...

    def metadata(self, timeout_s: float) -> ModelMetadata: ...

    def infer(self, feeds: Mapping[str, np.ndarray], output: str, timeout_s: float) -> np.ndarray:
        """One output of the model."""
        ...

    def abort(self) -> None:
        """Ends a request that another thread waits for."""

    def close(self) -> None: ...


def open_client(address: RemoteAddress) -> Client:
    """Connects with the first request. Raises SettingsError if a package is missing or `ca_file` cannot be used."""
    if address.scheme.startswith("grpc"):
        from app.inference.remote.grpc_client import GrpcClient

        return GrpcClient(address)
    from app.inference.remote.http_client import HttpClient

    return HttpClient(address)


def datatype_of(dtype: np.dtype) -> str:
    return next(name for name, known in DATATYPES.items() if dtype == known)


def from_bytes(name: str, datatype: str, shape: Tuple[int, ...], content: bytes) -> np.ndarray:
    """A tensor as the protocol sends it. Raises RemoteError."""
    if datatype not in DATATYPES:
        raise RemoteError(f"the output {name} has the type {datatype}, which this version does not support")
    dtype = np.dtype(DATATYPES[datatype])
    try:
        return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise RemoteError(f"the output {name} has {len(content)} bytes, which are not {shape} of {datatype}") from error


def tensor_spec(name: str, datatype: str, shape: Tuple[int, ...]) -> TensorSpec:
    """Raises RefusedError for a type that no network here has."""
    if datatype not in DATATYPES:
        raise RefusedError(f"{name} has the type {datatype}, which this version does not support")
    sides = tuple(None if side < 0 else side for side in shape)
    return TensorSpec(name, sides, np.dtype(DATATYPES[datatype]))
