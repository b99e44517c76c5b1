"""Frigate over HTTP: snapshots, sub labels, and the sizes in which its cameras are watched."""

from __future__ import annotations

import json
import re
from typing import Dict, Optional, Tuple
from urllib.parse import urlsplit

from app.credentials import credentials, read_secret, without_credentials
from app.errors import SettingsError
from app.events.webhook import tls_context
from app.http_request import Reply, RequestError, request, require_address
from app.settings import FrigateSettings

MAX_PICTURE_BYTES = 10_000_000
MAX_CONFIG_BYTES = 5_000_000
_MAX_ANSWER_BYTES = 100_000
_TOKEN = re.compile(r"frigate_token=([A-Za-z0-9._~+/=-]{1,4096})")


class FrigateError(RequestError):
    """Frigate is away, is starting, or does not let this program in: to be tried again."""


class Frigate:
    def __init__(self, settings: FrigateSettings) -> None:
        """Raises SettingsError for an address, password or certificate that cannot be used."""
        address = settings.url or ""
        try:
            require_address(address, "frigate.url")
        except RequestError as error:
            raise SettingsError(str(error)) from error
        user, password = credentials(address) or (None, None)
        self._user = settings.user or user
        self._password = password if settings.password is None else read_secret(settings.password, "frigate.password")
        self._root = without_credentials(address).rstrip("/")
        parts = urlsplit(self._root)
        self.name = f"{parts.scheme}://{parts.netloc}"
        self._tls = tls_context(settings.ca_file, "frigate.ca_file") if parts.scheme == "https" else None
        self._timeout_s = settings.timeout_s
        self._token: Optional[str] = None

    def sizes(self) -> Dict[str, Tuple[int, int]]:
        """Width and height in which each camera is watched: boxes of people are in these pixels."""
        reply = self._asked("GET", "/api/config", max_bytes=MAX_CONFIG_BYTES)
        sizes = {}
        try:
            for name, camera in json.loads(reply.body)["cameras"].items():
                width, height = camera["detect"]["width"], camera["detect"]["height"]
                if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
                    sizes[str(name)] = (width, height)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FrigateError(f"{self.name}/api/config is not what Frigate answers; check frigate.url") from error
        return sizes

    def snapshot(self, identity: str) -> Optional[bytes]:
        """The best picture of a person so far, whole: which part shows the person says the message. None: it has none.

        Pictures of events that have ended are those that Frigate has stored; options of the request do not change them.
        """
        target = f"/api/events/{identity}/snapshot.jpg?crop=0&bbox=0&timestamp=0&quality=95"
        reply = self._asked("GET", target, max_bytes=MAX_PICTURE_BYTES)
        return reply.body if reply.status == 200 else None

    def set_sub_label(self, identity: str, name: str, score: Optional[float]) -> bool:
        """Whether Frigate knows the event: it may not have stored it yet. An empty name removes the sub label."""
        content = {"subLabel": name} if score is None else {"subLabel": name, "subLabelScore": score}
        reply = self._asked("POST", f"/api/events/{identity}/sub_label", json.dumps(content).encode())
        if reply.status not in (200, 404):
            raise RequestError(f"{self.name} answered {reply.status} to the sub label of {identity}")
        return reply.status == 200

    def _asked(
        self, method: str, target: str, body: Optional[bytes] = None, max_bytes: int = _MAX_ANSWER_BYTES
    ) -> Reply:
        try:
            if self._user is not None and self._token is None:
                self._log_in()
            reply = self._request(method, target, body, max_bytes)
            if reply.status == 401 and self._user is not None:
                # Tokens expire.
                self._log_in()
                reply = self._request(method, target, body, max_bytes)
        except FrigateError:
            raise
        except RequestError as error:
            hint = "; for a certificate of your own, set frigate.ca_file" if "certificate" in str(error) else ""
            raise FrigateError(f"{error}{hint}") from error
        if reply.status in (401, 403):
            raise FrigateError(
                f"{self.name} answered {reply.status}: set frigate.user and frigate.password of a user with the role "
                "admin, or use its port 5000"
            )
        if reply.status >= 500 or 300 <= reply.status < 400:
            raise FrigateError(f"{self.name} answered {reply.status}")
        return reply

    def _request(self, method: str, target: str, body: Optional[bytes], max_bytes: int) -> Reply:
        headers = {} if body is None else {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Cookie"] = f"frigate_token={self._token}"
        return request(
            method, self._root + target, body, headers, timeout_s=self._timeout_s, max_bytes=max_bytes, tls=self._tls
        )

    def _log_in(self) -> None:
        self._token = None
        content = json.dumps({"user": self._user, "password": self._password or ""}).encode()
        reply = self._request("POST", "/api/login", content, _MAX_ANSWER_BYTES)
        found = _TOKEN.search(" ".join(reply.headers.get_all("Set-Cookie") or []))
        if reply.status != 200 or found is None:
            raise FrigateError(
                f"{self.name} answered {reply.status} to the login; check frigate.user and frigate.password"
            )
        self._token = found[1]
