"""The dialect of InsightFace-REST, field by field."""

import base64

import cv2
import msgpack
import numpy as np
import pytest

from app.errors import SettingsError
from app.settings import Settings

FACE_KEYS = {
    "bbox", "prob", "num_det", "scale", "size", "landmarks", "facedata",
    "vec", "norm", "gender", "age", "mask", "mask_probs",
}  # fmt: skip


def encoded(data):
    return base64.b64encode(data).decode()


def extract(client, data, **fields):
    return client.post("/extract", {"images": {"data": [encoded(item) for item in data]}, **fields})


def only_face(reply):
    (entry,) = reply.json["data"]
    (face,) = entry["faces"]
    return face


def test_a_face_has_every_key_and_null_where_nothing_was_asked_for(served, photo):
    face = only_face(extract(served, [photo]))
    assert set(face) == FACE_KEYS
    assert {key for key in FACE_KEYS if face[key] is None} == {
        "landmarks", "facedata", "gender", "age", "mask", "mask_probs",
    }  # fmt: skip
    assert np.linalg.norm(face["vec"]) == pytest.approx(1, abs=1e-3)
    assert face["norm"] > 1
    x1, _, x2, _ = face["bbox"]
    assert all(isinstance(side, int) for side in face["bbox"])
    assert face["size"] == x2 - x1


def test_landmarks_and_the_aligned_face_come_if_asked_for(served, photo):
    face = only_face(extract(served, [photo], return_landmarks=True, return_face_data=True))
    assert np.array(face["landmarks"]).shape == (5, 2)
    crop = cv2.imdecode(np.frombuffer(base64.b64decode(face["facedata"]), np.uint8), cv2.IMREAD_COLOR)
    assert crop.shape == (112, 112, 3)


def test_there_is_one_entry_per_picture_even_if_one_fails(served, photo):
    entries = served.post(
        "/extract", {"images": {"data": [encoded(photo), "no base64!", encoded(b"no picture"), encoded(photo)]}}
    ).json["data"]
    assert [entry["status"] for entry in entries] == ["ok", "failed", "failed", "ok"]
    assert [len(entry["faces"]) for entry in entries] == [1, 0, 0, 1]
    assert all(entry["traceback"] for entry in entries[1:3])
    assert "Traceback" not in entries[1]["traceback"] + entries[2]["traceback"]


def test_pictures_of_different_sizes_in_one_request_give_what_they_give_alone(served, photo, group):
    together = extract(served, [photo, group]).json["data"]
    alone = [extract(served, [data]).json["data"][0] for data in (photo, group)]
    assert [[face["bbox"] for face in entry["faces"]] for entry in together] == [
        [face["bbox"] for face in entry["faces"]] for entry in alone
    ]
    for both, one in zip(together, alone):
        for a, b in zip(both["faces"], one["faces"]):
            assert np.dot(a["vec"], b["vec"]) > 0.999


def test_a_data_url_is_a_picture(served, photo):
    reply = served.post("/extract", {"images": {"data": ["data:image/jpeg;base64," + encoded(photo)]}})
    assert len(reply.json["data"][0]["faces"]) == 1


def test_msgpack_both_ways(served, photo):
    body = msgpack.packb({"images": {"data": [photo]}})
    reply = served.request(
        "POST", "/extract", body, {"Content-Type": "application/msgpack", "Accept": "application/x-msgpack"}
    )
    assert reply.headers["content-type"] == "application/x-msgpack"
    face = msgpack.unpackb(reply.body)["data"][0]["faces"][0]
    assert len(face["vec"]) == 128


def test_a_text_for_a_yes_or_no_field_is_understood(served, photo):
    reply = extract(served, [photo], msgpack="True", extract_embedding="False")
    assert reply.headers["content-type"] == "application/x-msgpack"
    assert msgpack.unpackb(reply.body)["data"][0]["faces"][0]["vec"] is None


def test_the_threshold_of_a_request_may_be_far_below_the_usual_one(served, group):
    few, many = (
        extract(served, [group], threshold=threshold, extract_embedding=False).json["data"][0]["faces"]
        for threshold in (0.6, 0.02)
    )
    assert len(few) == 3
    assert len(many) >= 3
    assert all(face["prob"] >= 0.02 for face in many)


def test_the_largest_faces_are_kept_if_there_are_more_than_the_limit(served, group):
    everyone = extract(served, [group], extract_embedding=False).json["data"][0]["faces"]
    largest = max(everyone, key=lambda face: np.prod(np.subtract(face["bbox"][2:], face["bbox"][:2])))
    (kept,) = extract(served, [group], extract_embedding=False, limit_faces=1).json["data"][0]["faces"]
    assert kept["bbox"] == largest["bbox"]


