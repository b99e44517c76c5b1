"""Who is deleted over HTTP is deleted: photos, pictures, embeddings, visits, and the person in the event log."""

import dataclasses
import errno
import io
import json
import os
import tempfile
import zipfile
from functools import partial

import pytest
from made_results import ANN, STRANGER, frame, result, track
from waiting import PATIENT_S
from web_server import WebServer

from app.events.cursors import Cursors
from app.events.delivery import Delivery
from app.events.log import EventLog
from app.events.redaction import Person
from app.events.stream import EventStream
from app.events.webhook import Webhook
from app.gallery.forgetting import ForgottenLines, finish_forgetting, without_forgotten
from app.service.feed import EventFeed
from app.settings import WebhookSettings


def traces(home, text):
    """The files in the gallery, and the event log, in which a text is still found."""
    files = [path for path in home.folder.rglob("*") if path.is_file()] + [home.log]
    return [path.name for path in files if text.encode() in path.read_bytes()]


@pytest.fixture
def grace(home, photos):
    """A person who was stranger 1, has another photo, and was merged with stranger 3 before."""
    home.post("/api/v1/strangers/stranger-1/merge", {"others": ["stranger-3"]})
    assert home.post("/api/v1/strangers/stranger-1/name", {"name": "Grace Hopper"}).status == 200
    home.upload("/api/v1/people/Grace%20Hopper/photos", files=[("photos", "b.jpg", photos[1][1])])
    return home


def test_a_person_is_deleted_with_everything(grace):
    home = grace
    assert traces(home, "Grace Hopper")
    version = home.get("/api/v1/people/Grace%20Hopper").json["version"]
    assert home.request("DELETE", "/api/v1/people/Grace%20Hopper?version=old").status == 409
    reply = home.request("DELETE", f"/api/v1/people/Grace%20Hopper?version={version}")
    assert reply.status == 200, reply.body
    assert (reply.json["photos"], reply.json["visits"], reply.json["log"]) == (2, 4, "redacted")
    assert reply.json["changed"] == [{"from": "Grace Hopper", "to": None, "visits": 4, "photos": 2}]
    assert reply.json["undo"] is None
    assert traces(home, "Grace Hopper") == [] and traces(home, "stranger-1") == []
    assert not (home.folder / "Grace Hopper").exists()
    assert list((home.folder / ".strangers").rglob("a.jpg")) == []
    assert home.get("/api/v1/undo").json["changes"] == []
    # That somebody was there stays, without who it was; others are as before.
    visits = home.get("/api/v1/visits").json["visits"]
    assert [(one["name"], one["stranger"]) for one in visits] == [(None, None), (None, "stranger-2"), (None, None)]
    assert home.audit()[-1]["action"] == "delete"
    assert home.get("/api/v1/people/Grace%20Hopper").status == 404


def test_who_has_the_same_visit_numbers_in_another_log_stays_there(grace):
    home = grace
    queue = EventLog(home.settings.delivery.queue / "events.jsonl")
    stream = EventStream(visit_gap_s=5)
    for second in range(0, 60, 10):
        there = [track(second, ANN)] if second % 20 == 0 else []
        for event in stream.handle(result(frame(captured_at=1_800_000_000.0 + second), tracks=there)):
            queue.write(event)
    queue.close()
    before = queue.path.read_bytes()
    assert before.count(b"Ann") >= 3
    assert home.request("DELETE", "/api/v1/people/Grace%20Hopper").json["log"] == "redacted"
    assert queue.path.read_bytes() == before


def test_a_stranger_is_deleted_with_everything(home):
    reply = home.request("DELETE", "/api/v1/strangers/stranger-1")
    assert (reply.json["visits"], reply.json["pictures"], reply.json["log"]) == (2, 1, "redacted")
    assert home.get("/api/v1/strangers/stranger-1").status == 404
    assert traces(home, "stranger-1") == []
    assert list((home.folder / ".strangers").rglob("a.jpg")) == []
    assert home.request("DELETE", "/api/v1/strangers/stranger-1").status == 404


