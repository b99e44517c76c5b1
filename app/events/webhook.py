"""Events for a web server: one POST each, repeated with the same key until the server has taken it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from typing import Dict, Iterator, Optional, Sequence, Type
from urllib.parse import urlsplit

from app import __version__
from app.credentials import credentials, read_secret, without_credentials
from app.errors import OutputError, SettingsError
from app.events.delivery import BusyError, Destination, Message, RefusedError
from app.settings import WebhookSettings

REFUSED = {400, 413, 415, 422}
"""The server has understood the request and will never take this event."""
MAX_PAUSE_S = 3600.0
"""The longest Retry-After that is followed."""


class _ClosedError(OutputError):
    """The server has closed the connection without an answer."""


class Webhook(Destination):
    """A destination. Keeps one connection open; opens another when the server has closed it."""

    name = "webhook"
    batch = 1

    def __init__(self, settings: WebhookSettings) -> None:
        """Raises SettingsError for an address, certificate or secret that cannot be used."""
        address = settings.url or ""
        parts = urlsplit(without_credentials(address))
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise SettingsError("webhook.url (--webhook): expected an address such as https://host/path")
        self._host, self._port = parts.hostname, port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._server = f"{parts.scheme}://{parts.netloc}"
        """For messages. The path may be a secret."""
        self._tls = tls_context(settings.ca_file, "webhook.ca_file") if parts.scheme == "https" else None
        self._secret: Optional[bytes] = None
        if settings.secret is not None:
            self._secret = signing_key(read_secret(settings.secret, "webhook.secret"))
        self._headers = {"Content-Type": "application/json", "User-Agent": f"face-recognition-l4t/{__version__}"}
        user_and_password = credentials(address)
        if settings.token is not None:
            self._headers["Authorization"] = f"Bearer {read_secret(settings.token, 'webhook.token')}"
        elif user_and_password is not None:
            basic = base64.b64encode(":".join(user_and_password).encode()).decode()
            self._headers["Authorization"] = f"Basic {basic}"
        self._timeout_s = settings.timeout_s
        self.retry_max_s = settings.retry_max_s
        self._connection: Optional[http.client.HTTPConnection] = None

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            body = message.body()
            headers = {**self._headers, **signed(message.key, body, self._secret, time.time())}
            self._check(self._request(body, headers))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def abort(self) -> None:
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _request(self, body: bytes, headers: Dict[str, str]) -> http.client.HTTPResponse:
        was_open = self._connection is not None
        try:
            return self._attempt(body, headers)
        except _ClosedError:
            if not was_open:
                raise
            # A server closes a connection that was not used for a while.
            return self._attempt(body, headers)

    def _attempt(self, body: bytes, headers: Dict[str, str]) -> http.client.HTTPResponse:
        try:
            if self._connection is None:
                self._connection = self._new_connection()
            with self._deadline():
                self._connection.request("POST", self._target, body, headers)
                response = self._connection.getresponse()
                response.read(1 << 16)
            if not response.isclosed():
                self.close()
            return response
        except ssl.SSLCertVerificationError as error:
            reason = f"its certificate is not trusted: {error.verify_message}; for one of your own, set webhook.ca_file"
            raise self._failed(OutputError, reason) from error
        except socket.timeout as error:
            raise self._failed(OutputError, f"no answer within {self._timeout_s:g} s") from error
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            raise self._failed(_ClosedError, error.strerror or str(error) or "connection closed") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self._failed(OutputError, reason) from error

    def _failed(self, kind: Type[OutputError], reason: str) -> OutputError:
        self.close()
        return kind(f"{self._server}: {reason}")

    def _new_connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[None]:
        """A limit on the whole request: the time-out of a socket begins again with each byte."""
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.abort()

        timer = threading.Timer(self._timeout_s, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            if expired.is_set():
                raise socket.timeout from error
            raise
        finally:
            timer.cancel()
        if expired.is_set():
            raise socket.timeout

    def _check(self, response: http.client.HTTPResponse) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        answer = f"{self._server} answered {status} {response.reason}".rstrip()
        if status in REFUSED:
            raise RefusedError(answer)
        if 300 <= status < 400:
            where = urlsplit(without_credentials(response.getheader("Location") or ""))
            hint = f" to {where.scheme}://{where.netloc}" if where.netloc else ""
            raise OutputError(f"{answer}: redirects{hint} are not followed; correct webhook.url")
        if status in (401, 403):
            answer += "; check webhook.token, or user and password in webhook.url"
        try:
            pause_s = min(MAX_PAUSE_S, max(0.0, float(response.getheader("Retry-After") or 0)))
        except ValueError:
            pause_s = 0.0
        raise BusyError(answer, pause_s)


def signed(key: str, body: bytes, secret: Optional[bytes], now: float) -> Dict[str, str]:
    """The headers with the key and, with a secret, the signature, as standardwebhooks.com describes them."""
    moment = str(int(now))
    headers = {"Idempotency-Key": key, "webhook-id": key, "webhook-timestamp": moment}
    if secret is not None:
        digest = hmac.new(secret, f"{key}.{moment}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def signing_key(secret: str) -> bytes:
    """`whsec_` and Base64, the form of standardwebhooks.com, or any other text as it is."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret[len("whsec_") :], validate=True)
        except binascii.Error:
            raise SettingsError("webhook.secret: what follows whsec_ must be Base64") from None
    return secret.encode()


def tls_context(ca_file: Optional[object], key: str) -> ssl.SSLContext:
    """Verifies certificates and names, by the system's authorities or the file's."""
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{key}: {ca_file} cannot be used: {error.strerror or error}") from error
