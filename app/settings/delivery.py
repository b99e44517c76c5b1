"""Settings of what brings events to other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from app.files import PROGRAM_FOLDER
from app.settings.declaration import setting


@dataclass(frozen=True)
class DeliverySettings:
    """What all receivers of events have in common."""

    device: Optional[str] = setting(
        None, "name of this device in keys of events and topics of MQTT; by default its host name"
    )
    new_receivers: str = setting(
        "now",
        "where a receiver that is new to a log begins: with the events of this run, or with the oldest in the log",
        choices=("now", "oldest"),
    )
    queue: Path = setting(
        PROGRAM_FOLDER / "queue", "folder in which events wait to be delivered, in a run without --events FILE"
    )
    queue_max_mb: float = setting(
        100.0, "maximum size of that folder; when it is full, the oldest events are lost", minimum=1, maximum=1e6
    )


@dataclass(frozen=True)
class WebhookSettings:
    """Events for a web server."""

    url: Optional[str] = setting(
        None,
        "send each event to this address by POST, until the server has taken it (docs/events.md)",
        flag="--webhook",
        metavar="URL",
    )
    secret: Optional[str] = setting(
        None, "sign requests (HMAC-SHA256) with the secret in env:NAME or file:PATH", secret=True
    )
    token: Optional[str] = setting(
        None, "send the token in env:NAME or file:PATH as Authorization: Bearer", secret=True
    )
    ca_file: Optional[Path] = setting(
        None, "trust certificates signed by those in this PEM file, instead of the system's"
    )
    timeout_s: float = setting(10.0, "seconds after which a request has failed", minimum=0.1, maximum=600)
    retry_max_s: float = setting(
        60.0, "maximum seconds between two attempts; the first pause is 1 s", minimum=0.01, maximum=3600
    )


@dataclass(frozen=True)
class MqttSettings:
    """Events and presence for an MQTT broker, such as that of Home Assistant."""

    url: Optional[str] = setting(
        None,
        "send events and presence to this MQTT broker, mqtt://host or mqtts://host (docs/events.md)",
        flag="--mqtt",
        metavar="URL",
    )
    user: Optional[str] = setting(None, "user name for the broker")
    password: Optional[str] = setting(None, "where the password is: env:NAME or file:PATH", secret=True)
    ca_file: Optional[Path] = setting(
        None, "trust certificates signed by those in this PEM file, instead of the system's"
    )
    topic: str = setting("faces", "topics begin with this, followed by the name of the device")
    discovery: Optional[str] = setting("homeassistant", "prefix of Home Assistant's MQTT discovery; null turns it off")
    timeout_s: float = setting(
        10.0, "seconds after which a connection or a message has failed", minimum=0.1, maximum=600
    )


@dataclass(frozen=True)
class KafkaSettings:
    """Events for Kafka."""

    servers: Optional[str] = setting(
        None,
        "send events to Kafka; its first servers, HOST:PORT, separated by commas (docs/fleet.md)",
        flag="--kafka",
        metavar="SERVERS",
    )
    topic: str = setting("faces", "topic of the events; the key of a record is the name of the device")
    user: Optional[str] = setting(None, "user name for SASL; without one, the servers must take anyone")
    password: Optional[str] = setting(None, "where the password is: env:NAME or file:PATH", secret=True)
    mechanism: str = setting(
        "SCRAM-SHA-512", "how the password is checked", choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    )
    tls: bool = setting(False, "connect with TLS; certificates are verified")
    ca_file: Optional[Path] = setting(
        None, "trust certificates signed by those in this PEM file, instead of the system's"
    )
    timeout_s: float = setting(10.0, "seconds after which records have failed", minimum=0.1, maximum=600)


@dataclass(frozen=True)
class NatsSettings:
    """Events for a stream of NATS JetStream."""

    url: Optional[str] = setting(
        None,
        "send events to NATS JetStream, nats://host or tls://host (docs/fleet.md)",
        flag="--nats",
        metavar="URL",
    )
    user: Optional[str] = setting(None, "user name for the server")
    password: Optional[str] = setting(None, "where the password is: env:NAME or file:PATH", secret=True)
    ca_file: Optional[Path] = setting(
        None, "trust certificates signed by those in this PEM file, instead of the system's"
    )
    subject: str = setting("faces", "subjects are SUBJECT.DEVICE.event.KIND")
    stream: str = setting("FACES", "stream that is made for these subjects if the server has none")
    keep_days: float = setting(
        7.0, "days for which that stream keeps events; one that exists keeps its own", minimum=0.01, maximum=36500
    )
    timeout_s: float = setting(
        10.0, "seconds after which a connection or a message has failed", minimum=0.1, maximum=600
    )


@dataclass(frozen=True)
class OnEventSettings:
    """A command of the user's own for each event."""

    command: Optional[str] = setting(
        None,
        "start this command for each event: its JSON is on standard input, EVENT, EVENT_NAME and EVENT_CHANNEL are in "
        "the environment; no shell is used",
        flag="--on-event",
        metavar="COMMAND",
    )
    timeout_s: float = setting(
        30.0, "seconds after which a command is killed, with what it has started", minimum=0.1, maximum=86400
    )
    max_running: int = setting(
        4, "commands that run at the same time; with 1, they run in the order of events", minimum=1, maximum=64
    )
