"""Events and visits over HTTP: asked of the log, and as they happen."""

import json

import pytest
from made_results import ANN, frame, result, track
from waiting import until

from app.events.event import EventKind, RelabelEvent, SourceEvent
from app.events.log import EventLog
from app.events.stream import EventStream
from app.types import Match, Reason

BEGIN = 1_800_000_000.0
DAY_S = 86_400
UNKNOWN = Match(None, Reason.BELOW_THRESHOLD, 0.31, nearest="Ann")


@pytest.fixture
def log(tmp_path):
    """Ann at the front for 3 s, and stranger-7 in the yard, who was named Eva later; Ann again a day later."""
    path = tmp_path / "visits.jsonl"
    sink, stream = EventLog(path), EventStream(visit_gap_s=5)

    def see(seconds, source, *matches):
        tracks = [
            track(number, match, first_seen=BEGIN + seconds, last_seen=BEGIN + seconds)
            for number, match in enumerate(matches, 1)
        ]
        if UNKNOWN in matches:
            tracks = [type(one)(**{**vars(one), "stranger": "stranger-7"}) for one in tracks]
        made = frame(source=source, captured_at=BEGIN + seconds)
        boxes = [(1, 2, 30, 40)] * len(tracks)
        for event in stream.handle(result(made, boxes, matches, tracks, track_ids=[one.id for one in tracks])):
            sink.write(event)

    see(0, "front", ANN)
    see(3, "front", ANN)
    see(3, "yard", UNKNOWN)
    see(10, "front")
    see(10, "yard")
    see(DAY_S, "front", ANN)
    sink.write(RelabelEvent(sink.last + 1, EventKind.RELABEL, "", BEGIN + DAY_S + 5, "stranger-7", "Eva"))
    sink.close()
    return path


def lost(sequence):
    return SourceEvent(sequence, EventKind.SOURCE_LOST, "front", BEGIN, error="gone")


def next_event(stream):
    """Id and content of the next event of a stream."""
    fields = {}
    while "data" not in fields:
        fields = {}
        for line in iter(lambda: stream.readline().decode().rstrip("\n"), ""):
            name, _, value = line.partition(": ")
            fields[name] = value
    return fields["id"], json.loads(fields["data"])


def kinds(reply):
    return [event["event"] for event in reply.json["events"]]


def test_events_are_listed_the_last_one_first(watched, log):
    client, _ = watched(log=log)
    reply = client.get("/api/v1/events")
    numbers = [event["sequence"] for event in reply.json["events"]]
    assert numbers == sorted(numbers, reverse=True)
    assert set(kinds(reply)) == {"enter", "identified", "stranger", "left", "relabel"}
    assert reply.json["before"] is None


def test_a_long_list_comes_in_pages(watched, log):
    client, _ = watched(log=log)
    everything = client.get("/api/v1/events").json["events"]
    pages, before = [], ""
    while before is not None:
        page = client.get(f"/api/v1/events?limit=2{before and f'&before={before}'}").json
        assert len(page["events"]) <= 2
        pages += page["events"]
        before = page["before"]
    assert pages == everything


def test_events_are_chosen_by_person_channel_kind_and_time(watched, log):
    client, _ = watched(log=log)

    def found(query):
        return {(event["channel"], event.get("name"), event["event"]) for event in client.get(query).json["events"]}

    assert {name for _, name, _ in found("/api/v1/events?person=ann")} == {"Ann"}
    assert {channel for channel, _, _ in found("/api/v1/events?channel=yard")} == {"yard"}
    assert {kind for _, _, kind in found("/api/v1/events?kind=left&kind=enter")} == {"left", "enter"}
    # 1 800 000 000 is 2027-01-15T08:00Z.
    assert {kind for _, _, kind in found("/api/v1/events?since=2027-01-16T00:00:00Z")} == {
        "enter",
        "identified",
        "relabel",
    }
    assert {name for _, name, _ in found("/api/v1/events?until=2027-01-16T00:00:00%2B00:00")} == {"Ann", "Eva", None}


def test_past_events_have_the_name_that_a_stranger_got_later(watched, log):
    client, _ = watched(log=log)
    events = client.get("/api/v1/events?person=Eva&channel=yard").json["events"]
    assert {event["event"] for event in events} == {"stranger", "left"}
    assert {(event["name"], event["stranger"]) for event in events} == {("Eva", "stranger-7")}


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "since=soon", "kind=party", "unknown=2", "until=99999999999d"])
def test_wrong_questions_are_refused(watched, log, query):
    client, _ = watched(log=log)
    assert client.get(f"/api/v1/events?{query}").status == 400


def test_visits_are_listed_the_last_one_first(watched, log):
    client, _ = watched(log=log)
    visits = client.get("/api/v1/visits").json["visits"]
    assert [(visit["name"], visit["channel"], visit["ended"]) for visit in visits] == [
        ("Ann", "front", None),
        ("Eva", "yard", "gone"),
        ("Ann", "front", "gone"),
    ]
    assert visits[2]["duration_s"] == 3.0
    assert client.get("/api/v1/visits?limit=2").json["more"] is True
    assert len(client.get("/api/v1/visits?person=Ann&until=2027-01-16T00:00:00Z").json["visits"]) == 1
    assert len(client.get("/api/v1/visits?since=2027-01-16T00:00:00Z").json["visits"]) == 1


