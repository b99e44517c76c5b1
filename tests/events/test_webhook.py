"""A web server gets every event at least once, with the same key each time, whatever happens to either side."""

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import os
import random
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_results import frame, result, track, visit
from waiting import PATIENT_S, until
from web_server import WebServer, certificate

from app.errors import OutputError, SettingsError
from app.events import queue
from app.events.cursors import Cursors
from app.events.delivery import Delivery, Destination, RefusedError, device_name
from app.events.log import EventLog
from app.events.opening import open_events
from app.events.stream import EventStream
from app.events.webhook import Webhook
from app.settings import DeliverySettings, OutputSettings, Settings, WebhookSettings

ROOT = Path(__file__).resolve().parents[2]
SECRET = "do not print me"


@pytest.fixture
def server():
    server = WebServer()
    yield server
    server.released.set()
    server.close()


@pytest.fixture
def opened(tmp_path, server):
    """Opens a run with a log and a webhook, with short pauses."""

    def run(events="e.jsonl", url=None, new_receivers="now", **options):
        options = {"retry_max_s": 0.05, "timeout_s": 30.0, **options}
        return open_events(
            Settings(
                output=OutputSettings(events=events and tmp_path / events),
                delivery=DeliverySettings(device="door.pi", queue=tmp_path / "queue", new_receivers=new_receivers),
                webhook=WebhookSettings(url=url or server.url, **options),
            )
        )

    return run


def log_id(tmp_path):
    return json.loads((tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()[0])["log"]


def test_each_event_is_one_request_with_its_key(opened, server, tmp_path):
    publisher = opened()
    visit(publisher, 2)
    publisher.close()
    lines = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()[1:]]
    keys = [f"door-pi/{log_id(tmp_path)}/{number}" for number in range(1, 7)]
    assert server.events == [{"key": key, **line} for key, line in zip(keys, lines)]
    headers, _ = server.requests[3]
    assert headers["Idempotency-Key"] == headers["webhook-id"] == keys[3]
    assert headers["Content-Type"] == "application/json"
    assert publisher.lost == ()


def test_a_new_webhook_begins_with_this_run_and_an_old_one_where_it_was(opened, server, tmp_path):
    log = EventLog(tmp_path / "e.jsonl")
    log.close()
    for _ in range(3):
        publisher = opened()
        visit(publisher)
        publisher.close()
    assert server.numbers == list(range(1, 10))
    (tmp_path / f"cursors-{log_id(tmp_path)}.json").unlink()
    publisher = opened()
    visit(publisher)
    publisher.close()
    assert server.numbers == list(range(1, 13)), "without a cursor, old events are not sent again"


def test_a_new_webhook_may_begin_with_the_oldest_event_that_is_still_in_a_file(opened, server, tmp_path):
    log, number = EventLog(tmp_path / "e.jsonl"), 0
    stream = EventStream()
    for rotated in ("e.jsonl.2", "e.jsonl.1", None):
        for _ in range(2):
            number += 1
            for event in stream.handle(result(frame(number), tracks=[track(number)])):
                log.write(event)
        if rotated:
            log.path.rename(tmp_path / rotated)
    log.close()
    (tmp_path / "e.jsonl.2").unlink()
    first = json.loads((tmp_path / "e.jsonl.1").read_text(encoding="utf-8").splitlines()[0])["after"] + 1
    publisher = opened(new_receivers="oldest")
    until(lambda: server.numbers and server.numbers[-1] > log.last)  # the last visit is closed by this run
    publisher.close()
    assert first > 1 and server.numbers[0] == first and publisher.lost == ()
    assert server.numbers == list(range(first, server.numbers[-1] + 1))


def test_a_log_without_a_header_gets_its_id_with_the_first_run_that_continues_it(opened, server, tmp_path):
    publisher = opened()
    visit(publisher, 2)
    publisher.close()
    path = tmp_path / "e.jsonl"
    header, *lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines))
    next(tmp_path.glob("cursors-*.json")).unlink()
    server.requests.clear()
    for _ in range(2):
        publisher = opened(new_receivers="oldest")
        visit(publisher)
        publisher.close()
    assert server.numbers == list(range(1, 13)) and publisher.lost == ()
    (log,) = {event["key"].split("/")[1] for event in server.events}
    assert log != json.loads(header)["log"]
    assert log.encode() in path.read_bytes()