def test_faces_narrower_than_the_minimum_are_left_out(served, group):
    sizes = sorted(face["size"] for face in extract(served, [group]).json["data"][0]["faces"])
    kept = extract(served, [group], min_face_size=sizes[1]).json["data"][0]["faces"]
    assert len(kept) in (1, 2)


def test_aligned_faces_are_embedded_without_being_searched(served, photo):
    face = only_face(extract(served, [photo], return_face_data=True))
    reply = served.post("/extract", {"images": {"data": [face["facedata"]] * 2}, "embed_only": True})
    assert reply.json["status"] == "ok"
    assert {"total_ms"} <= set(reply.json["took"])
    again = [entry["faces"][0] for entry in reply.json["data"]]
    assert len(again) == 2
    assert set(again[0]) >= FACE_KEYS
    # JPEG changes the crop a little.
    assert np.dot(again[0]["vec"], face["vec"]) > 0.95


def test_a_face_of_the_wrong_size_fails_alone(served, photo):
    crop = only_face(extract(served, [photo], return_face_data=True))["facedata"]
    reply = served.post("/extract", {"images": {"data": [encoded(photo), crop]}, "embed_only": True}).json
    assert [entry["status"] for entry in reply["data"]] == ["failed", "ok"]
    assert reply["status"] == "failed"


def test_old_clients_get_a_list_of_faces_for_each_picture(served, photo):
    reply = extract(served, [photo, b"no picture"], api_ver="1", max_size=[1280, 800]).json
    assert [len(faces) for faces in reply] == [1, 0]
    assert reply[0][0]["vec"]


def test_timings_come_if_asked_for(served, photo):
    assert set(extract(served, [photo]).json["took"]) == {"total_ms"}
    assert set(extract(served, [photo], verbose_timings=True).json["took"]) == {
        "total_ms", "read_imgs_ms", "embed_all_ms",
    }  # fmt: skip


def test_urls_win_over_data_and_are_files_below_the_folder(served, photo, people_gallery):
    reply = served.post("/extract", {"images": {"data": [encoded(photo)], "urls": []}})
    assert reply.json["data"] == []
    outside = next(people_gallery.rglob("*.jpg"))
    for url in ("/etc/passwd", "../../etc/passwd", str(outside), "http://127.0.0.1:1/a.jpg"):
        (entry,) = served.post("/extract", {"images": {"urls": [url]}}).json["data"]
        assert entry["status"] == "failed"
        assert entry["faces"] == []


@pytest.mark.parametrize(
    ("body", "place"),
    [({"images": {"data": 5}}, ["body", "images", "data"]), ({}, ["body"]), ({"images": {}, "threshold": "x"}, None)],
)
def test_a_wrong_field_is_named(served, body, place):
    reply = served.post("/extract", body)
    assert reply.status == 422
    (problem,) = reply.json["detail"]
    assert set(problem) == {"type", "loc", "msg", "input"}
    assert place is None or problem["loc"] == place


def test_a_broken_body_is_refused(served):
    assert served.request("POST", "/extract", b"{", {"Content-Type": "application/json"}).status == 422
    reply = served.request("POST", "/extract", b"\xc1", {"Content-Type": "application/msgpack"})
    assert (reply.status, reply.json) == (400, {"detail": "There was an error parsing the body"})


def test_detections_are_drawn_into_a_jpeg(served, group):
    plain = cv2.imdecode(np.frombuffer(group, np.uint8), cv2.IMREAD_COLOR)
    for reply, kind in (
        (served.post("/draw_detections", {"images": {"data": [encoded(group)]}}), "image/png"),
        (served.upload("/multipart/draw_detections", {"draw_sizes": "false"}, [("file", "a.jpg", group)]), "image/jpg"),
    ):
        assert (reply.status, reply.headers["content-type"]) == (200, kind)
        drawn = cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_COLOR)
        assert drawn.shape == plain.shape
        assert np.abs(drawn.astype(int) - plain).max() > 100


def test_a_broken_picture_is_not_drawn(served):
    assert served.post("/draw_detections", {"images": {"data": [encoded(b"x")]}}).status == 500
    assert served.upload("/multipart/draw_detections", {}, []).status == 422


def test_info_has_what_the_client_shows(served):
    info = served.get("/info").json
    assert {"inference_backend", "det_name", "rec_name", "rec_batch_size", "det_batch_size", "max_size"} <= set(
        info["models"]
    )
    assert info["models"]["det_name"] == "retinaface_mnet025"