def test_a_visit_has_its_events(watched, log):
    client, _ = watched(log=log)
    (listed,) = [visit for visit in client.get("/api/v1/visits").json["visits"] if visit["name"] == "Eva"]
    details = client.get(f"/api/v1/visits/{listed['visit']}").json
    assert details["visit"] == listed
    assert [event["event"] for event in details["events"]] == ["enter", "stranger", "left"]
    for missing in ("999", "2", "x", "9" * 40):
        assert client.get(f"/api/v1/visits/{missing}").status == 404


def test_without_a_log_the_setting_is_named(served):
    for path in ("events", "visits", "visits/1", "visits/1/picture.jpg"):
        reply = served.get(f"/api/v1/{path}")
        assert reply.status == 404
        assert "output.events" in reply.json["error"]


def test_events_of_a_run_are_in_the_log_and_in_the_stream(crowd):
    client, _ = crowd
    until(lambda: client.get("/api/v1/events?kind=identified").json["events"])
    with client.opened("/api/v1/events/stream", **{"Last-Event-ID": "0"}) as stream:
        assert stream.getheader("content-type").startswith("text/event-stream")
        identity, event = next_event(stream)
    assert (identity, event["event"], event["channel"]) == ("1", "enter", "hall")
    until(lambda: len(client.get("/api/v1/visits").json["visits"]) == 3)
    names = {visit["name"] for visit in client.get("/api/v1/visits").json["visits"]}
    assert names == {"Eileen Collins", "Grace Hopper", None}


def test_the_picture_of_a_visit(watched, log, tmp_path, photo):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "visit-1.jpg").write_bytes(photo)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    text = log.read_text()
    text = text.replace('"visit": 1, ', '"snapshot": "elsewhere/pictures/visit-1.jpg", "visit": 1, ')
    log.write_text(text.replace('"visit": 3, ', '"snapshot": "../secret.jpg", "visit": 3, '))
    client, _ = watched(log=log, visit_snapshots=tmp_path / "pictures")
    visits = client.get("/api/v1/visits").json["visits"]
    assert [(visit["visit"], visit["picture"]) for visit in visits] == [(7, False), (3, True), (1, True)]
    reply = client.get("/api/v1/visits/1/picture.jpg")
    assert (reply.body, reply.headers["cache-control"]) == (photo, "private, no-store")
    # Only files of the folder of the settings, whatever the log says.
    assert client.get("/api/v1/visits/3/picture.jpg").status == 404
    assert client.get("/api/v1/visits/7/picture.jpg").status == 404


def test_a_stream_begins_with_what_happens_next(watched):
    client, view = watched("front")
    view.events.add(lost(1))
    with client.opened("/api/v1/events/stream") as stream:
        assert stream.readline() == b"retry: 2000\n"
        view.events.add(lost(2))
        assert next_event(stream)[1]["sequence"] == 2


def test_a_stream_goes_on_where_the_client_was(watched):
    client, view = watched("front")
    for number in (1, 2, 3):
        view.events.add(lost(number))
    first = view.events.id_of({"sequence": 1})
    with client.opened("/api/v1/events/stream", **{"Last-Event-ID": first}) as stream:
        identity, event = next_event(stream)
        assert (identity, event["sequence"]) == (view.events.id_of(event), 2)
        assert next_event(stream)[1]["sequence"] == 3


@pytest.mark.parametrize("known", ["0badcafe-17", "17", "nonsense", "-1"])
def test_an_id_of_another_run_is_followed_by_everything_that_is_remembered(watched, known):
    client, view = watched("front")
    view.events.add(lost(1))
    with client.opened("/api/v1/events/stream", **{"Last-Event-ID": known}) as stream:
        assert next_event(stream)[1]["sequence"] == 1


def test_what_happened_before_the_server_began_comes_from_the_log(watched, log):
    client, view = watched("front", log=log)
    newest = client.get("/api/v1/events").json["events"][0]["sequence"]
    with client.opened("/api/v1/events/stream", **{"Last-Event-ID": "2"}) as stream:
        for number in range(3, newest + 1):
            identity, event = next_event(stream)
            assert (identity, event["sequence"]) == (str(number), number)
        view.events.add(lost(newest + 1))
        assert next_event(stream)[0] == str(newest + 1)


def test_a_log_that_begins_again_does_not_silence_the_stream(watched, log):
    client, view = watched("front", log=log)
    with client.opened("/api/v1/events/stream", **{"Last-Event-ID": "5000"}) as stream:
        until(lambda: view.viewers.count == 1)
        stream.readline()
        newest = client.get("/api/v1/events").json["events"][0]["sequence"]
        view.events.add(lost(newest + 1))
        assert next_event(stream)[0] == str(newest + 1)


def test_old_events_are_forgotten_where_there_is_no_log(watched):
    from app.service.feed import MAX_REMEMBERED

    client, view = watched("front")
    for number in range(1, MAX_REMEMBERED + 11):
        view.events.add(lost(number))
    with client.opened("/api/v1/events/stream", **{"Last-Event-ID": view.events.id_of({"sequence": 3})}) as stream:
        assert next_event(stream)[1]["sequence"] == 11


def test_a_damaged_log_is_reported_without_a_traceback(watched, tmp_path):
    path = tmp_path / "visits.jsonl"
    path.write_text("nonsense\n")
    client, _ = watched(log=path)
    assert client.get("/api/v1/events").status == 503
