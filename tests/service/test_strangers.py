"""Strangers over HTTP, with the demo's portraits and the real networks."""

import dataclasses
import json

import cv2
import pytest
from http_client import serving

from app.events.log import EventLog


def listed(client, query=""):
    return {one["stranger"]: one for one in client.get(f"/api/v1/strangers{query}").json["strangers"]}


def test_strangers_are_listed_with_the_people_who_resemble_them(home):
    found = listed(home)
    assert {name: one["visits"] for name, one in found.items()} == {"stranger-1": 2, "stranger-2": 1, "stranger-3": 2}
    first = found["stranger-1"]
    assert (first["pictures"], first["channels"], first["ignored"]) == (["a.jpg"], ["door"], False)
    assert first["first_seen"] < first["last_seen"]
    (nearest,) = first["nearest"]
    assert nearest["name"] == "Collins" and nearest["similarity"] < 0.4


def test_a_server_without_strangers_lists_none(served):
    assert served.get("/api/v1/strangers").json == {"strangers": [], "ignored": 0}
    assert served.get("/api/v1/strangers/stranger-1").status == 404


def test_a_stranger_has_visits_and_pictures(home):
    details = home.get("/api/v1/strangers/stranger-1").json
    assert [visit["picture"] for visit in details["visits"]] == ["a.jpg", None]
    reply = home.get("/api/v1/strangers/stranger-1/pictures/a.jpg")
    assert reply.body == (home.folder / ".strangers" / "crops" / "a.jpg").read_bytes()
    assert reply.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    "path",
    [
        "stranger-1/pictures/c.jpg",
        "stranger-1/pictures/..%2Fjournal.jsonl",
        "stranger-1/pictures/..%2F..%2FCollins.jpg",
        "stranger-9",
        "Collins",
    ],
)
def test_nothing_else_is_shown(home, path):
    assert home.get(f"/api/v1/strangers/{path}").status == 404


def test_a_stranger_is_enrolled_and_past_visits_have_the_name(home):
    reply = home.post("/api/v1/strangers/stranger-1/name", {"name": "Grace Hopper"})
    assert reply.status == 200, reply.body
    assert {**reply.json, "photos": [], "undo": None} == {
        "stranger": "stranger-1",
        "person": "Grace Hopper",
        "visits": 2,
        "log": "relabelled",
        "photos": [],
        "changed": [{"from": "stranger-1", "to": "Grace Hopper", "visits": 2, "photos": 1}],
        "undo": None,
    }
    assert [photo["added"] for photo in reply.json["photos"]] == [True]
    assert (home.folder / "Grace Hopper" / "stranger-1-1.jpg").is_file()
    visits = home.get("/api/v1/visits?person=Grace%20Hopper").json["visits"]
    assert [visit["stranger"] for visit in visits] == ["stranger-1"] * 2
    assert "stranger-1" not in listed(home)
    assert home.get("/api/v1/people/Grace%20Hopper").status == 200
    (entry,) = home.audit()
    assert (entry["action"], entry["stranger"], entry["person"]) == ("name stranger", "stranger-1", "Grace Hopper")
    # It cannot be named twice.
    assert home.post("/api/v1/strangers/stranger-1/name", {"name": "Ann"}).status == 404


def test_a_log_that_a_run_is_writing_is_left_to_the_run(home):
    writing = EventLog(home.log)
    reply = home.post("/api/v1/strangers/stranger-1/name", {"name": "Grace Hopper"})
    assert (reply.status, reply.json["log"]) == (200, "run_writes")
    # Until then, those who ask see the name already.
    visits = home.get("/api/v1/visits?person=Grace%20Hopper").json["visits"]
    assert [visit["stranger"] for visit in visits] == ["stranger-1"] * 2
    writing.close()


def test_a_stranger_without_a_good_picture_is_named_once_the_person_has_a_photo(home, photos):
    damaged = home.post("/api/v1/strangers/stranger-2/name", {"name": "Max"})
    assert damaged.status == 409
    assert "stranger-2-1.jpg" in damaged.json["error"]
    assert home.post("/api/v1/strangers/stranger-3/name", {"name": "Grace"}).status == 409
    assert {"stranger-2", "stranger-3"} <= set(listed(home))
    added = home.upload("/api/v1/people/Grace/photos", {}, [("photos", "grace.jpg", photos[1][0])])
    assert added.json["photos"][0]["added"]
    named = home.post("/api/v1/strangers/stranger-3/name", {"name": "Grace"})
    assert (named.status, named.json["visits"], named.json["photos"]) == (200, 2, [])


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 51}, {"name": 5}])
def test_a_name_that_no_one_can_have_is_refused(home, body):
    assert home.post("/api/v1/strangers/stranger-1/name", body).status == 400


