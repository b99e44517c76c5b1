"""The MQTT broker of the settings: its address, and new connections to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from app.credentials import credentials, read_secret, without_credentials
from app.errors import SettingsError
from app.events.webhook import tls_context
from app.settings import MqttSettings
from app.text import install_hint

PORTS = {"mqtt": 1883, "mqtts": 8883}


class BrokerAddress:
    def __init__(self, settings: MqttSettings) -> None:
        """Raises SettingsError."""
        try:
            import paho.mqtt.client
        except ImportError as error:
            raise SettingsError(f"mqtt.url (--mqtt) needs paho-mqtt: {install_hint('paho-mqtt')}") from error
        self._paho: Any = paho.mqtt.client
        address = settings.url or ""
        parts = urlsplit(without_credentials(address))
        try:
            self.port = parts.port or PORTS[parts.scheme]
        except (KeyError, ValueError):
            self.port = 0
        if not self.port or not parts.hostname:
            raise SettingsError("mqtt.url (--mqtt): expected an address such as mqtt://host, or mqtts://host:8883")
        self.host = parts.hostname
        self.name = f"{parts.scheme}://{self.host}:{self.port}"
        """For messages."""
        self._tls = tls_context(settings.ca_file, "mqtt.ca_file") if parts.scheme == "mqtts" else None
        user, password = credentials(address) or (None, None)
        self._user = settings.user or user
        self._password = password if settings.password is None else read_secret(settings.password, "mqtt.password")
        self._timeout_s = settings.timeout_s

    def client(self, client_id: str, reconnect: bool) -> Any:
        """A client of paho that is not connected yet. `reconnect`: it connects again by itself."""
        client = self._paho.Client(
            self._paho.CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=reconnect
        )
        client.connect_timeout = self._timeout_s
        if self._user is not None:
            client.username_pw_set(self._user, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        return client
