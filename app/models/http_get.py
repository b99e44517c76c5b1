"""One GET request: what may be asked, how a piece of a file is asked for, and what a failure means in plain words."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import urllib.request
from http.client import HTTPException, HTTPResponse
from typing import IO, Any, Optional
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from app import __version__
from app.errors import ModelError

_MEANINGS = {
    401: "it wants a login",
    403: "it refuses: a firewall, a limit on downloads, or a file that is no longer public",
    404: "there is no such file (any more)",
    407: "the proxy wants a login; it is set by the environment variable https_proxy",
    410: "the file was taken away",
    416: "it does not have that piece of the file",
    429: "too many downloads from here; try again later",
}


class GetError(OSError):
    """No answer, or one that is of no use; the message says which."""


def get(address: str, timeout_s: float, first_byte: int = 0, version: str = "") -> HTTPResponse:
    """The server's answer: 206 with the rest from `first_byte` on, or 200 with the whole.

    The rest comes only if the file is still of this `version`, an ETag; without one the caller must check what it gets.
    """
    headers = {"User-Agent": f"face-recognition-l4t/{__version__}", "Accept-Encoding": "identity"}
    if first_byte:
        headers["Range"] = f"bytes={first_byte}-"
        if version:
            headers["If-Range"] = version
    opener = urllib.request.build_opener(_CheckedRedirects)
    try:
        response: HTTPResponse = opener.open(urllib.request.Request(address, headers=headers), timeout=timeout_s)
    except HTTPError as error:
        error.close()
        if error.code == 416 and first_byte:
            # More is here than the server has: the file has changed.
            return get(address, timeout_s)
        raise GetError(f"the server answered {error.code} {error.reason}{_meaning(error.code)}") from error
    except URLError as error:
        raise GetError(_plain(error.reason, timeout_s)) from error
    except (OSError, HTTPException) as error:
        raise GetError(_plain(error, timeout_s)) from error
    return response


def check_address(address: str) -> None:
    """Raises for what must not be asked: anything that others on the way could read or change unnoticed."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError as error:
        raise ModelError(f"this is not an address: {error}") from error
    if "@" in parts.netloc:
        raise ModelError(
            f"{parts.scheme}://***@{host}: addresses with a password are not supported; "
            "download the file in another way and install it with --from FILE"
        )
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))):
        raise ModelError(f"{address}: models are downloaded from https:// addresses only (http:// on this machine)")


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows only to addresses that could have been asked for themselves."""

    def redirect_request(
        self, request: urllib.request.Request, answer: IO[bytes], code: int, message: str, headers: Any, address: str
    ) -> Optional[urllib.request.Request]:
        check_address(address)
        # Before Python 3.11, 308 is not known; to a GET it means what 307 means.
        return super().redirect_request(request, answer, 307 if code == 308 else code, message, headers, address)

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _meaning(code: int) -> str:
    meaning = _MEANINGS.get(code) or ("it is in trouble; try again later" if code >= 500 else "")
    return f": {meaning}" if meaning else ""


def _plain(reason: Any, timeout_s: float) -> str:
    if isinstance(reason, socket.timeout):
        return f"no answer within {timeout_s:g} s"
    if isinstance(reason, socket.gaierror):
        return "the name of the host is not known: is this machine on the net?"
    if isinstance(reason, ConnectionRefusedError):
        return "the connection was refused: nothing listens there, or a firewall is in between"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message}): is this machine's clock right?"
    return str(reason) or type(reason).__name__
