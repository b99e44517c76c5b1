"""Changes of people and strangers are undone over HTTP, also after a crash, unless something depends on them."""

import json
import shutil
import signal
import subprocess
import sys

import pytest
from http_client import Client, free_port
from shipped import ROOT
from waiting import until

from app.events.log import EventLog


def listed(client):
    return {one["stranger"]: one for one in client.get("/api/v1/strangers").json["strangers"]}


def people(client):
    return {one["name"]: one["photos"] for one in client.get("/api/v1/people").json["people"]}


def log_names(client):
    return [one["name"] or one["stranger"] for one in client.get("/api/v1/visits").json["visits"]][::-1]


def patch(client, person, **body):
    return client.request("PATCH", f"/api/v1/people/{person}", json.dumps(body).encode())


def undo(client, reply):
    return client.post(f"/api/v1/undo/{reply.json['undo']}", {})


def test_strangers_who_were_merged_are_two_again(home):
    before = listed(home)
    merged = home.post("/api/v1/strangers/stranger-2/merge", {"others": ["stranger-1", "stranger-3"]})
    assert merged.json["changed"] == [
        {"from": "stranger-1", "to": "stranger-2", "visits": 2, "photos": 0},
        {"from": "stranger-3", "to": "stranger-2", "visits": 2, "photos": 0},
    ]
    reply = undo(home, merged)
    assert reply.status == 200, reply.body
    assert reply.json["changed"] == [
        {"from": "stranger-2", "to": "stranger-1", "visits": 2, "photos": 0},
        {"from": "stranger-2", "to": "stranger-3", "visits": 2, "photos": 0},
    ]
    assert listed(home) == before
    assert home.get("/api/v1/strangers/stranger-1/pictures/a.jpg").status == 200
    assert [entry["action"] for entry in home.audit()] == ["merge strangers", "undo"]
    assert home.audit()[1]["id"] == home.audit()[0]["undo"] == merged.json["undo"]


def test_a_name_that_was_given_to_a_stranger_is_taken_back(home):
    before = listed(home)
    named = home.post("/api/v1/strangers/stranger-1/name", {"name": "Grace Hopper"})
    assert people(home) == {"Collins": 1, "Grace Hopper": 1}
    assert log_names(home) == ["Grace Hopper", "stranger-2", "Grace Hopper"]
    reply = undo(home, named)
    assert reply.json["changed"] == [{"from": "Grace Hopper", "to": "stranger-1", "visits": 2, "photos": 1}]
    assert reply.json["log"] == "relabelled"
    assert people(home) == {"Collins": 1}
    assert listed(home) == before
    assert log_names(home) == ["stranger-1", "stranger-2", "stranger-1"]
    assert not (home.folder / "Grace Hopper").exists()
    crop = home.get("/api/v1/strangers/stranger-1/pictures/a.jpg")
    assert crop.status == 200 and crop.body.startswith(b"\xff\xd8")
    # The next run reads it from the log as well.
    log = EventLog(home.log)
    log.close()
    assert log.relabels == {}


def test_a_name_that_a_stranger_got_of_a_person_is_taken_back_without_touching_the_person(home, photos):
    home.upload("/api/v1/people/Grace/photos", files=[("photos", "own.jpg", photos[1][1])])
    before = home.get("/api/v1/people/Grace").json
    named = home.post("/api/v1/strangers/stranger-1/name", {"name": "Grace"})
    assert undo(home, named).status == 200
    assert home.get("/api/v1/people/Grace").json == before


def test_a_person_who_was_renamed_has_the_old_name_again_with_everything_since(home, photos):
    home.post("/api/v1/strangers/stranger-1/name", {"name": "Grace"})
    renamed = patch(home, "Grace", name="Grace Hopper")
    assert renamed.json["changed"] == [{"from": "Grace", "to": "Grace Hopper", "visits": 2, "photos": 1}]
    assert log_names(home) == ["Grace Hopper", "stranger-2", "Grace Hopper"]
    home.upload("/api/v1/people/Grace Hopper/photos".replace(" ", "%20"), files=[("photos", "b.jpg", photos[1][1])])
    reply = undo(home, renamed)
    assert reply.json["changed"] == [{"from": "Grace Hopper", "to": "Grace", "visits": 2, "photos": 2}]
    assert people(home) == {"Collins": 1, "Grace": 2}
    assert log_names(home) == ["Grace", "stranger-2", "Grace"]


