"""A visit of the past turns out to be another person's: over HTTP, with undo, in the log and for the next face."""

import dataclasses
import json
import time
from contextlib import closing

import pytest
from made_results import ANN, frame, result, track
from waiting import until

from app.events.log import EventLog
from app.events.reading import LogReader
from app.events.stream import EventStream
from app.events.visits import visits
from app.gallery.strangers import stored_anchors
from app.identity.strangers import Seen, Visit
from app.types import Reason

COLLINS = dataclasses.replace(ANN, name="Collins", nearest="Collins")
AT = 1_800_001_000.0


@pytest.fixture
def mistaken(home, recognizer, embeddings):
    """The client of `home`, whose log says that Collins was there twice: the first time it was Hopper."""
    with closing(EventLog(home.log)) as log:
        stream = EventStream(after=log.sequence, visit_gap_s=5)
        for seconds in (0, 100):
            there = [track(70 + seconds, COLLINS, first_seen=AT + seconds, last_seen=AT + seconds)]
            for boxes, seen, moment in (([(1, 2, 30, 40)], there, seconds), ([], [], seconds + 10)):
                made = frame(source="door", captured_at=AT + moment)
                numbers = [one.id for one in seen]
                answer = result(made, boxes, [COLLINS] * len(seen), seen, track_ids=numbers)
                for event in stream.handle(answer):
                    log.write(event)
    kept = Visit("f", "door", 70, AT, AT + 1, recognizer.embedder_id, embeddings[1], 2.0, 3, name="Collins")
    home.journal.update(lambda book: [Seen(kept)])
    return home


def of_day(client):
    return [one["name"] or one["stranger"] for one in client.get("/api/v1/visits").json["visits"]][::-1]


def in_log(client):
    reader = LogReader.of_log(client.log)
    return [one.name or one.stranger for one in visits(reader.read(), reader.relabels())]


def first(client):
    """The visit that was not Collins."""
    return next(one for one in client.get("/api/v1/visits?person=Collins").json["visits"][::-1])


def path(client):
    return f"/api/v1/visits/{first(client)['visit']}/person"


def matched(client, recognizer, embedding):
    match = dataclasses.replace(COLLINS, similarity=0.6)
    return stored_anchors(client.settings, recognizer).checked(match, embedding)


BEFORE = ["stranger-1", "stranger-2", "stranger-1", "Collins", "Collins"]


def test_a_visit_is_no_longer_that_person_and_the_next_face_like_it_is_not_either(mistaken, recognizer, embeddings):
    assert of_day(mistaken) == BEFORE
    assert matched(mistaken, recognizer, embeddings[1]).name == "Collins"
    asked = path(mistaken)
    reply = mistaken.post(asked, {"version": first(mistaken)["version"]})
    assert reply.status == 200, reply.body
    assert reply.json["changed"] == [{"from": "Collins", "to": None, "visits": 1, "photos": 0}]
    assert (reply.json["face_kept"], reply.json["log"]) == (True, "relabelled")
    assert (reply.json["visit"]["name"], reply.json["visit"]["stranger"]) == (None, None)
    after = [*BEFORE[:3], None, "Collins"]
    assert of_day(mistaken) == in_log(mistaken) == after
    details = mistaken.get(asked.replace("/person", "")).json
    assert {event["name"] for event in details["events"]} == {None}
    assert len(mistaken.get("/api/v1/visits?unknown=1").json["visits"]) == 4
    assert matched(mistaken, recognizer, embeddings[1]).reason is Reason.NOT_THIS_PERSON
    mistaken.journal.refresh()
    assert mistaken.journal.book.visits["f"].name is None
    (entry,) = mistaken.audit()
    assert (entry["action"], entry["who"], entry["into"]) == ("reassign visit", "Collins", None)

    undone = mistaken.post(f"/api/v1/undo/{reply.json['undo']}", {})
    assert undone.json["changed"] == [{"from": None, "to": "Collins", "visits": 1, "photos": 0}]
    assert of_day(mistaken) == in_log(mistaken) == BEFORE
    assert matched(mistaken, recognizer, embeddings[1]).name == "Collins"
    assert mistaken.post(f"/api/v1/undo/{reply.json['undo']}", {}).status == 409
    log = EventLog(mistaken.log)
    log.close()
    assert log.relabels == {}


def test_a_visit_becomes_another_persons_who_is_renamed_and_deleted_later(mistaken, photos):
    mistaken.upload("/api/v1/people/Grace/photos", files=[("photos", "a.jpg", photos[1][0])])
    number = first(mistaken)["visit"]
    reply = mistaken.post(path(mistaken), {"name": "Grace"})
    assert reply.json["changed"] == [{"from": "Collins", "to": "Grace", "visits": 1, "photos": 0}]
    assert of_day(mistaken) == in_log(mistaken) == [*BEFORE[:3], "Grace", "Collins"]
    assert [one["visit"] for one in mistaken.get("/api/v1/visits?person=Grace").json["visits"]] == [number]
    mistaken.request("PATCH", "/api/v1/people/Grace", json.dumps({"name": "Grace Hopper"}).encode())
    assert of_day(mistaken) == in_log(mistaken) == [*BEFORE[:3], "Grace Hopper", "Collins"]
    gone = mistaken.request("DELETE", "/api/v1/people/Grace%20Hopper")
    assert (gone.status, gone.json["log"]) == (200, "redacted")
    assert of_day(mistaken) == in_log(mistaken) == [*BEFORE[:3], None, "Collins"]
    assert b"Grace" not in mistaken.log.read_bytes()