def test_one_event_that_is_refused_costs_none_of_those_that_were_sent_with_it(tmp_path):
    class Choosy(Destination):
        name, batch = "choosy", 10

        def __init__(self):
            self.taken = []

        def send(self, messages):
            if any(message.record["sequence"] == 3 for message in messages):
                raise RefusedError("not this one")
            self.taken += [message.record["sequence"] for message in messages]

    log, choosy = EventLog(tmp_path / "e.jsonl"), Choosy()
    delivery = Delivery(choosy, log, Cursors(log), "door")
    for event in events(6):
        log.write(event)
    delivery.start()
    delivery.close()
    assert choosy.taken == [1, 2, 4, 5, 6]
    assert (delivery.refused, delivery.delivered, delivery.cursor.saved) == (1, 5, 6)
    log.close()


@pytest.mark.parametrize("answer", [500, 503, 404, 401, 429, "close"])
def test_a_server_that_fails_gets_the_same_event_with_the_same_key_again(opened, server, answer):
    server.answers = [200, answer, answer, 200]
    publisher = opened()
    visit(publisher)
    until(lambda: len(server.requests) == 3)
    publisher.close()
    assert server.numbers == [1, 2, 3]
    assert server.attempts >= 5
    assert publisher.lost == ()


def test_retry_after_is_followed(opened, server):
    server.answers = [(503, {"Retry-After": "1"})]
    publisher = opened(retry_max_s=0.01)
    started = time.monotonic()
    visit(publisher)
    until(lambda: len(server.requests) == 3)
    assert time.monotonic() - started >= 1
    publisher.close()


@pytest.mark.parametrize("answer", [400, 413, 422])
def test_an_event_that_the_server_refuses_is_reported_and_does_not_block_the_others(opened, server, answer, caplog):
    server.answers = [200, answer]
    publisher = opened()
    visit(publisher)
    publisher.close()
    assert server.numbers == [1, 3]
    (problem,) = publisher.lost
    assert "1 event refused" in problem and str(answer) in caplog.text


def test_redirects_are_not_followed_and_named_without_secrets(opened, server, caplog):
    elsewhere = WebServer()
    where = f"http://user:hidden@localhost:{elsewhere.port}/private?token=hidden"
    server.answers = [(301, {"Location": where})]
    publisher = opened()
    visit(publisher)
    until(lambda: len(server.requests) == 3)
    publisher.close()
    elsewhere.close()
    assert elsewhere.attempts == 0
    assert f"http://localhost:{elsewhere.port}" in caplog.text and "hidden" not in caplog.text


def test_events_wait_for_a_server_that_is_down_also_across_runs(opened, server, caplog):
    server.close()
    for _ in range(2):
        publisher = opened()
        visit(publisher)
        started = time.monotonic()
        publisher.close()
        assert time.monotonic() - started < PATIENT_S / 2, "the end does not wait for a server that is known to be down"
        assert publisher.lost == (), "they are kept, not lost"
    assert "6 events not delivered yet" in caplog.text
    again = WebServer(server.port)
    publisher = opened()
    until(lambda: again.numbers == list(range(1, 7)))
    visit(publisher)
    publisher.close()
    assert again.numbers == list(range(1, 10))
    again.close()


def test_a_server_that_hangs_or_drips_slows_nothing_and_is_asked_again(opened, server, caplog):
    server.answers = ["hang", "drip", 200]
    publisher = opened(timeout_s=0.3)
    visit(publisher)  # returns at once
    until(lambda: set(server.numbers) == {1, 2, 3})
    publisher.close()
    # On a busy machine, an answer may come too late; then the event is sent again.
    assert list(dict.fromkeys(server.numbers)) == [1, 2, 3]
    assert "no answer within 0.3 s" in caplog.text


def test_the_end_of_a_run_does_not_wait_for_a_request_that_hangs(tmp_path, server):
    server.answers = ["hang"]
    log = EventLog(tmp_path / "e.jsonl")
    delivery = Delivery(
        Webhook(WebhookSettings(url=server.url, timeout_s=600.0)), log, Cursors(log), "door", flush_s=0.2
    )
    log.on_written = delivery.wake
    delivery.start()
    log.write(events(1)[0])
    until(server.hanging.is_set)
    delivery.close()
    assert not delivery._thread.is_alive()
    assert delivery.cursor.sequence == 0
    log.close()


def test_several_servers_that_hang_are_waited_for_together(tmp_path):
    log = EventLog(tmp_path / "e.jsonl")
    servers = [WebServer() for _ in range(3)]
    deliveries = []
    cursors = Cursors(log)
    for number, server in enumerate(servers):
        server.answers = ["hang"]
        hook = Webhook(WebhookSettings(url=server.url, timeout_s=600.0))
        hook.name = f"webhook{number}"
        deliveries.append(Delivery(hook, log, cursors, "door", flush_s=600.0))
        deliveries[-1].start()
    log.write(events(1)[0])
    for delivery, server in zip(deliveries, servers):
        delivery.wake()
        until(server.hanging.is_set)
        delivery._flush_s = 0.0
        delivery.begin_close()
        delivery._flush_s = 600.0  # waiting for this long once more would exceed the time of the test
    for delivery, server in zip(deliveries, servers):
        delivery.close()
        assert not delivery._thread.is_alive()
        server.close()
    log.close()