def test_two_people_who_were_merged_are_two_again(home, photos):
    home.post("/api/v1/strangers/stranger-1/name", {"name": "Grace"})
    home.upload("/api/v1/people/Grace/photos", files=[("photos", "b.jpg", photos[1][1])])
    home.upload("/api/v1/people/Eva/photos", files=[("photos", "c.jpg", photos[0][1])])
    before = {name: home.get(f"/api/v1/people/{name}").json for name in ("Grace", "Eva")}
    assert patch(home, "Grace", name="Eva").status == 400
    merged = patch(home, "Grace", name="Eva", merge=True)
    assert merged.json["changed"] == [{"from": "Grace", "to": "Eva", "visits": 2, "photos": 2}]
    assert people(home) == {"Collins": 1, "Eva": 3}
    assert log_names(home) == ["Eva", "stranger-2", "Eva"]
    reply = undo(home, merged)
    assert reply.json["changed"] == [{"from": "Eva", "to": "Grace", "visits": 2, "photos": 2}]
    assert {name: home.get(f"/api/v1/people/{name}").json for name in ("Grace", "Eva")} == before
    assert log_names(home) == ["Grace", "stranger-2", "Grace"]


def test_splitting_and_ignoring_are_undone(home):
    before = listed(home)
    divided = home.post("/api/v1/strangers/stranger-3/split", {})
    assert divided.json["changed"] == [{"from": "stranger-3", "to": "stranger-4", "visits": 1, "photos": 0}]
    assert undo(home, divided).status == 200
    ignored = home.request("POST", "/api/v1/strangers/stranger-1/ignore")
    assert ignored.json["changed"] == [] and ignored.json["undo"]
    assert undo(home, ignored).status == 200
    assert listed(home) == before
    assert home.post("/api/v1/strangers/stranger-1/ignore", {"ignored": False}).json["undo"] is None


def test_what_something_later_depends_on_is_not_undone(home, photos):
    merged = home.post("/api/v1/strangers/stranger-1/merge", {"others": ["stranger-3"]})
    named = home.post("/api/v1/strangers/stranger-1/name", {"name": "Grace"})
    refused = undo(home, merged)
    assert refused.status == 409
    assert named.json["undo"] in refused.json["error"], "it says what has to be undone first"
    home.upload("/api/v1/people/Eva/photos", files=[("photos", "c.jpg", photos[0][1])])
    people_merged = patch(home, "Grace", name="Eva", merge=True)
    assert people_merged.json["undo"] in undo(home, named).json["error"]
    for change in (people_merged, named, merged):
        assert undo(home, change).status == 200
    assert {name: one["visits"] for name, one in listed(home).items()} == {
        "stranger-1": 2,
        "stranger-2": 1,
        "stranger-3": 2,
    }


def test_a_name_that_another_person_got_since_is_not_taken_back(home, photos):
    renamed = patch(home, "Collins", name="Eileen")
    home.upload("/api/v1/people/Collins/photos", files=[("photos", "c.jpg", photos[0][1])])
    assert undo(home, renamed).status == 409
    assert people(home) == {"Collins": 1, "Eileen": 1}
    home.request("DELETE", "/api/v1/people/Collins")
    # Who is deleted is deleted: with the name goes what could be undone.
    assert undo(home, renamed).status in (200, 404)


def test_a_change_is_undone_once(home):
    ignored = home.request("POST", "/api/v1/strangers/stranger-1/ignore")
    assert undo(home, ignored).status == 200
    assert undo(home, ignored).status == 409
    assert home.post("/api/v1/undo/0123456789abcdef", {}).status == 404
    assert home.post("/api/v1/undo/..%2F..", {}).status == 404
    (change,) = home.get("/api/v1/undo").json["changes"]
    assert (change["id"], change["action"], change["undone"]) == (ignored.json["undo"], "ignore stranger", True)


def test_old_changes_cannot_be_undone_and_leave_nothing(home):
    merged = home.post("/api/v1/strangers/stranger-2/merge", {"others": ["stranger-1"]})
    record = home.folder / ".strangers" / "undo" / merged.json["undo"] / "change.json"
    assert (record.parent / "a.jpg").exists()
    fields = json.loads(record.read_text())
    record.write_text(json.dumps({**fields, "time": fields["time"] - 8 * 86400}))
    home.request("POST", "/api/v1/strangers/stranger-2/ignore")
    assert undo(home, merged).status == 404
    assert not record.parent.exists()


