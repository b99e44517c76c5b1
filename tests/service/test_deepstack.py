"""The dialect of DeepStack and CodeProject.AI."""

import json

import cv2
import numpy as np
import pytest

from app.service.tokens import add_token

VISION = "/v1/vision/face"


def post(client, path, fields=(), *pictures):
    return client.upload(
        VISION + path, fields, [(f"image{number}", "a.jpg", data) for number, data in enumerate(pictures, start=1)]
    )


def test_faces_are_boxes_with_a_confidence(served, group):
    for path in ("", "/"):
        reply = served.upload(VISION + path, {}, [("image", "a.jpg", group)])
        assert reply.status == 200
        assert reply.json["success"] is True
        assert len(reply.json["predictions"]) == 3
        for face in reply.json["predictions"]:
            assert set(face) == {"confidence", "x_min", "y_min", "x_max", "y_max"}
            assert face["x_min"] < face["x_max"]
            assert 0 < face["confidence"] <= 1


def test_people_are_recognised_and_strangers_are_unknown(served, group):
    predictions = post(served, "/recognize", {}, group).json["predictions"]
    by_place = [face["userid"] for face in sorted(predictions, key=lambda face: face["x_min"])]
    assert by_place[:2] == ["Eileen Collins", "Grace Hopper"]
    assert by_place[2] == "unknown"
    confidences = {face["userid"]: face["confidence"] for face in predictions}
    assert confidences["unknown"] == 0
    assert confidences["Grace Hopper"] > 0.67


def test_a_high_minimum_makes_everyone_unknown(served, group):
    predictions = post(served, "/recognize", {"min_confidence": "1"}, group).json["predictions"]
    assert {face["userid"] for face in predictions} == {"unknown"}


def test_a_picture_without_a_face_has_no_predictions(served):
    empty = cv2.imencode(".png", np.zeros((90, 120, 3), np.uint8))[1].tobytes()
    for path in ("", "/recognize"):
        assert post(served, path, {}, empty).json["predictions"] == []


def test_two_pictures_of_one_person_are_more_similar_than_those_of_two(served, photos):
    (a, b), (c, _) = photos[:2]
    same, other = (post(served, "/match", {}, *pair).json["similarity"] for pair in ((a, b), (a, c)))
    assert 0.5 < other < 0.67 < same <= 1


def test_registered_people_are_listed_recognised_and_deleted(own, photos, group):
    assert post(own, "/list").json["faces"] == []
    reply = post(own, "/register", {"userid": "Eileen"}, *photos[0])
    assert (reply.status, reply.json["message"]) == (200, "face added")
    assert post(own, "/list").json["faces"] == ["Eileen"]
    assert len(list((own.gallery / "Eileen").iterdir())) == 2
    predictions = post(own, "/recognize", {}, group).json["predictions"]
    assert sorted(face["userid"] for face in predictions) == ["Eileen", "unknown", "unknown"]
    assert post(own, "/delete", {"userid": "Eileen"}).json["success"] is True
    assert post(own, "/delete", {"userid": "nobody"}).json["success"] is True
    assert post(own, "/list").json["faces"] == []
    assert not (own.gallery / "Eileen").exists()


def test_registering_again_replaces_what_was_registered_but_no_other_photos(own, photos, portraits):
    folder = own.gallery / "Eileen"
    folder.mkdir()
    cv2.imwrite(str(folder / "by-hand.jpg"), np.ascontiguousarray(portraits[0].image)[:, 5:])
    post(own, "/register", {"userid": "Eileen"}, photos[0][0])
    before = {path.name for path in folder.iterdir()}
    assert len(before) == 2
    assert post(own, "/register", {"userid": "Eileen"}, photos[0][1]).json["message"] == "face updated"
    after = {path.name for path in folder.iterdir()}
    assert "by-hand.jpg" in after
    assert len(after) == 2
    assert after != before
    # The same picture once more changes nothing.
    assert post(own, "/register", {"userid": "Eileen"}, photos[0][1]).json["success"] is True
    assert {path.name for path in folder.iterdir()} == after


def test_only_the_pixels_of_an_upload_are_stored(own, photos):
    secret = b"GPS 48.137 N 11.575 E"
    data = photos[0][0]
    with_comment = data[:2] + b"\xff\xfe" + (len(secret) + 2).to_bytes(2, "big") + secret + data[2:]
    assert post(own, "/register", {"userid": "Eileen"}, with_comment).status == 200
    (stored,) = (own.gallery / "Eileen").iterdir()
    assert secret not in stored.read_bytes()


@pytest.mark.parametrize("userid", ["../evil", "a/b", ".hidden", "x" * 51, "a\\b"])
def test_a_name_cannot_leave_the_gallery(own, photos, userid):
    reply = post(own, "/register", {"userid": userid}, photos[0][0])
    assert (reply.status, reply.json["success"]) == (400, False)
    assert list(own.gallery.rglob("*.jpg")) == []
    assert not (own.gallery.parent / "evil").exists()


def test_changes_are_in_the_audit_log(own, photos):
    post(own, "/register", {"userid": "Eileen"}, photos[0][0])
    post(own, "/delete", {"userid": "Eileen"})
    added, removed = map(json.loads, own.audit_log.read_text().splitlines())
    assert (added["action"], added["person"], added["address"]) == ("add photo", "Eileen", "127.0.0.1")
    assert (removed["action"], removed["person"]) == ("remove photo", "Eileen")
    assert own.audit_log.stat().st_mode & 0o777 == 0o600


def test_errors_are_deepstack_s(own, photos):
    empty = cv2.imencode(".png", np.zeros((90, 120, 3), np.uint8))[1].tobytes()

    def error(path, fields=(), *pictures):
        reply = post(own, path, fields, *pictures)
        assert reply.json["success"] is False
        return reply.status, reply.json["error"]

    assert error("") == (400, "No valid image file found")
    assert error("/match", {}, photos[0][0]) == (400, "No valid image file found")
    assert error("/register", {}, photos[0][0]) == (400, "userid not specified")
    assert error("/register", {"userid": "A"}) == (400, "No valid image file found")
    assert error("/register", {"userid": "A"}, empty) == (400, "no face detected")
    assert error("/delete") == (400, "userid not specified")
    assert error("", {"min_confidence": "x"}, photos[0][0]) == (400, "Invalid value for min_confidence")
    assert error("", {"min_confidence": "2"}, photos[0][0]) == (400, "min_confidence cannot be greater than 1")
    assert error("", {}, b"text") == (400, "invalid image")


def test_the_key_is_a_field_of_the_form(own, photos):
    secret = add_token(own.audit_log.with_name("tokens.json"), "agent", "read")
    refused = post(own, "/list")
    assert (refused.status, refused.json["error"]) == (401, "Incorrect api key")
    assert post(own, "/list", {"api_key": secret}).status == 200
    assert post(own, "/register", {"api_key": secret, "userid": "A"}, photos[0][0]).status == 403
