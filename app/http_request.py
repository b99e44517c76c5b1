"""One HTTP request to a device or a service of the own network. The whole request has a limit in time, its answer one
in size, and redirects are not followed."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from email.message import Message
from typing import Any, Mapping, NamedTuple, Optional
from urllib.parse import urlsplit

from app.credentials import without_credentials
from app.errors import AppError

_PORTS = {"http": 80, "https": 443}


class RequestError(AppError):
    """There was no answer, or not a whole one."""


class Reply(NamedTuple):
    status: int
    headers: Message
    body: bytes


def require_address(address: str, key: str) -> None:
    """Raises RequestError for what is no address of a web server."""
    parts = urlsplit(without_credentials(address))
    try:
        usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(letter <= " " or letter > "~" for letter in address):
        raise RequestError(f"{key}: expected an address such as http://host:5000")


def request(
    method: str,
    address: str,
    body: Optional[bytes] = None,
    headers: Optional[Mapping[str, str]] = None,
    *,
    timeout_s: float,
    max_bytes: int,
    tls: Optional[ssl.SSLContext] = None,
) -> Reply:
    """The answer, whatever its status. User and password of the address are not sent. Raises RequestError."""
    parts = urlsplit(without_credentials(address))
    server = f"{parts.scheme}://{parts.netloc}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection: Any
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout_s, context=tls or ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    expired = threading.Event()

    def expire() -> None:
        # The time-out of a socket begins again with each byte.
        expired.set()
        sock = connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout_s, expire)
    timer.daemon = True
    timer.start()
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        content = response.read(max_bytes + 1)
    except ssl.SSLCertVerificationError as error:
        raise RequestError(f"{server}: its certificate is not trusted: {error.verify_message}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if expired.is_set() or isinstance(error, socket.timeout):
            raise RequestError(f"{server}: no answer within {timeout_s:g} s") from error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise RequestError(f"{server}: {reason}") from error
    finally:
        timer.cancel()
        connection.close()
    if expired.is_set():
        # What was cut off looks like an answer that ends early.
        raise RequestError(f"{server}: no answer within {timeout_s:g} s")
    if len(content) > max_bytes:
        raise RequestError(f"{server}: the answer is larger than {max_bytes / 1e6:g} MB")
    return Reply(response.status, response.headers, content)
