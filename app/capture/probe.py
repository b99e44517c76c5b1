"""Why a network source cannot be opened. OpenCV does not say, so this connects to the host and looks."""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
import socket
from typing import Dict, NamedTuple, Optional, Tuple
from urllib.parse import SplitResult, urlsplit

from app.credentials import credentials, without_credentials

_DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_MAX_HEADER_BYTES = 65536
_INVALID_URL = "The address is not a valid URL. Write an @ in its path as %40."


class Cause(NamedTuple):
    """Why a source cannot be opened, and what to try."""

    text: str
    denied: bool = False
    """Whether the user or the password is wrong, or missing."""


def why_unreachable(address: str, timeout_s: float) -> Cause:
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
    known = credentials(address)
    try:
        status = _status(url, host, port, known, timeout_s)
    except socket.gaierror:
        return Cause(f"Unknown host {host}. Check the spelling and the network.")
    except ConnectionRefusedError:
        return Cause(f"Connection refused by {host}:{port}. Is the camera on, and is the port right?")
    except socket.timeout:
        return Cause(f"No answer from {host}:{port} within {timeout_s:g} s. Is the camera on, and in the same network?")
    except (OSError, http.client.HTTPException) as error:
        return Cause(f"Connection to {host}:{port} failed: {error}.")
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


def _status(
    url: SplitResult, host: str, port: int, known: Optional[Tuple[str, str]], timeout_s: float
) -> Optional[int]:
    """The status of RTSP's DESCRIBE or HTTP's GET, with user and password if they are known."""
    scheme = url.scheme.lower()
    if scheme == "rtsp":
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            status, headers = _request(connection, url.geturl(), 1, "")
            if status != 401 or known is None:
                return status
            challenge = headers.get("www-authenticate", "")
            is_digest = challenge.lower().startswith("digest")
            answer = _digest(challenge, url.geturl(), *known) if is_digest else _basic(*known)
            return _request(connection, url.geturl(), 2, f"Authorization: {answer}\r\n")[0]
    if scheme == "rtsps":
        socket.create_connection((host, port), timeout_s).close()
        return None
    make = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    client = make(host, port, timeout=timeout_s)
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        client.request("GET", path, headers={"Authorization": _basic(*known)} if known else {})
        return client.getresponse().status
    finally:
        client.close()


def _request(connection: socket.socket, url: str, number: int, extra: str) -> Tuple[Optional[int], Dict[str, str]]:
    request = f"DESCRIBE {url} RTSP/1.0\r\nCSeq: {number}\r\nAccept: application/sdp\r\n{extra}\r\n"
    connection.sendall(request.encode("utf-8"))
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _MAX_HEADER_BYTES:
        part = connection.recv(4096)
        if not part:
            break
        answer += part
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    match = re.match(r"RTSP/\d\.\d (\d{3})", head[0])
    headers: Dict[str, str] = {}
    for line in head[1:]:
        key, _, value = line.partition(":")
        headers.setdefault(key.strip().lower(), value.strip())
    return (int(match.group(1)) if match else None), headers


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _digest(challenge: str, url: str, user: str, password: str) -> str:
    """Digest authentication as RTSP cameras require it (RFC 2069, with MD5)."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    response = _md5(f"{_md5(f'{user}:{realm}:{password}')}:{nonce}:{_md5(f'DESCRIBE:{url}')}")
    return f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{url}", response="{response}"'


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
