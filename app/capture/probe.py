"""Asks the host of a network source before a decoder does, and says why the source cannot be opened.

FFmpeg and GStreamer do not say why they fail, follow an RTSP redirect with the password, and, depending on their
version, do not verify certificates.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import time
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Tuple, TypeVar, Union
from urllib.parse import SplitResult, urlsplit

from app.capture import certificates
from app.credentials import credentials, masked, without_credentials
from app.text import printable

_DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_MAX_HEADER_BYTES = 65536
_INVALID_URL = "The address is not a valid URL. Write an @ in its path as %40."
_MAX_SHOWN = 200


class Cause(NamedTuple):
    """Why a source cannot be opened, and what to try."""

    text: str
    denied: bool = False
    """Whether the user or the password is wrong, or missing."""


class Answer(NamedTuple):
    """The head of a response."""

    status: Optional[int]
    headers: Dict[str, str]


class Trust(NamedTuple):
    """Which certificates of TLS are accepted."""

    verify: bool = True
    ca_file: Optional[Path] = None


def why_unreachable(address: str, timeout_s: float, trust: Trust) -> Cause:
    """Asks the host, with user and password if they are known."""
    with contextlib.ExitStack() as connections:
        return _judged(address, timeout_s, trust, connections, _meaning)


@contextlib.contextmanager
def asked_first(address: str, timeout_s: float, trust: Trust) -> Iterator[Optional[Cause]]:
    """Why a decoder must not get this address, or None. Nothing secret is sent.

    If the host described the stream, the connection stays open while the decoder opens it: GStreamer's server answers
    503 to a client that asks for a stream in the moment in which the last one has left it.
    """
    with contextlib.ExitStack() as connections:
        yield _judged(address, timeout_s, trust, connections, _redirection)


_Known = Optional[Tuple[str, str]]
"""User and password."""
_Verdict = TypeVar("_Verdict", Cause, Optional[Cause])


def _judged(
    address: str,
    timeout_s: float,
    trust: Trust,
    connections: contextlib.ExitStack,
    judge: Callable[[SplitResult, int, _Known, _Exchange], _Verdict],
) -> Union[_Verdict, Cause]:
    """What `judge` finds out from the host, or why it cannot be asked."""
    plain = without_credentials(address)
    try:
        url = urlsplit(plain)
        host = url.hostname or ""
    except ValueError:
        return Cause(_INVALID_URL)
    try:
        port = url.port or _DEFAULT_PORTS[url.scheme.lower()]
    except (ValueError, KeyError):
        return Cause(_INVALID_URL if "@" in plain else "Its port is not a number from 1 to 65535.")
    deadline = time.monotonic() + timeout_s
    connect = partial(_connect, host, port, deadline)
    is_encrypted = url.scheme.lower() in ("rtsps", "https")
    try:
        connection = certificates.connected(connect, host, trust.verify, trust.ca_file) if is_encrypted else connect()
        connections.enter_context(contextlib.closing(connection))
        return judge(url, port, credentials(address), _Exchange(connection, deadline))
    except certificates.UntrustedError as error:
        return Cause(_untrusted(host, port, error))
    except socket.gaierror:
        return Cause(f"Unknown host {host}. Check the spelling and the network.")
    except ConnectionRefusedError:
        return Cause(f"Connection refused by {host}:{port}. Is the camera on, and is the port right?")
    except socket.timeout:
        return Cause(f"No answer from {host}:{port} within {timeout_s:g} s. Is the camera on, and in the same network?")
    except OSError as error:
        return Cause(f"Connection to {host}:{port} failed: {error}.")


def _meaning(url: SplitResult, port: int, known: _Known, exchange: _Exchange) -> Cause:
    answer = _describe(url, known, exchange) if _is_rtsp(url) else _get(url, known, exchange)
    status = answer.status
    if status in (401, 403):
        if known is None:
            return Cause(
                f"The camera requires a password ({status}). Write USER:PASSWORD@ before the host.", denied=True
            )
        return Cause(f"The camera rejects the user or the password ({status}). Check both.", denied=True)
    if status in (404, 454):
        return Cause(
            f"The host answers, but has no such path ({status}). Look up the path of the stream in its manual."
        )
    if status is None or status < 400:
        return Cause(
            "The host answers, but its stream cannot be decoded. Check that the path is that of a video stream."
        )
    return Cause(f"The host answers with error {status}.")


def _redirection(url: SplitResult, port: int, known: _Known, exchange: _Exchange) -> Optional[Cause]:
    """A decoder follows a redirection of RTSP with the password. FFmpeg does not for HTTP."""
    answer = _describe(url, None, exchange) if _is_rtsp(url) and known is not None else Answer(None, {})
    if answer.status != 200:
        exchange.close()
    location = answer.headers.get("location", "")
    if answer.status is None or not 300 <= answer.status < 400 or not location:
        return None
    return _redirected(url, port, location)


def _redirected(url: SplitResult, port: int, location: str) -> Optional[Cause]:
    try:
        to = urlsplit(without_credentials(location))
        same = not to.netloc or (to.scheme.lower(), to.hostname, to.port or _DEFAULT_PORTS.get(to.scheme.lower())) == (
            url.scheme.lower(),
            url.hostname,
            port,
        )
    except ValueError:
        same = False
    if same:
        return None
    shown = printable(masked(location))[:_MAX_SHOWN]
    return Cause(
        f"The camera redirects to {shown}, and the password is not sent to another host. If you trust it, use that "
        "address instead."
    )


def _untrusted(host: str, port: int, error: certificates.UntrustedError) -> str:
    fetch = f"openssl s_client -connect {host}:{port} </dev/null | openssl x509 > camera.pem"
    return (
        f"The certificate of {host}:{port} cannot be trusted, and no password was sent: {error}. Most cameras sign "
        f"their certificate themselves: fetch it over a network that you trust ({fetch}) and set capture.ca_file to "
        "that file. capture.tls_verify false trusts every certificate."
    )


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    return socket.create_connection((host, port), _left_s(deadline))


def _left_s(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise socket.timeout
    return left_s


class _Exchange:
    """Requests that all end before the deadline, however slowly the other side answers."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def ask(self, request: str) -> Answer:
        self._connection.settimeout(_left_s(self._deadline))
        self._connection.sendall(request.encode("utf-8"))
        received = b""
        while b"\r\n\r\n" not in received and len(received) < _MAX_HEADER_BYTES:
            self._connection.settimeout(_left_s(self._deadline))
            part = self._connection.recv(4096)
            if not part:
                break
            received += part
        head = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        match = re.match(r"(?:RTSP|HTTP)/\d\.\d (\d{3})", head[0])
        headers: Dict[str, str] = {}
        for line in head[1:]:
            key, _, value = line.partition(":")
            headers.setdefault(key.strip().lower(), value.strip())
        return Answer(int(match.group(1)) if match else None, headers)

    def close(self) -> None:
        self._connection.close()