def test_a_supervised_delivery_with_a_bug_starts_again_where_it_was(tmp_path, server):
    class Odd(Webhook):
        fails = 2

        def send(self, messages):
            if self.fails:
                self.fails -= 1
                raise ValueError("odd")
            super().send(messages)

    log, deaths = EventLog(tmp_path / "e.jsonl"), []
    delivery = Delivery(
        Odd(WebhookSettings(url=server.url)),
        log,
        Cursors(log),
        "door",
        retry_first_s=0.01,
        on_death=lambda *death: deaths.append(death),
    )
    log.on_written = delivery.wake
    delivery.start()
    for event in events(2):
        log.write(event)
    until(lambda: delivery.delivered == 2)
    delivery.close()
    assert server.numbers == [1, 2] and deaths == [("webhook", "ValueError('odd')")] * 2
    log.close()


def events(count):
    return EventStream().handle(result(frame(), tracks=[track(at) for at in range(1, count + 1)]))


def test_requests_are_signed_as_a_receiver_would_check_them(opened, server, monkeypatch):
    monkeypatch.setenv("HOOK", SECRET)
    publisher = opened(secret="env:HOOK")
    visit(publisher)
    publisher.close()
    headers, body = server.requests[0]
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET.encode(), content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 100


def test_a_secret_in_a_file_may_have_the_form_of_standard_webhooks(opened, server, tmp_path):
    (tmp_path / "secret").write_text(f"whsec_{base64.b64encode(b'raw key').decode()}\n", encoding="utf-8")
    publisher = opened(secret=f"file:{tmp_path / 'secret'}", token=f"file:{tmp_path / 'secret'}")
    visit(publisher)
    publisher.close()
    headers, body = server.requests[0]
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"raw key", content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["Authorization"].startswith("Bearer whsec_")