def test_while_a_run_writes_the_log_it_is_shown_without_the_person_and_changed_later(grace):
    home = grace
    log = EventLog(home.log)
    reply = home.request("DELETE", "/api/v1/people/Grace%20Hopper")
    assert reply.json["log"] == "run_writes"
    assert b"Grace Hopper" in home.log.read_bytes()
    assert b"Grace" not in home.get("/api/v1/visits").body + home.get("/api/v1/events").body
    assert home.get("/api/v1/visits?person=Grace%20Hopper").json["visits"] == []
    log.close()
    # The next deletion finds it free, as the next start does.
    assert home.request("DELETE", "/api/v1/strangers/stranger-2").json["log"] == "redacted"
    assert traces(home, "Grace Hopper") == []


def test_while_a_run_writes_the_log_a_receiver_that_is_behind_gets_it_without_the_person(grace):
    home = grace
    log, server = EventLog(home.log), WebServer()
    cursors = Cursors(log, from_oldest=True)
    assert home.request("DELETE", "/api/v1/people/Grace%20Hopper").json["log"] == "run_writes"
    hook = Webhook(WebhookSettings(url=server.url))
    removes = partial(without_forgotten, home.settings)
    delivery = Delivery(hook, log, cursors, "pi", flush_s=PATIENT_S, redacted=removes)
    delivery.start()
    delivery.close()
    assert server.numbers == list(range(1, log.last + 1)) and len(server.numbers) > 4
    received = json.dumps(server.events)
    assert "Grace" not in received and "stranger-1" not in received and "stranger-2" in received
    assert b"Grace Hopper" in home.log.read_bytes()
    log.close()
    server.close()


def test_everything_that_is_stored_of_someone_is_exported(grace):
    home = grace
    reply = home.get("/api/v1/people/Grace%20Hopper/export.zip")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/zip")
    archive = zipfile.ZipFile(io.BytesIO(reply.body))
    assert archive.testzip() is None
    data = json.loads(archive.read("data.json"))
    photos = [name for name in archive.namelist() if name.startswith("photos/Grace Hopper/")]
    assert len(photos) == len(data["photos"]) == 2
    assert all(archive.read(name).startswith(b"\xff\xd8") for name in photos)
    assert len(data["visits"]) == 4 and len(data["visits"][0]["embedding"]) == len(data["photos"][0]["embedding"])
    # Of visits, and the names that the numbers got.
    assert {one["stranger"] for one in data["events"]} >= {"stranger-1", "stranger-3"}
    assert "Collins" not in str(data["events"])
    assert home.get("/api/v1/people/Nobody/export.zip").status == 404
    archive = zipfile.ZipFile(io.BytesIO(home.get("/api/v1/strangers/stranger-2/export.zip").body))
    assert "pictures/c.jpg" in archive.namelist()


