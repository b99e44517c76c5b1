"""The connection to the broker that Frigate uses: its messages, and our results."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from typing import Any, Callable, Dict

from app.events.broker import BrokerAddress
from app.frigate.messages import PersonMessage, read_message
from app.settings import FrigateSettings, MqttSettings

logger = logging.getLogger(__name__)

KEEPALIVE_S = 30
MAX_UNSENT = 1000
"""Results that wait for the broker to come back."""


class FrigateLink:
    """Connects again by itself whenever the connection is lost."""

    def __init__(
        self,
        mqtt: MqttSettings,
        frigate: FrigateSettings,
        device: str,
        on_person: Callable[[PersonMessage], None],
        on_start: Callable[[], None],
    ) -> None:
        """`on_person` and `on_start` (Frigate has started) are called on a thread of MQTT. Raises SettingsError."""
        self._address = BrokerAddress(mqtt)
        self._prefix = f"{mqtt.topic}/{device}/frigate"
        self._topic = frigate.topic
        self._on_person, self._on_start = on_person, on_start
        self._problem = ""
        self._is_strange = False
        # Unique, because a broker disconnects an older client with the same id.
        client = self._address.client(f"faces-{device}-{secrets.token_hex(4)}", reconnect=True)
        client.reconnect_delay_set(1, 30)
        client.max_queued_messages_set(MAX_UNSENT)
        client.will_set(f"{self._prefix}/status", "offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_connect_fail = lambda *_: self._failed("it cannot be reached")
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._client = client

    def start(self) -> None:
        self._client.connect_async(self._address.host, self._address.port, KEEPALIVE_S)
        self._client.loop_start()

    def publish(self, camera: str, result: Dict[str, Any]) -> None:
        """Sent at once, or when the broker is back."""
        topic = f"{self._prefix}/{camera}"
        self._client.publish(topic, json.dumps(result, ensure_ascii=False).encode(), qos=1)

    def close(self) -> None:
        if self._client.is_connected():
            with contextlib.suppress(ValueError, RuntimeError):  # too many wait, or the connection has just ended
                self._client.publish(f"{self._prefix}/status", "offline", qos=1, retain=True).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    # paho calls these from its own thread.

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._failed(f"it refused the connection: {reason}; check mqtt.user and mqtt.password")
            return
        self._problem = ""
        logger.info("listening to %s/events at %s", self._topic, self._address.name)
        client.subscribe([(f"{self._topic}/events", 1), (f"{self._topic}/available", 1)])
        client.publish(f"{self._prefix}/status", "online", qos=1, retain=True)

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._failed(f"the connection was lost ({reason})")

    def _failed(self, problem: str) -> None:
        if not self._problem:
            logger.warning("%s: %s; trying again until it works", self._address.name, problem)
        self._problem = problem

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        if message.topic == f"{self._topic}/available":
            if message.payload == b"online":
                self._on_start()
            elif message.payload == b"offline":
                logger.warning("Frigate is offline")
            return
        try:
            person = read_message(message.payload)
        except ValueError as error:
            if not self._is_strange:
                logger.warning("%s/events: a message that is not understood: %s", self._topic, error)
            self._is_strange = True
            return
        if person is not None:
            self._on_person(person)
