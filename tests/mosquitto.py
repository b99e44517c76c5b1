"""A real MQTT broker, Debian's mosquitto, and a subscriber to it."""

import json
import shutil
import socket
import subprocess
import threading

from ports import free_port
from waiting import PATIENT_S, until

MISSING = (
    None
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    else "mosquitto is not installed (tests/install_system_packages.sh)"
)


class Broker:
    """`lines` are added to mosquitto.conf."""

    def __init__(self, folder, lines=(), port=None):
        self.port = port or free_port()
        self._folder = folder
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            "\n".join([f"listener {self.port} 127.0.0.1", "user root", *(lines or ["allow_anonymous true"])]) + "\n",
            encoding="utf-8",
        )
        self.start()

    def start(self):
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        self.process = subprocess.Popen(
            [program, "-c", str(self._config)],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._listens)

    def _listens(self):
        assert self.process.poll() is None, "mosquitto has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def has_saved(self, content):
        database = self._folder / "mosquitto.db"
        return database.exists() and content in database.read_bytes()

    def kill(self):
        """kill -9: what it has not written is lost."""
        self.process.kill()
        self.process.wait()

    def close(self):
        self.process.terminate()
        self.process.wait()


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
