"""A real NATS server stores each event once, in its stream; it may die and come back."""

import json
import socket

import pytest
from made_results import visit
from nats_server import MISSING, NatsServer
from waiting import until
from web_server import certificate

from app.errors import SettingsError
from app.events.opening import open_events
from app.settings import DeliverySettings, NatsSettings, OutputSettings, Settings, TrackingSettings

pytest.importorskip("nats", reason="nats-py is not installed")
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.fixture
def server(tmp_path):
    server = NatsServer(tmp_path / "store")
    yield server
    server.close()


@pytest.fixture
def opened(tmp_path):
    publishers = []

    def run(url, new_receivers="now", **options):
        publisher = open_events(
            Settings(
                output=OutputSettings(events=tmp_path / "e.jsonl"),
                delivery=DeliverySettings(device="pi", new_receivers=new_receivers),
                tracking=TrackingSettings(visit_gap_s=0.0),
                nats=NatsSettings(url=url, **options),
            )
        )
        publishers.append(publisher)
        return publisher

    yield run
    for publisher in publishers:
        publisher.close()


def test_each_event_is_a_message_with_its_key_in_a_stream_that_is_made(opened, server, tmp_path):
    publisher = opened(server.url)
    visit(publisher)
    publisher.close()
    header, *lines = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()]
    keys = [f"pi/{header['log']}/{number}" for number in (1, 2, 3)]
    subjects = [f"faces.pi.event.{kind}" for kind in ("enter", "identified", "left")]
    assert [stored[:2] for stored in server.stored()] == list(zip(subjects, keys))
    bodies = [json.loads(body) for _, _, body in server.stored()]
    assert bodies == [{"key": key, **line} for key, line in zip(keys, lines)]
    assert publisher.lost == ()


def test_an_event_that_is_sent_again_is_stored_once(opened, server, tmp_path):
    for _ in range(3):
        publisher = opened(server.url, new_receivers="oldest")
        visit(publisher)
        publisher.close()
        next(tmp_path.glob("cursors-*.json")).unlink()
    assert [json.loads(body)["sequence"] for _, _, body in server.stored()] == list(range(1, 10))


def test_a_server_that_is_killed_while_it_is_written_to_misses_nothing(opened, server, caplog):
    publisher = opened(server.url)
    for _ in range(2):
        visit(publisher, 60)
        until(lambda: publisher.deliveries()[0].done > 0)
        server.kill()
        visit(publisher, 60)
        server.start()
    until(lambda: publisher.deliveries()[0].waiting == 0)
    publisher.close()
    assert [json.loads(body)["sequence"] for _, _, body in server.stored()] == list(range(1, 4 * 180 + 1))
    assert publisher.lost == () and "works again" in caplog.text


def test_a_stream_that_exists_is_used_as_it_is(opened, server):
    import asyncio

    import nats

    async def make():
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="ALL", subjects=["faces.*.event.*"])
        await client.close()

    asyncio.run(make())
    publisher = opened(server.url)
    visit(publisher)
    publisher.close()
    assert len(server.stored("ALL")) == 3


def test_password_and_user_come_from_the_settings_and_a_wrong_one_is_not_shown(tmp_path, opened, monkeypatch, caplog):
    server = NatsServer(tmp_path / "secured", "--user", "faces", "--pass", "right")
    monkeypatch.setenv("NATS", "wrong")
    publisher = opened(server.url, user="faces", password="env:NATS")
    visit(publisher)
    until(lambda: "Authorization" in caplog.text)
    publisher.close()
    assert "wrong" not in caplog.text
    monkeypatch.setenv("NATS", "right")
    publisher = opened(server.url, user="faces", password="env:NATS")
    until(lambda: publisher.deliveries()[0].waiting == 0)
    publisher.close()
    assert len(server.stored(user="faces", password="right")) == 3
    server.close()


@pytest.mark.parametrize("is_trusted", [True, False])
def test_certificates_are_verified(tmp_path, opened, caplog, is_trusted):
    pem, key = certificate(tmp_path)
    server = NatsServer(tmp_path / "store", "--tls", "--tlscert", str(pem), "--tlskey", str(key))
    publisher = opened(f"tls://localhost:{server.port}", ca_file=pem if is_trusted else None)
    visit(publisher)
    if is_trusted:
        until(lambda: publisher.deliveries()[0].waiting == 0)
    else:
        until(lambda: "certificate" in caplog.text)
        assert publisher.deliveries()[0].done == 0
    publisher.close()
    server.close()


def test_a_server_that_accepts_and_says_nothing_is_given_up_after_the_time_out(opened, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publisher = opened(f"nats://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        visit(publisher)
        until(lambda: "no answer within 0.2 s" in caplog.text)
        publisher.close()
    assert publisher.lost == ()


@pytest.mark.parametrize(
    ("options", "named"),
    [({"url": "localhost"}, r"nats\.url"), ({"subject": "a.>"}, r"nats\.subject"), ({"password": "x"}, "env:NAME")],
    ids=str,
)
def test_what_cannot_work_is_refused_at_the_start(options, named):
    with pytest.raises(SettingsError, match=named):
        open_events(Settings(nats=NatsSettings(**{"url": "nats://localhost", **options})))