def test_user_and_password_of_the_address_are_sent_and_not_logged(opened, server, caplog):
    server.answers = [401]
    publisher = opened(url=server.url.replace("://", "://ann:p@ss/word@"))
    visit(publisher)
    publisher.close()
    headers, _ = server.requests[0]
    assert base64.b64decode(headers["Authorization"].split()[1]) == b"ann:p@ss/word"
    assert "401" in caplog.text and "p@ss" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"url": "localhost:80"}, "webhook.url"),
        ({"url": "ftp://localhost/"}, "webhook.url"),
        ({"url": "http://localhost:99999/"}, "webhook.url"),
        ({"secret": SECRET}, "env:NAME"),
        ({"secret": "env:NOT_THERE"}, "NOT_THERE"),
        ({"token": "file:/not/there"}, "/not/there"),
        ({"secret": "file:/dev/null"}, "/dev/null"),
        ({"url": "https://localhost/", "ca_file": Path("/not/there.pem")}, "/not/there.pem"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_at_the_start_without_the_secret(tmp_path, changes, named):
    settings = Settings(
        output=OutputSettings(events=tmp_path / "e.jsonl"),
        webhook=WebhookSettings(**{"url": "http://localhost/", **changes}),
    )
    with pytest.raises(SettingsError) as refused:
        open_events(settings)
    assert named in str(refused.value) and SECRET not in str(refused.value)
    assert not (tmp_path / "e.jsonl").exists()


@pytest.mark.parametrize(("name", "is_trusted"), [("localhost", True), ("localhost", False), ("elsewhere", True)])
def test_certificates_and_their_names_are_verified(opened, tmp_path, caplog, name, is_trusted):
    pem, key = certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    server = WebServer(tls=context)
    publisher = opened(url=server.url, ca_file=pem if is_trusted else None)
    visit(publisher)
    publisher.close()
    works = is_trusted and name == "localhost"
    assert server.numbers == ([1, 2, 3] if works else [])
    assert ("certificate is not trusted" in caplog.text) is not works
    server.close()


def test_without_a_log_events_wait_in_the_queue(opened, server, tmp_path):
    server.close()
    publisher = opened(events=None)
    visit(publisher)
    publisher.close()
    assert publisher.written == (), "the queue is not a result of the run"
    again = WebServer(server.port)
    publisher = opened(events=None)
    visit(publisher)
    publisher.close()
    assert again.numbers == list(range(1, 7))
    again.close()
    assert {path.name for path in tmp_path.iterdir()} == {"queue"}


def bytes_in(folder):
    """Without files that the queue renames or deletes meanwhile."""
    total = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def test_a_full_queue_loses_its_oldest_events_and_says_so(tmp_path, server, caplog):
    settings = Settings(
        delivery=DeliverySettings(queue=tmp_path / "queue", queue_max_mb=0.05),
        webhook=WebhookSettings(url=f"http://localhost:{server.port}/", retry_max_s=0.05),
    )
    server.answers = [503] * 10_000
    publisher = open_events(settings)
    visit(publisher, 100)
    until(lambda: bytes_in(tmp_path / "queue") > 40_000)
    publisher.close()
    size = sum(path.stat().st_size for path in (tmp_path / "queue").iterdir())
    assert size < 60_000
    server.answers = []
    publisher = open_events(settings)
    publisher.close()
    (problem,) = publisher.lost
    assert server.numbers == list(range(server.numbers[0], 301))
    assert f"{server.numbers[0] - 1} events lost" in problem


def test_files_of_the_queue_are_deleted_when_everything_is_delivered(tmp_path, server):
    settings = Settings(
        delivery=DeliverySettings(queue=tmp_path / "queue", queue_max_mb=0.2),
        webhook=WebhookSettings(url=server.url),
    )
    for _ in range(8):
        publisher = open_events(settings)
        visit(publisher, 40)
        publisher.close()
    assert server.numbers == list(range(1, 961))
    assert len(list((tmp_path / "queue").glob("*.jsonl"))) <= 4


def test_a_queue_that_another_run_has_is_refused_with_advice(opened, monkeypatch):
    monkeypatch.setattr(queue, "LOCK_WAIT_S", 0.0)
    publisher = opened(events=None)
    with pytest.raises(OutputError, match="--events FILE"):
        opened(events=None)
    publisher.close()


def test_a_damaged_cursor_is_refused_and_named(opened, tmp_path):
    publisher = opened()
    publisher.close()
    cursor = tmp_path / f"cursors-{log_id(tmp_path)}.json"
    cursor.write_text("{", encoding="utf-8")
    with pytest.raises(OutputError, match=cursor.name):
        opened()


@pytest.mark.parametrize(
    ("name", "shown"), [("door", "door"), ("front door.local", "front-door-local"), ("/#+", "device"), ("ö", "device")]
)
def test_the_device_is_named_without_letters_that_topics_or_keys_cannot_have(name, shown):
    assert device_name(name) == shown


@pytest.mark.slow
def test_kill_9_of_either_side_at_random_loses_nothing_and_repeats_with_the_same_key(tmp_path):
    """Twelve lives of the program; the server dies, fails and comes back in between."""
    chance = random.Random(7)
    server = WebServer()
    config = tmp_path / "c.yaml"
    config.write_text(
        f"output:\n  events: e.jsonl\n  events_max_mb: 0.02\ndelivery:\n  device: door\n"
        f"webhook:\n  url: {server.url}\n  retry_max_s: 0.05\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, str(Path(__file__).with_name("deliver_events.py")), str(config)]
    received, acknowledged = [], []
    for life in range(12):
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as program:
            program.stdout.readline()
            for _ in range(chance.randrange(20, 120)):
                if chance.random() < 0.1:
                    server.answers += chance.choices([500, "close", 503], k=chance.randrange(1, 4))
                if chance.random() < 0.02:
                    server.close()
                    received += server.requests
                    server = WebServer(server.port)
                program.stdin.write("\n")
                program.stdin.flush()
                program.stdout.readline()
            if life == 11:
                server.answers = []
                program.communicate()
                assert program.returncode == 0
            else:
                program.kill()
    received += server.requests
    server.close()
    for path in tmp_path.glob("*.jsonl"):
        acknowledged += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    log = {record["log"] for record in acknowledged if record["event"] == "log"}
    written = {record["sequence"]: record for record in acknowledged if record["event"] != "log"}
    assert len(log) == 1 and sorted(written) == list(range(1, max(written) + 1))
    delivered = {}
    for headers, body in received:
        event = json.loads(body)
        key = event.pop("key")
        assert key == headers["Idempotency-Key"] == f"door/{next(iter(log))}/{event['sequence']}"
        assert delivered.setdefault(key, event) == event, "one key, one event"
    assert {event["sequence"]: event for event in delivered.values()} == written
    logging.getLogger(__name__).info("%d events, %d requests", len(written), len(received))
