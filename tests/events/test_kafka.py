"""Kafka's protocol, spoken by librdkafka's mock cluster: each event is a record of its device's partition."""

import json

import pytest
from kafka_cluster import KafkaCluster
from made_results import ANN, frame, result, track, visit
from waiting import until

from app.errors import SettingsError
from app.events.opening import open_events
from app.settings import DeliverySettings, KafkaSettings, OutputSettings, Settings, TrackingSettings

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")


@pytest.fixture(scope="module")
def cluster():
    return KafkaCluster()


@pytest.fixture
def opened(tmp_path):
    publishers = []

    def run(servers, device="pi", **options):
        publisher = open_events(
            Settings(
                output=OutputSettings(events=tmp_path / f"{device}.jsonl"),
                delivery=DeliverySettings(device=device),
                tracking=TrackingSettings(visit_gap_s=0.0),
                kafka=KafkaSettings(servers=servers, **options),
            )
        )
        publishers.append(publisher)
        return publisher

    yield run
    for publisher in publishers:
        publisher.close()


def test_each_event_is_a_record_with_its_key_in_the_partition_of_its_device(opened, cluster, tmp_path):
    publishers = [opened(cluster.servers, device) for device in ("door", "yard", "gate")]
    for publisher in publishers:
        visit(publisher, 100)
    for publisher in publishers:
        publisher.close()
        assert publisher.lost == ()
    records = cluster.records()
    for device in ("door", "yard", "gate"):
        mine = [record for record in records if record[1] == device.encode()]
        assert len({number for number, *_ in mine}) == 1, "one partition, so that they stay in order"
        header, *lines = map(json.loads, (tmp_path / f"{device}.jsonl").read_text(encoding="utf-8").splitlines())
        keys = [f"{device}/{header['log']}/{number}" for number in range(1, 301)]
        assert [key for _, _, key, _ in mine] == keys
        assert [event for *_, event in mine] == [{"key": key, **line} for key, line in zip(keys, lines)]


def test_servers_that_are_away_get_the_events_of_a_whole_run_later(opened, tmp_path, caplog):
    publisher = opened("127.0.0.1:9", topic="late", timeout_s=0.2)
    visit(publisher)
    # On a busy machine, the time may be over before the first attempt to connect.
    until(lambda: "refused" in caplog.text)
    assert publisher.deliveries()[0].is_working is False
    publisher.close()
    assert len({record.message for record in caplog.records}) < 5, "not one for each attempt to connect"
    assert publisher.lost == ()
    cluster = KafkaCluster()
    publisher = opened(cluster.servers, topic="late")
    visit(publisher)
    publisher.close()
    assert [event["sequence"] for *_, event in cluster.records("late")] == list(range(1, 7))


def test_an_event_that_is_too_large_is_skipped_and_costs_no_other(opened, cluster, monkeypatch):
    import dataclasses

    huge = dataclasses.replace(ANN, name="A" * 1_500_000)
    publisher = opened(cluster.servers, topic="large")
    visit(publisher)
    publisher.handle(result(frame(), tracks=[track(2, huge)]))
    publisher.handle(result(frame()))
    visit(publisher)
    publisher.close()
    kept = {event["sequence"] for *_, event in cluster.records("large")}
    assert {1, 2, 3, 7, 8, 9} <= kept and 5 not in kept
    assert "refused" in publisher.lost[0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ca_file": "/not/there.pem", "tls": True}, "kafka"),
        ({"user": "faces", "password": "plain"}, r"kafka\.password"),
        ({"servers": ""}, r"kafka\.servers"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_at_the_start(options, named):
    with pytest.raises(SettingsError, match=named):
        open_events(Settings(kafka=KafkaSettings(**{"servers": "localhost", **options})))
