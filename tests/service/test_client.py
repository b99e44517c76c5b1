"""The client for scripts, against a real server: what it can do is what the own API can do."""

import cv2
import numpy as np
import pytest
from http_client import free_port

from app.client import FaceClient, ServiceError
from app.service.tokens import add_token


@pytest.fixture
def faces(own):
    with FaceClient(f"http://127.0.0.1:{own.port}") as client:
        client.gallery = own.gallery
        yield client


@pytest.fixture
def known(served):
    with FaceClient(f"http://127.0.0.1:{served.port}") as client:
        yield client


def test_everyone_in_a_picture_is_named_or_unknown_with_the_reason(known, group):
    collins, hopper, stranger = sorted(known.identify(group), key=lambda face: face["box"]["x_min"])
    assert (collins["name"], hopper["name"], stranger["name"]) == ("Eileen Collins", "Grace Hopper", None)
    assert (collins["reason"], stranger["reason"]) == ("matched", "below_threshold")
    assert stranger["similarity"] < known.version()["threshold"] < collins["similarity"]
    assert collins["confidence"] > 0.99
    assert [person["name"] for person in collins["nearest"]] == ["Eileen Collins", "Grace Hopper"]
    ids = {photo["id"] for photo in known.photos("Eileen Collins")}
    assert collins["nearest"][0]["photo"] in ids


def test_faces_are_found_and_embedded(known, group, photo):
    found = known.detect(group)
    assert len(found) == 3
    assert set(found[0]) == {"box", "score", "landmarks"}
    (embedded,) = known.embed(photo)
    assert np.linalg.norm(embedded["embedding"]) == pytest.approx(1, abs=1e-3)


def test_two_pictures_are_compared(known, photos):
    same = known.verify(*photos[0])
    assert same["same_person"] is True
    assert same["similarity"] >= same["threshold"]
    other = known.verify(photos[0][0], photos[1][0])
    assert other["same_person"] is False
    assert other["confidence"] < 0.5 < same["confidence"]


def test_photos_are_added_with_an_answer_for_each(faces, photos, tmp_path):
    empty = cv2.imencode(".png", np.zeros((90, 120, 3), np.uint8))[1].tobytes()
    path = tmp_path / 'a "quoted" name.jpg'
    path.write_bytes(photos[0][0])
    added, refused, broken, again = faces.add_photos("Ann", [path, empty, b"text", photos[0][0]])
    assert (added["filename"], added["added"], added["reason"]) == ("a %22quoted%22 name.jpg", True, "used")
    assert (refused["added"], refused["reason"], refused["photo"]) == (False, "no_face", None)
    assert (broken["added"], broken["reason"]) == (False, "unreadable")
    assert (again["added"], again["reason"]) == (False, "already_enrolled")
    assert again["photo"]["id"] == added["photo"]["id"]
    (ann,) = faces.people()
    assert (ann["name"], ann["photos"], ann["used_photos"]) == ("Ann", 1, 1)
    assert ann["best_photo"] == added["photo"]["id"]


def test_a_photo_of_someone_else_is_added_with_a_warning(faces, photos):
    faces.add_photos("Ann", photos[0][:1])
    (outcome,) = faces.add_photos("Bob", photos[0][1:])
    assert outcome["added"] is True
    assert any("Ann" in warning for warning in outcome["warnings"])


def test_people_are_renamed_merged_and_removed(faces, photos):
    faces.add_photos("Ann", photos[0][:1])
    faces.add_photos("Anna", photos[0][1:])
    with pytest.raises(ServiceError) as refused:
        faces.rename("Ann", "Anna")
    assert refused.value.status == 400
    faces.rename("Ann", "Anna", merge=True)
    assert [person["name"] for person in faces.people()] == ["Anna"]
    faces.rename("Anna", "Zoë Ö.")
    first, _ = faces.photos("Zoë Ö.")
    faces.remove_photo("Zoë Ö.", first["id"])
    assert len(faces.photos("Zoë Ö.")) == 1
    faces.remove("Zoë Ö.")
    assert faces.people() == []
    assert list(faces.gallery.rglob("*.jpg")) == []


@pytest.mark.parametrize("action", ["photos", "remove"])
def test_someone_who_is_not_enrolled_is_not_found(faces, action):
    with pytest.raises(ServiceError) as missing:
        getattr(faces, action)("Nobody")
    assert missing.value.status == 404


def test_what_is_wrong_with_a_picture_is_said(known):
    for picture in (b"", b"text"):
        with pytest.raises(ServiceError) as refused:
            known.identify(picture)
        assert refused.value.status == 400
    with pytest.raises(ServiceError, match="no-such-file"):
        known.identify("no-such-file.jpg")


def test_a_token_is_sent(own, photo):
    tokens = own.audit_log.with_name("tokens.json")
    secret = add_token(tokens, "reader", "read")
    url = f"http://127.0.0.1:{own.port}"
    with FaceClient(url) as client, pytest.raises(ServiceError) as refused:
        client.people()
    assert refused.value.status == 401
    with FaceClient(url, token=secret) as client:
        assert client.people() == []
        with pytest.raises(ServiceError) as refused:
            client.add_photos("Ann", [photo])
        assert refused.value.status == 403


def test_a_server_that_is_not_there_is_named():
    url = f"http://127.0.0.1:{free_port()}"
    with FaceClient(url) as client, pytest.raises(ServiceError) as lost:
        client.people()
    assert lost.value.status is None
    assert url in str(lost.value)
    with pytest.raises(ServiceError):
        FaceClient("127.0.0.1:8080")


def test_strangers_are_named_merged_and_given_back(home, photos):
    with FaceClient(f"http://127.0.0.1:{home.port}") as faces:
        version = {one["stranger"]: one["version"] for one in faces.strangers()}
        merged = faces.merge_strangers("stranger-1", ["stranger-3"], version["stranger-1"])
        with pytest.raises(ServiceError) as refused:
            faces.name_stranger("stranger-1", "Grace", version["stranger-1"])
        assert refused.value.status == 409
        named = faces.name_stranger("stranger-1", "Grace")
        assert [(one["from"], one["to"], one["visits"]) for one in named["changed"]] == [("stranger-1", "Grace", 4)]
        assert {one["name"] for one in faces.search(photos[1][0])["visits"]} == {"Grace"}
        assert [one["id"] for one in faces.changes()] == [named["undo"], merged["undo"]]
        for change in (named, merged):
            faces.undo(change["undo"])
        assert {one["stranger"]: one["version"] for one in faces.strangers()} == version
        assert len(faces.split_stranger("stranger-3")["strangers"]) == 2
        assert faces.ignore_stranger("stranger-3")["stranger"]["ignored"] is True
        assert "stranger-3" not in {one["stranger"] for one in faces.strangers()}
        assert faces.export("stranger-1").startswith(b"PK")
        assert faces.remove("stranger-1")["visits"] == 2


def test_a_photo_of_someone_else_is_moved(faces, photos):
    (added,) = faces.add_photos("Ann", [photos[0][0]])
    moved = faces.move_photo("Ann", added["photo"]["id"], "Bob")
    assert [person["name"] for person in faces.people()] == ["Bob"]
    faces.undo(moved["undo"])
    assert [person["name"] for person in faces.people()] == ["Ann"]
    assert faces.rename("Ann", "Anna")["changed"] == [{"from": "Ann", "to": "Anna", "visits": 0, "photos": 1}]