def test_strangers_are_merged_under_the_number_of_the_path(home):
    reply = home.post("/api/v1/strangers/stranger-2/merge", {"others": ["stranger-3"]})
    assert (reply.status, reply.json["stranger"]["visits"]) == (200, 3)
    assert set(listed(home)) == {"stranger-1", "stranger-2"}
    # An old number still finds the stranger.
    assert home.get("/api/v1/strangers/stranger-3").json["stranger"]["stranger"] == "stranger-2"
    assert home.audit()[0]["into"] == "stranger-2"
    assert home.post("/api/v1/strangers/stranger-2/merge", {"others": []}).status == 400
    assert home.post("/api/v1/strangers/stranger-2/merge", {"others": ["stranger-9"]}).status == 404


def test_a_stranger_who_is_two_people_is_split(home):
    reply = home.post("/api/v1/strangers/stranger-3/split", {})
    assert [(one["stranger"], one["visits"]) for one in reply.json["strangers"]] == [
        ("stranger-3", 1),
        ("stranger-4", 1),
    ]
    assert set(listed(home)) == {"stranger-1", "stranger-2", "stranger-3", "stranger-4"}
    assert home.audit()[0]["new"] == "stranger-4"
    assert home.post("/api/v1/strangers/stranger-3/split", {}).status == 409


def test_an_ignored_stranger_is_not_listed_until_it_is_undone(home):
    assert home.request("POST", "/api/v1/strangers/stranger-2/ignore").json["stranger"]["ignored"] is True
    assert "stranger-2" not in listed(home) and "stranger-2" in listed(home, "?all=1")
    assert home.get("/api/v1/strangers").json["ignored"] == 1
    assert home.post("/api/v1/strangers/stranger-2/ignore", {"ignored": False}).status == 200
    assert "stranger-2" in listed(home)
    assert [entry["action"] for entry in home.audit()] == ["ignore stranger", "stop ignoring stranger"]


def test_a_photo_finds_the_visits_of_its_person(home, photos):
    found = home.request("POST", "/api/v1/strangers/search", photos[1][0]).json
    assert {(one["stranger"], one["visit"]["channel"]) for one in found["visits"]} == {
        ("stranger-1", "door"),
        ("stranger-3", "door"),
    }
    assert [(one["stranger"], one["visits"]) for one in found["people"]] == [("stranger-1", 2), ("stranger-3", 1)]
    assert all(one["confidence"] > 0.99 for one in (*found["people"], *found["visits"]))
    assert found["confidence"] < 0.5, "of the nearest person, who is another one"
    assert found["compared"] == 5
    assert found["nearest"] == "Collins" and found["similarity"] < found["threshold"]
    assert home.request("POST", "/api/v1/strangers/search", b"no picture").status == 400


def test_a_photo_without_a_face_is_refused_with_the_reason(home):
    grey = cv2.imencode(".png", cv2.merge([cv2.imread(str(home.folder / "Collins.jpg"), 0)[:60, :60]] * 3))[1].tobytes()
    reply = home.request("POST", "/api/v1/strangers/search", grey)
    assert reply.status == 400
    assert str(home.folder) not in reply.json["error"]


def test_a_person_who_is_renamed_keeps_the_visits(home, photos):
    home.post("/api/v1/strangers/stranger-1/name", {"name": "Grace"})
    assert home.request("PATCH", "/api/v1/people/Grace", json.dumps({"name": "Grace Hopper"}).encode()).status == 200
    found = home.request("POST", "/api/v1/strangers/search", photos[1][0]).json
    assert "Grace Hopper" in {one["name"] for one in found["visits"]}


def test_settings_are_shown_without_secrets(settings, tmp_path):
    from app.service.api.settings import shown_settings

    secret = dataclasses.replace(
        settings,
        mqtt=dataclasses.replace(settings.mqtt, url="mqtt://ann:s3cret@broker"),
        webhook=dataclasses.replace(settings.webhook, url="https://home.example/hook?token=s3cret"),
        channels=(("door", (("detection.min_score", 0.7),)),),
    )
    shown = shown_settings(secret)
    assert "s3cret" not in str(shown)
    assert shown.settings["mqtt"]["url"] == "mqtt://ann:***@broker"
    assert shown.channels == {"door": {"detection.min_score": 0.7}}
    with serving(settings, tokens=tmp_path / "tokens.json") as client:
        assert client.get("/api/v1/settings").json["settings"]["models"]["backend"] == "onnx"