def _describe(url: SplitResult, known: _Known, exchange: _Exchange) -> Answer:
    """The answer to RTSP's DESCRIBE; the password is sent if it is asked for."""
    request = f"DESCRIBE {url.geturl()} RTSP/1.0\r\nCSeq: {{}}\r\nAccept: application/sdp\r\n{{}}\r\n"
    answer = exchange.ask(request.format(1, ""))
    if answer.status != 401 or known is None:
        return answer
    challenge = answer.headers.get("www-authenticate", "")
    is_digest = challenge.lower().startswith("digest")
    authorization = _digest(challenge, url.geturl(), *known) if is_digest else _basic(*known)
    return exchange.ask(request.format(2, f"Authorization: {authorization}\r\n"))


def _get(url: SplitResult, known: _Known, exchange: _Exchange) -> Answer:
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    authorization = f"Authorization: {_basic(*known)}\r\n" if known else ""
    return exchange.ask(f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\n{authorization}Connection: close\r\n\r\n")


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _digest(challenge: str, url: str, user: str, password: str) -> str:
    """Digest authentication as RTSP cameras require it (RFC 2069, with MD5)."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    response = _md5(f"{_md5(f'{user}:{realm}:{password}')}:{nonce}:{_md5(f'DESCRIBE:{url}')}")
    return f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{url}", response="{response}"'


def _is_rtsp(url: SplitResult) -> bool:
    return url.scheme.lower() in ("rtsp", "rtsps")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