def test_a_deletion_that_a_full_disk_refuses_can_be_repeated(grace, monkeypatch):
    """Without the journal, the person's strangers could not be found in the log again."""
    home, make = grace, tempfile.mkstemp

    def full(prefix, **options):
        if prefix.startswith(".forgotten"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(prefix=prefix, **options)

    with monkeypatch.context() as context:
        context.setattr(tempfile, "mkstemp", full)
        assert home.request("DELETE", "/api/v1/people/Grace%20Hopper").status == 409
    assert home.request("DELETE", "/api/v1/people/Grace%20Hopper").status == 200
    assert traces(home, "Grace Hopper") == [] and traces(home, "stranger-1") == []


def test_who_is_deleted_while_the_log_is_changed_is_removed_from_it_too(grace, monkeypatch):
    """By another program, which adds to what is to be removed."""
    home, log = grace, EventLog(grace.log)
    pending = home.folder / ".strangers" / "forgotten.json"
    assert home.request("DELETE", "/api/v1/people/Grace%20Hopper").json["log"] == "run_writes"
    first = json.loads(pending.read_bytes())
    assert home.request("DELETE", "/api/v1/strangers/stranger-2").json["log"] == "run_writes"
    both = pending.read_bytes()
    pending.write_text(json.dumps(first), encoding="utf-8")
    log.close()
    sync, added = os.fsync, []

    def add_and_sync(descriptor):
        if not added:
            added.append(pending.write_bytes(both))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", add_and_sync)
    assert finish_forgetting(home.settings)
    assert added and traces(home, "Grace Hopper") == [] and traces(home, "stranger-2") == []
    assert not pending.exists()


def test_the_picture_of_a_visit_that_ends_after_the_person_was_deleted_is_deleted_too(home):
    log = EventLog(home.log)
    stream = EventStream(log.sequence, visit_gap_s=5)
    there = dataclasses.replace(track(9, STRANGER), stranger="stranger-2")
    for event in stream.handle(result(frame(1), tracks=[there])):
        log.write(event)
    assert home.request("DELETE", "/api/v1/strangers/stranger-2").json["log"] == "run_writes"
    picture = home.log.parent / "visit-door-9.jpg"
    picture.write_bytes(b"a face")
    (left,) = stream.close()
    log.write(dataclasses.replace(left, snapshot=str(picture)))
    log.close()
    assert finish_forgetting(home.settings)
    assert not picture.exists() and b"visit-door-9" not in home.log.read_bytes()


def test_visits_of_others_that_end_after_a_person_was_deleted_do_not_mention_the_person(grace):
    home, log = grace, EventLog(grace.log)
    stream = EventStream(log.sequence, visit_gap_s=5)
    unlike = dataclasses.replace(ANN, nearest="Ann", runner_up="Grace Hopper", runner_up_similarity=0.1)
    there = track(9, unlike)
    for event in stream.handle(result(frame(1), tracks=[there])):
        log.write(event)
    assert home.request("DELETE", "/api/v1/people/Grace%20Hopper").json["log"] == "run_writes"
    (left,) = stream.close()
    log.write(left)
    newest = home.get("/api/v1/events").json["events"][0]
    assert (newest["event"], newest["name"], newest["runner_up"]) == ("left", "Ann", None)
    # Whoever gets the name later is another person.
    for event in stream.handle(result(frame(2), tracks=[track(10, unlike)])):
        log.write(event)
    log.close()
    assert finish_forgetting(home.settings)
    lines = [json.loads(line) for line in home.log.read_text(encoding="utf-8").splitlines()]
    assert [one.get("runner_up") for one in lines[-4:]] == [None, None, "Grace Hopper", "Grace Hopper"]


def test_viewers_get_no_events_of_open_visits_that_mention_who_was_deleted():
    feed, stream = EventFeed(), EventStream(visit_gap_s=5)
    unlike = dataclasses.replace(ANN, nearest="Ann", runner_up="Eve", runner_up_similarity=0.1)
    for event in stream.handle(
        result(frame(1), tracks=[track(1, unlike), track(2, dataclasses.replace(ANN, name="Eve"))])
    ):
        feed.add(event)
    assert "Eve" in str(feed.after(0))
    feed.forget(ForgottenLines(Person(["Eve"], []), {}, {}))  # there is no log
    for event in stream.close():
        feed.add(event)
    events = feed.after(0)
    assert "Eve" not in str(events)
    assert [(one["event"], one["name"]) for one in events if one["event"] == "left"] == [
        ("left", "Ann"),
        ("left", None),
    ]
    for event in stream.handle(result(frame(2), tracks=[track(3, unlike)])):
        feed.add(event)
    assert "Eve" in str(feed.after(0)), "another person, who has got the name since then"


def test_a_run_with_another_event_log_does_not_end_the_waiting_for_this_one(grace, tmp_path):
    home, log = grace, EventLog(grace.log)
    assert home.request("DELETE", "/api/v1/people/Grace%20Hopper").json["log"] == "run_writes"
    for other in (None, tmp_path / "other.jsonl"):
        EventLog(tmp_path / "other.jsonl").close()
        output = dataclasses.replace(home.settings.output, events=other)
        assert finish_forgetting(dataclasses.replace(home.settings, output=output))
    assert b"Grace" not in home.get("/api/v1/visits").body + home.get("/api/v1/events").body
    log.close()
    assert finish_forgetting(home.settings)
    assert traces(home, "Grace Hopper") == []
    assert not (home.folder / ".strangers" / "forgotten.json").exists()
