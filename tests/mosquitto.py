"""A real MQTT broker, Debian's mosquitto, and a subscriber to it."""

import json
import threading

from local_process import LocalProcess, installed
from waiting import PATIENT_S

MISSING = None if installed("mosquitto") else "mosquitto is not installed (tests/install_system_packages.sh)"


class Broker(LocalProcess):
    """`lines` are added to mosquitto.conf."""

    def __init__(self, folder, lines=(), port=None):
        self._lines = lines or ["allow_anonymous true"]
        super().__init__(folder, port)

    def command(self):
        config = self.folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "user root", *self._lines]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [installed("mosquitto"), "-c", config]

    def has_saved(self, content):
        database = self.folder / "mosquitto.db"
        return database.exists() and content in database.read_bytes()


class Subscriber:
    """Keeps all messages, and the newest of each topic."""

    def __init__(self, port, topics=("faces/#", "homeassistant/#"), **client):
        import paho.mqtt.client as paho

        self.messages = []
        self._subscribed = threading.Event()
        options = {"client_id": "", **client}
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, **options)
        self._client.on_connect = lambda c, *_: c.subscribe([(topic, 1) for topic in topics])
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda c, d, message: self.messages.append(message)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(PATIENT_S)

    def publish(self, topic, content, retain=False):
        self._client.publish(topic, content, qos=1, retain=retain).wait_for_publish(PATIENT_S)

    def now(self):
        """The last message of each topic that is not empty."""
        newest = {message.topic: message.payload for message in list(self.messages)}
        return {topic: content for topic, content in newest.items() if content}

    def state(self, topic):
        content = self.now().get(topic)
        return content and json.loads(content)

    def events(self):
        return [json.loads(message.payload) for message in list(self.messages) if "/event/" in message.topic]

    def numbers(self):
        return [event["sequence"] for event in self.events()]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