@pytest.fixture
def process(home, config_file):
    """Starts a server of its own in the gallery of `home`; `kill -9` ends it."""
    started = []

    def start():
        port = free_port()
        words = ["serve", "--config", str(config_file), "--gallery", str(home.folder), "--events", str(home.log)]
        process = subprocess.Popen(
            [sys.executable, "-m", "app", *words, "--port", str(port)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        client = Client(port)

        def answers():
            assert process.poll() is None, process.stderr.read()
            try:
                return client.get("/health").status == 200
            except OSError:
                return False

        until(answers)
        client.kill = lambda: (process.send_signal(signal.SIGKILL), process.wait())
        return client

    yield start
    for one in started:
        one.kill()
        one.communicate()


def test_a_change_is_undone_after_kill_9(home, process):
    before = listed(home)
    first = process()
    named = first.post("/api/v1/strangers/stranger-1/name", {"name": "Grace Hopper"})
    merged = first.post("/api/v1/strangers/stranger-2/merge", {"others": ["stranger-3"]})
    first.kill()
    second = process()
    assert people(second) == {"Collins": 1, "Grace Hopper": 1}
    for change in (named, merged):
        reply = undo(second, change)
        assert reply.status == 200, reply.body
    assert people(second) == {"Collins": 1}
    assert listed(second) == before
    assert log_names(second) == ["stranger-1", "stranger-2", "stranger-1"]


def test_undoing_that_was_cut_in_half_is_completed(home):
    """As after a kill between the photos and the visits."""
    named = home.post("/api/v1/strangers/stranger-1/name", {"name": "Grace Hopper"})
    shutil.rmtree(home.folder / "Grace Hopper")
    reply = undo(home, named)
    assert reply.json["changed"] == [{"from": "Grace Hopper", "to": "stranger-1", "visits": 2, "photos": 0}]
    assert listed(home)["stranger-1"]["visits"] == 2


def test_an_edit_of_something_that_has_changed_meanwhile_is_refused(home, photos):
    """By a second tab, and by a photo that was put into the folder by hand."""
    stranger, person = listed(home)["stranger-1"], home.get("/api/v1/people/Collins").json
    home.post("/api/v1/strangers/stranger-1/merge", {"others": ["stranger-3"], "version": stranger["version"]})
    for action, body in (
        ("name", {"name": "Grace"}),
        ("merge", {"others": ["stranger-2"]}),
        ("split", {}),
        ("ignore", {}),
    ):
        reply = home.post(f"/api/v1/strangers/stranger-1/{action}", {**body, "version": stranger["version"]})
        assert reply.status == 409, action
    assert people(home) == {"Collins": 1}
    (home.folder / "Collins_2.jpg").write_bytes(photos[0][1])
    assert patch(home, "Collins", name="Eileen", version=person["version"]).status == 409
    fresh = home.get("/api/v1/people/Collins").json
    assert len(fresh["photos"]) == 2 and fresh["version"] != person["version"]
    assert patch(home, "Collins", name="Eileen", version=fresh["version"]).status == 200


def test_a_photo_that_shows_someone_else_is_moved_and_back(home, photos):
    home.upload("/api/v1/people/Collins/photos", files=[("photos", "b.jpg", photos[1][0])])
    before = home.get("/api/v1/people/Collins").json
    wrong = next(photo for photo in before["photos"] if photo["path"] != "Collins.jpg")
    path = f"/api/v1/people/Collins/photos/{wrong['id']}/move"
    assert home.post(path, {"name": "Grace", "version": "old"}).status == 409
    moved = home.post(path, {"name": "Grace", "version": before["version"]})
    assert moved.status == 200, moved.body
    assert moved.json["changed"] == [{"from": "Collins", "to": "Grace", "visits": 0, "photos": 1}]
    assert people(home) == {"Collins": 1, "Grace": 1}
    assert undo(home, moved).json["changed"] == [{"from": "Grace", "to": "Collins", "visits": 0, "photos": 1}]
    assert home.get("/api/v1/people/Collins").json == before
