"""Several receivers at different speeds, while the program and their servers are killed at random moments."""

import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from kafka_cluster import KafkaCluster
from mosquitto import MISSING as MOSQUITTO_MISSING
from mosquitto import Broker, Subscriber
from nats_server import MISSING as NATS_MISSING
from nats_server import NatsServer
from waiting import until
from web_server import WebServer

from app.database.connection import connected
from app.database.schema import migrate
from app.settings import FleetSettings

for package in ("confluent_kafka", "nats", "paho.mqtt.client"):
    pytest.importorskip(package)
pytestmark = pytest.mark.skipif(bool(NATS_MISSING or MOSQUITTO_MISSING), reason=str(NATS_MISSING or MOSQUITTO_MISSING))
ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def closing(*things):
    with contextlib.ExitStack() as stack:
        for thing in things:
            stack.callback(thing.close)
        yield


@contextlib.contextmanager
def program(config):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, str(Path(__file__).with_name("deliver_events.py")), str(config)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        started.stdout.readline()
        yield started


def show(started):
    started.stdin.write("\n")
    started.stdin.flush()
    started.stdout.readline()


def written(folder):
    """The id of the log and its lines by number."""
    found = [
        json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()
    ]
    (log,) = {record["log"] for record in found if record["event"] == "log"}
    return log, {record["sequence"]: record for record in found if record["event"] != "log"}


@pytest.mark.slow
def test_kill_9_of_the_program_and_of_each_server_loses_nothing_and_keys_stay_unique(tmp_path, postgres, database):
    chance = random.Random(15)
    with connected(FleetSettings(database=database)) as connection:
        migrate(connection)
    for name in ("log", "nats", "mqtt"):
        (tmp_path / name).mkdir()
    nats, kafka, web = NatsServer(tmp_path / "nats"), KafkaCluster(), WebServer()
    durable = ["persistence true", "autosave_interval 1", "autosave_on_changes true"]
    # It acknowledges an event before it saves it. So it must not wait for a slow subscriber either: what it has sent
    # arrives, also when it is killed.
    durable.append("max_inflight_messages 0")
    broker = Broker(tmp_path / "mqtt", ["allow_anonymous true", f"persistence_location {tmp_path / 'mqtt'}/", *durable])
    subscriber = Subscriber(broker.port, ("faces/#",), client_id="watching", clean_session=False)
    until(lambda: broker.has_saved(b"watching"))
    config = tmp_path / "log" / "c.yaml"
    config.write_text(
        f"output:\n  events: e.jsonl\n  events_max_mb: 0.03\ndelivery:\n  device: door\n"
        f"webhook:\n  url: {web.url}\n  retry_max_s: 0.05\nfleet:\n  database: {database}\n"
        f"nats:\n  url: {nats.url}\nkafka:\n  servers: {kafka.servers}\nmqtt:\n  url: mqtt://127.0.0.1:{broker.port}\n",
        encoding="utf-8",
    )
    with closing(nats, broker, subscriber):
        for life in range(8):
            with program(config) as started:
                for step in range(chance.randrange(20, 80)):
                    show(started)
                    if chance.random() < 0.2:
                        web.answers += [503] * chance.randrange(1, 4)  # the slow one
                    if step == 10:
                        victim = [postgres, nats, broker, None][life % 4]
                        if victim is not None:
                            victim.kill()
                    if step == 30 and victim is not None and victim.process.poll() is not None:
                        victim.start()
                if victim is not None and victim.process.poll() is not None:
                    victim.start()
                started.kill()
        web.answers = []
        log, events = written(tmp_path / "log")
        with program(config) as started:
            log, events = written(tmp_path / "log")
            keys = {f"door/{log}/{number}" for number in events}
            until(lambda: keys <= {event["key"] for event in subscriber.events()})
            until(lambda: keys <= {event["key"] for event in web.events})
            until(lambda: keys <= {record[2] for record in kafka.records()})
            until(lambda: keys <= {key for _, key, _ in nats.stored()})
            until(lambda: len(keys) <= postgres.sql(database.rpartition("/")[2], "select count(*) from event")[0][0])
            started.stdin.close()
        log, events = written(tmp_path / "log")
        assert sorted(events) == list(range(1, max(events) + 1))
        expected = {f"door/{log}/{number}": {"key": f"door/{log}/{number}", **line} for number, line in events.items()}

        rows = postgres.sql(database.rpartition("/")[2], "select device, log, sequence, body from event")
        assert len(rows) == len(expected), "no key is there twice"
        assert {"/".join(map(str, row[:3])): {"key": "/".join(map(str, row[:3])), **row[3]} for row in rows} == expected
        stored = nats.stored()
        assert {key: json.loads(body) for _, key, body in stored} == expected
        assert len(stored) == len(expected), "the server has recognised what came again"
        until(lambda: expected.keys() <= {event["key"] for event in subscriber.events()})
        for received in (web.events, [record[3] for record in kafka.records()], subscriber.events()):
            assert {event["key"]: event for event in received} == expected
    web.close()