def test_health_runs_the_networks(served):
    assert (served.get("/health").status, served.get("/health").json) == (200, {"status": "ok"})


def test_defaults_come_from_the_environment():
    from app.service.insightface_rest.messages import Defaults

    defaults = Defaults.from_environment({"DEF_DET_THRESH": "0.3", "DEF_API_VER": "1", "DEF_RETURN_LANDMARKS": "True"})
    assert (defaults.det_thresh, defaults.api_ver, defaults.return_landmarks) == (0.3, "1", True)
    headers = Defaults.from_environment({"DEF_IMG_REQ_HEADERS": '{"Authorization": "Basic eA=="}'}).img_req_headers
    assert headers == {"Authorization": "Basic eA=="}
    for wrong in ({"DEF_DET_THRESH": "high"}, {"DEF_IMG_REQ_HEADERS": "x"}, {"DEF_IMG_REQ_HEADERS": "[1]"}):
        with pytest.raises(ValueError, match="DEF_"):
            Defaults.from_environment(wrong)


def test_models_come_from_the_environment_if_they_are_in_the_catalogue(caplog):
    from app.service.insightface_rest.messages import with_insightface_variables

    asked = {"DET_NAME": "scrfd_500m", "REC_NAME": "adaface_unheard", "GA_NAME": "None", "FORCE_FP16": "True"}
    made = with_insightface_variables(Settings(), {**asked, "MASK_DETECTOR": "mask_drawn", "MAX_SIZE": "640,480"})
    assert (made.models.detector, made.models.embedder) == ("scrfd_500m", Settings().models.embedder)
    assert (made.models.precision, made.detection.input_size) == ("fp16", 640)
    assert (made.attributes.gender_age, made.attributes.mask) == (None, "mask_drawn")
    assert [record.args for record in caplog.records] == [("REC_NAME", "adaface_unheard")]
    for size in ("large", "640²"):
        with pytest.raises(SettingsError, match="MAX_SIZE"):
            with_insightface_variables(Settings(), {"MAX_SIZE": size})
    assert with_insightface_variables(Settings(), {}) == Settings()


def test_what_is_null_was_not_asked_for(served, photo):
    nothing = dict.fromkeys(
        ["threshold", "embed_only", "return_face_data", "return_landmarks", "extract_embedding", "extract_ga",
         "detect_masks", "limit_faces", "min_face_size", "verbose_timings", "msgpack", "img_req_headers", "max_size"]
    )  # fmt: skip
    assert only_face(extract(served, [photo], **nothing))["vec"]
    images = {"data": [encoded(photo)], "urls": None}
    drawn = served.post("/draw_detections", {"images": images, "draw_scores": None, "limit_faces": None})
    assert drawn.body == served.post("/draw_detections", {"images": images}).body


@pytest.mark.parametrize(("text", "shown"), [("yes", True), ("On", True), ("n", False), ("off", False), ("1", True)])
def test_a_yes_or_no_field_may_be_a_word(served, photo, text, shown):
    face = only_face(extract(served, [photo], return_landmarks=text, extract_embedding=False))
    assert (face["landmarks"] is not None) == shown


def test_the_list_form_has_the_keys_of_its_time(served, photo):
    ((face,),) = extract(served, [photo], api_ver="1", return_landmarks=True).json
    assert {"det", "prob", "bbox", "landmarks", "gender", "age", "mask_prob", "norm", "vec", "status"} <= set(face)


def test_a_picture_that_fails_has_the_reason_that_clients_know(served):
    broken = extract(served, [b"no picture"]).json["data"][0]
    assert broken["traceback"].startswith("Can't decode file, possibly not an image")
    missing = served.post("/extract", {"images": {"urls": ["missing.jpg"]}}).json["data"][0]
    assert missing["traceback"] == "File: 'missing.jpg' not found"
    crop = served.post("/extract", {"images": {"data": [encoded(b"no picture")]}, "embed_only": True}).json
    assert crop["traceback"] == crop["data"][0]["traceback"] != ""


def test_the_folder_of_pictures_comes_from_the_environment():
    from app.service.insightface_rest.messages import with_root_images
    from app.settings import Settings
    from app.settings.serve import ServeSettings

    named = with_root_images(Settings(), {"ROOT_IMAGES_DIR": "/images"})
    assert str(named.serve.root_images) == "/images"
    own = Settings(serve=ServeSettings(root_images="/own"))
    assert with_root_images(own, {"ROOT_IMAGES_DIR": "/images"}) == own
    assert with_root_images(Settings(), {}) == Settings()
