"""Events for an MQTT broker: a message each, and retained messages that say who is where."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from app.errors import OutputError, SettingsError
from app.events.broker import BrokerAddress
from app.events.delivery import Destination, Message
from app.events.history import History
from app.events.home_assistant import discovery
from app.events.presence import Presence, person_topic
from app.settings import MqttSettings

logger = logging.getLogger(__name__)

KEEPALIVE_S = 30
CHECK_EVERY_S = 2.0
"""How often the connection and the people of the gallery are checked when no event comes."""


class Mqtt(Destination):
    """A destination. Each connection is a new client: what an old one had not sent comes again from the log."""

    name = "mqtt"
    batch = 20

    def __init__(
        self,
        settings: MqttSettings,
        device: str,
        channels: Sequence[str],
        people: Callable[[], Optional[Sequence[str]]],
    ) -> None:
        """`people` are all that are enrolled now; None while that is not known. Raises SettingsError."""
        self._address = BrokerAddress(settings)
        self._broker = self._address.name
        if not settings.topic or any(letter in settings.topic for letter in "+#\0"):
            raise SettingsError(f"mqtt.topic = {settings.topic!r}: expected a topic without + and #")
        self._device = device
        self._prefix = f"{settings.topic}/{device}"
        self._root = settings.discovery
        self._timeout_s = settings.timeout_s
        self._channels = list(channels)
        self._people = people
        self._presence = Presence(self._prefix)
        self._published: Dict[str, bytes] = {}
        """What the broker has acknowledged on this connection, by topic; retained."""
        self._client: Any = None
        self._changed = threading.Condition()
        self._answer: Optional[str] = None
        """Of the broker to this connection: empty if it was accepted."""
        self._is_connected = False
        self._acknowledged: Dict[int, bool] = {}
        self._retained: Dict[str, bytes] = {}
        """Messages about people that were there before this connection."""
        self._home_assistant_restarted = threading.Event()
        self._is_aborted = False

    def send(self, messages: Sequence[Message]) -> None:
        client = self._connected()
        sent = [
            client.publish(f"{self._prefix}/event/{message.record['event']}", message.body(), qos=1)
            for message in messages
        ]
        self._wait_for(sent)
        for message in messages:
            self._presence.add(message.record)

    def rest(self, history: History) -> Optional[float]:
        """Presence is what is true now, so it is published when all events are delivered, not while they are late."""
        self._connected()
        if self._home_assistant_restarted.is_set():
            self._home_assistant_restarted.clear()
            self._published = {}
        enrolled = self._people()
        self._remember_retained(enrolled)
        wanted = self._presence.messages(history.visits.values(), enrolled or (), self._channels)
        if self._root:
            people = [content["name"] for content in wanted.values() if "name" in content]
            channels = [content["channel"] for content in wanted.values() if "channel" in content]
            wanted.update(discovery(self._root, self._prefix, self._device, people, channels))
        encoded = {topic: json.dumps(content).encode() for topic, content in wanted.items()}
        self._publish(encoded)
        return CHECK_EVERY_S

    def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if self._is_connected:
            with contextlib.suppress(OutputError):
                self._wait_for([client.publish(f"{self._prefix}/status", "offline", qos=1, retain=True)])
        client.disconnect()
        client.loop_stop()

    def abort(self) -> None:
        with self._changed:
            self._is_aborted = True
            self._changed.notify_all()

    def _publish(self, wanted: Mapping[str, bytes]) -> None:
        """What has changed, as retained messages; an empty one removes what no one wants any more."""
        client = self._client
        gone = {topic: b"" for topic, content in self._published.items() if content and topic not in wanted}
        changed = {topic: body for topic, body in wanted.items() if self._published.get(topic) != body}
        # Home Assistant must know an entity before it gets its state.
        for topics in ({**gone, **{t: b for t, b in changed.items() if self._is_config(t)}}, changed):
            new = [(topic, body) for topic, body in topics.items() if self._published.get(topic) != body]
            # The time-out is for a few messages, not for a gallery of a thousand people.
            for start in range(0, len(new), self.batch):
                part = new[start : start + self.batch]
                self._wait_for([client.publish(topic, body, qos=1, retain=True) for topic, body in part])
                self._published.update(part)

    def _is_config(self, topic: str) -> bool:
        return not topic.startswith(f"{self._prefix}/")

    def _remember_retained(self, enrolled: Optional[Sequence[str]]) -> None:
        """People of earlier runs: when they were last seen, or that they are to be removed."""
        if enrolled is None:
            return
        with self._changed:
            retained, self._retained = self._retained, {}
        topics = {person_topic(self._prefix, name): name for name in enrolled}
        for topic, body in retained.items():
            if topic not in topics:
                self._published.setdefault(topic, body)
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    old = discovery(self._root or "", self._prefix, self._device, [json.loads(body)["name"]], [])
                    for config in old if self._root else ():
                        self._published.setdefault(config, b"?")
                continue
            with contextlib.suppress(ValueError, TypeError, KeyError):
                known = json.loads(body)
                if known["last_seen"] is not None:
                    last = {"time": known["last_seen"], "sequence": known["sequence"], "channel": known["last_channel"]}
                    self._presence.seen.setdefault(topics[topic], last)
        for name in [name for name in self._presence.seen if name not in enrolled]:
            del self._presence.seen[name]

    def _connected(self) -> Any:
        """The client, connected. Raises OutputError."""
        if self._client is not None and self._is_connected:
            return self._client
        lost = self._client is not None
        self._drop()
        if lost:
            logger.info("%s: the connection was lost; connecting again", self._broker)
        client = self._new_client()
        with self._changed:
            self._answer, self._published, self._acknowledged = None, {}, {}
        try:
            client.connect(self._address.host, self._address.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            raise OutputError(f"{self._broker}: {getattr(error, 'strerror', None) or error}") from error
        self._client = client
        client.loop_start()
        try:
            self._wait_for_answer()
            client.subscribe([(f"{self._prefix}/person/+", 0), *([(f"{self._root}/status", 0)] if self._root else [])])
            self._wait_for([client.publish(f"{self._prefix}/status", "online", qos=1, retain=True)])
        except OutputError:
            self._drop()
            raise
        return client

    def _wait_for_answer(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._answer is not None or self._is_aborted, self._timeout_s)
            answer = self._answer
        if answer is None:
            raise OutputError(f"{self._broker}: no answer within {self._timeout_s:g} s")
        if answer:
            raise OutputError(f"{self._broker} refused the connection: {answer}")

    def _new_client(self) -> Any:
        # Unique, because a broker disconnects an older client with the same id.
        client = self._address.client(f"faces-{self._device}-{secrets.token_hex(4)}", reconnect=False)
        client.will_set(f"{self._prefix}/status", "offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._is_connected = False
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _wait_for(self, sent: List[Any]) -> None:
        """Until the broker has acknowledged all of them."""
        numbers = {message.mid for message in sent}
        with self._changed:

            def is_over() -> bool:
                return numbers <= self._acknowledged.keys() or not self._is_connected or self._is_aborted

            self._changed.wait_for(is_over, self._timeout_s)
            missing = numbers - self._acknowledged.keys()
            self._acknowledged = {}
            connected = self._is_connected
        if missing:
            self._drop()
            raise OutputError(
                f"{self._broker}: no acknowledgement within {self._timeout_s:g} s"
                if connected
                else f"{self._broker}: the connection was lost"
            )

    # paho calls these from its own thread.

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        answer = ""
        if reason.is_failure:
            answer = f"{reason}; check mqtt.user and mqtt.password"
        with self._changed:
            self._answer, self._is_connected = answer, not reason.is_failure
            self._changed.notify_all()

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._changed:
            if client is self._client:
                self._is_connected = False
                if self._answer is None:
                    self._answer = f"connection closed ({reason})"
            self._changed.notify_all()

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        with self._changed:
            self._acknowledged[number] = True
            self._changed.notify_all()

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        if self._root and message.topic == f"{self._root}/status":
            if message.payload == b"online":
                self._home_assistant_restarted.set()
            return
        if message.retain:
            with self._changed:
                self._retained[message.topic] = message.payload
