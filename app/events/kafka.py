"""Events for Kafka: a record each, in the partition of the device, with the idempotency key as a header."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Sequence

from app.credentials import read_secret
from app.errors import OutputError, SettingsError
from app.events.delivery import Destination, Message, RefusedError
from app.settings import KafkaSettings
from app.text import install_hint

HEADER_KEY = "idempotency-key"


class Kafka(Destination):
    """Each failure gives the producer up: what it had not sent comes again from the log."""

    name = "kafka"
    batch = 500

    def __init__(self, settings: KafkaSettings, device: str) -> None:
        """Raises SettingsError."""
        try:
            import confluent_kafka
        except ImportError as error:
            raise SettingsError(f"kafka.servers (--kafka) needs {install_hint('confluent-kafka')}") from error
        self._kafka: Any = confluent_kafka
        if not (settings.servers or "").strip():
            raise SettingsError("kafka.servers (--kafka) is empty; expected servers such as host1:9092,host2:9092")
        self._topic, self._device, self._timeout_s = settings.topic, device.encode(), settings.timeout_s
        self._options: Dict[str, Any] = {
            "bootstrap.servers": settings.servers,
            "client.id": f"faces-{device}",
            "enable.idempotence": True,
            "delivery.timeout.ms": round(1000 * settings.timeout_s),
            "security.protocol": ("SASL_" if settings.user else "") + ("SSL" if settings.tls else "PLAINTEXT"),
            "error_cb": self._heard,
            "log_level": 0,  # it logs each attempt to connect; `error_cb` hears why they fail
        }
        if settings.user is not None:
            password = "" if settings.password is None else read_secret(settings.password, "kafka.password")
            sasl = {"mechanism": settings.mechanism, "username": settings.user, "password": password}
            self._options.update({f"sasl.{key}": value for key, value in sasl.items()})
        if settings.ca_file is not None:
            self._options["ssl.ca.location"] = str(settings.ca_file)
        self._producer: Any = None
        self._reason = ""
        self._is_aborted = False
        self._started()

    def send(self, messages: Sequence[Message]) -> None:
        producer = self._started()
        failed: List[Any] = []
        try:
            for message in messages:
                header = [(HEADER_KEY, message.key.encode())]
                producer.produce(self._topic, message.body(), self._device, headers=header, on_delivery=_into(failed))
            end = time.monotonic() + self._timeout_s
            while producer.flush(0.1) and not failed and time.monotonic() < end and not self._is_aborted:
                pass
        except self._kafka.KafkaException as error:
            failed.append(error.args[0])
        if failed or len(producer):
            self.close()
            if failed and failed[0].code() == self._kafka.KafkaError.MSG_SIZE_TOO_LARGE:
                raise RefusedError(failed[0].str())
            timed_out = not failed or failed[0].code() == self._kafka.KafkaError._MSG_TIMED_OUT
            late = self._reason or f"no acknowledgement within {self._timeout_s:g} s"
            raise OutputError(late if timed_out else failed[0].str())

    def close(self) -> None:
        if self._producer is not None:
            self._producer.purge()
        self._producer = None

    def abort(self) -> None:
        self._is_aborted = True

    def _started(self) -> Any:
        """The producer, which connects in a thread of its own. Raises SettingsError for options it does not take."""
        if self._producer is None:
            self._reason = ""
            try:
                self._producer = self._kafka.Producer(self._options)
            except self._kafka.KafkaException as error:
                raise SettingsError(f"kafka (kafka.servers, --kafka): {error.args[0].str()}") from error
        return self._producer

    def _heard(self, error: Any) -> None:
        """Why the brokers cannot be reached, from the thread of `send`."""
        if error.code() != self._kafka.KafkaError._ALL_BROKERS_DOWN:
            self._reason = error.str().partition(" (after")[0]


def _into(failed: List[Any]) -> Any:
    return lambda error, _: failed.append(error) if error is not None else None