@pytest.mark.parametrize("who", ["Grace", "stranger-2"])
def test_who_is_deleted_takes_the_visits_that_were_given_to_them_and_none_of_another_log(mistaken, photos, who):
    """Every log counts its visits from 1."""
    mistaken.upload("/api/v1/people/Grace/photos", files=[("photos", "a.jpg", photos[1][0])])
    number = first(mistaken)["visit"]
    mistaken.post(path(mistaken), {"stranger": who} if who.startswith("stranger") else {"name": who})
    queue = EventLog(mistaken.settings.delivery.queue / "events.jsonl")
    stream = EventStream(visit_gap_s=5)
    for second in range(0, 20 * number, 10):
        there = [track(second, ANN)] if second % 20 == 0 else []
        for event in stream.handle(result(frame(captured_at=AT + second), tracks=there)):
            queue.write(event)
    queue.close()
    before = queue.path.read_bytes()
    assert f'"visit": {number}, '.encode() in before
    kind = "strangers" if who.startswith("stranger") else "people"
    assert mistaken.request("DELETE", f"/api/v1/{kind}/{who}").json["log"] == "redacted"
    assert queue.path.read_bytes() == before
    lines = list(LogReader.of_log(mistaken.log).read())
    assert {line["name"] for line in lines if line.get("visit") == number} == {None}
    assert who not in str(lines)


def test_a_visit_becomes_a_strangers_and_gets_the_name_that_the_stranger_gets(mistaken):
    version = first(mistaken)["version"]
    reply = mistaken.post(path(mistaken), {"stranger": "stranger-1", "version": version})
    assert reply.json["changed"] == [{"from": "Collins", "to": "stranger-1", "visits": 1, "photos": 0}]
    assert of_day(mistaken) == in_log(mistaken) == [*BEFORE[:3], "stranger-1", "Collins"]
    shown = {one["stranger"]: one["visits"] for one in mistaken.get("/api/v1/strangers").json["strangers"]}
    assert shown["stranger-1"] == 3
    mistaken.post("/api/v1/strangers/stranger-1/name", {"name": "Hopper"})
    assert of_day(mistaken) == in_log(mistaken) == ["Hopper", "stranger-2", "Hopper", "Hopper", "Collins"]


def test_an_event_stands_for_its_visit_and_an_unknown_one_can_get_a_person(mistaken):
    (left,) = mistaken.get("/api/v1/events?kind=left&limit=1").json["events"]
    assert mistaken.post(f"/api/v1/events/{left['sequence']}/person", {}).status == 200
    assert of_day(mistaken) == [*BEFORE[:4], None]
    again = mistaken.post(f"/api/v1/visits/{left['visit']}/person", {"name": "Collins"})
    assert again.json["changed"] == [{"from": None, "to": "Collins", "visits": 1, "photos": 0}]
    assert of_day(mistaken) == in_log(mistaken) == BEFORE


def test_what_cannot_be_is_refused_and_changes_nothing(mistaken):
    asked = path(mistaken)
    stale = first(mistaken)["version"]
    for body, status in (
        ({"name": "Nobody"}, 409),
        ({"name": " "}, 409),
        ({"stranger": "stranger-99"}, 404),
        ({"name": "Collins", "stranger": "stranger-1"}, 400),
        ({"version": "0" * 16}, 409),
    ):
        assert mistaken.post(asked, body).status == status
    assert mistaken.post("/api/v1/visits/9999/person", {}).status == 404
    assert mistaken.post("/api/v1/events/9999/person", {}).status == 404
    assert mistaken.post(asked, {"name": "Collins"}).json["undo"] is None
    assert of_day(mistaken) == BEFORE and mistaken.audit()[0]["undo"] is None
    assert mistaken.post(asked, {"version": stale}).status == 200
    assert mistaken.post(asked, {"name": "Collins", "version": stale}).status == 409


def test_a_run_that_writes_the_log_says_it_there_itself(meeting):
    with meeting(20) as one:
        (visit,) = one.client.get("/api/v1/visits?person=Eileen%20Collins").json["visits"]
        reply = one.client.post(f"/api/v1/visits/{visit['visit']}/person", {"stranger": "stranger-1"})
        assert (reply.status, reply.json["log"]) == (200, "run_writes")
        # It is shown at once, and logged when the run looks for changes, every 2 s; its video has few frames.
        assert one.client.get(f"/api/v1/visits/{visit['visit']}").json["visit"]["stranger"] == "stranger-1"

        def logged():
            lines = one.client.get("/api/v1/events?kind=relabel").json["events"]
            return [(line["of_visit"], line["to_stranger"]) for line in lines if "of_visit" in line]

        until(logged, lambda: one.held.go_on(1) or time.sleep(0.3))
        assert logged() == [(visit["visit"], "stranger-1")]
