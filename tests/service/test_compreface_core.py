"""The dialect of CompreFace's core: paths, fields, order of checks and words of errors."""

import base64
import http.client
import math
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from waiting import PATIENT_S

from app.errors import SettingsError
from app.settings import Settings


def find(client, data, path="/find_faces", **fields):
    return client.upload(path, fields, [("file", "face.jpg", data)])


def message(reply):
    assert set(reply.json) == {"message"}
    return reply.status, reply.json["message"]


@pytest.mark.parametrize("path", ["/healthcheck", "/healthcheck/"])
def test_healthcheck(served, path):
    reply = served.get(path)
    assert (reply.status, reply.json) == (200, {"status": "OK"})
    assert "no-store" in reply.headers["cache-control"]


def test_status_says_what_the_caller_needs_to_compare_embeddings(served):
    # The Java client of CompreFace sends this content type, without a boundary.
    reply = served.get("/status", **{"Content-Type": "multipart/form-data"})
    assert reply.status == 200
    status = reply.json
    assert {"status", "build_version", "calculator_version", "similarity_coefficients", "available_plugins"} == set(
        status
    )
    c0, c1 = status["similarity_coefficients"]
    assert 0 < c0 < 2
    assert c1 > 0
    assert {"detector", "calculator", "landmarks", "pose"} <= set(status["available_plugins"])


def test_a_face_has_its_box_and_times_and_nothing_else(served, photo):
    (face,) = find(served, photo).json["result"]
    assert set(face) == {"box", "execution_time"}
    assert set(face["box"]) == {"x_min", "y_min", "x_max", "y_max", "probability"}
    assert all(isinstance(face["box"][side], int) for side in ("x_min", "y_min", "x_max", "y_max"))
    assert set(face["execution_time"]) == {"detector"}
    assert set(find(served, photo).json["plugins_versions"]) == {"detector"}


def test_plugins_add_their_part(served, photo):
    reply = find(served, photo, face_plugins="calculator,landmarks pose").json
    (face,) = reply["result"]
    assert len(face["embedding"]) == 128
    assert np.array(face["landmarks"]).shape == (5, 2)
    assert all(isinstance(value, int) for point in face["landmarks"] for value in point)
    assert set(face["pose"]) == {"pitch", "yaw", "roll"}
    assert set(face["execution_time"]) == {"detector", "calculator", "landmarks", "pose"}
    assert set(reply["plugins_versions"]) == {"detector", "calculator", "landmarks", "pose"}


def test_unknown_plugins_are_ignored(served, photo):
    reply = find(served, photo, face_plugins="detector,horoscope,calculator")
    assert reply.status == 200
    assert set(reply.json["plugins_versions"]) == {"detector", "calculator"}


def test_parameters_may_be_in_the_query(served, photo):
    reply = served.upload("/find_faces?face_plugins=calculator", {}, [("file", "a.jpg", photo)])
    assert "embedding" in reply.json["result"][0]


def test_faces_come_largest_first_up_to_the_limit(served, group):
    def areas(faces):
        return [
            (face["box"]["x_max"] - face["box"]["x_min"]) * (face["box"]["y_max"] - face["box"]["y_min"])
            for face in faces
        ]

    everyone = find(served, group).json["result"]
    assert len(everyone) == 3
    assert areas(everyone) == sorted(areas(everyone), reverse=True)
    assert [face["box"] for face in find(served, group, limit=2).json["result"]] == [
        face["box"] for face in everyone[:2]
    ]
    assert len(find(served, group, limit=0).json["result"]) == 3
    assert len(find(served, group, limit="").json["result"]) == 3


def test_the_same_picture_as_base64(served, photo):
    content = {"file": base64.b64encode(photo).decode()}
    reply = served.post("/find_faces_base64?face_plugins=calculator&limit=1&det_prob_threshold=0.5", content)
    plain = find(served, photo, face_plugins="calculator", det_prob_threshold=0.5)
    assert reply.json["result"][0]["box"] == plain.json["result"][0]["box"]
    assert reply.json["plugins_versions"] == plain.json["plugins_versions"]


def test_scan_faces_gives_embeddings(served, photo):
    reply = find(served, photo, "/scan_faces").json
    assert reply["calculator_version"] == "ScannerWithPlugins"
    assert len(reply["result"][0]["embedding"]) == 128


def test_the_whole_picture_can_be_the_face(served, photo, portraits):
    (face,) = find(served, photo).json["result"]
    box = face["box"]
    crop = np.ascontiguousarray(portraits[0].image)[box["y_min"] : box["y_max"], box["x_min"] : box["x_max"]]
    data = cv2.imencode(".png", crop)[1].tobytes()
    (whole,) = find(served, data, detect_faces="false", face_plugins="calculator,pose").json["result"]
    assert (whole["box"]["x_max"], whole["box"]["probability"]) == (crop.shape[1], 1.0)
    assert "embedding" in whole
    assert "pose" not in whole
    # Only this text switches the search off.
    assert find(served, data, detect_faces="False").json.get("result", [{"box": {}}])[0]["box"] != whole["box"]


def test_the_similarity_of_two_people_is_below_a_half(served, portraits):
    c0, c1 = served.get("/status").json["similarity_coefficients"]

    def embedding(portrait, flip=False):
        image = portrait.image[:, ::-1] if flip else portrait.image
        data = cv2.imencode(".jpg", np.ascontiguousarray(image))[1].tobytes()
        vector = np.array(find(served, data, face_plugins="calculator").json["result"][0]["embedding"])
        return vector / np.linalg.norm(vector)

    def similarity(a, b):
        return (math.tanh((c0 - np.linalg.norm(a - b)) * c1) + 1) / 2

    collins, hopper, stranger = map(embedding, portraits[:3])
    assert similarity(collins, embedding(portraits[0], flip=True)) > 0.9
    for a, b in ((collins, hopper), (collins, stranger), (hopper, stranger)):
        assert similarity(a, b) < 0.5


NO_FACE = (400, "400 Bad Request: No face is found in the given image")


def test_errors_come_in_compreface_s_order_and_words(served, photo):
    empty = cv2.imencode(".jpg", np.zeros((80, 80, 3), np.uint8))[1].tobytes()
    assert message(served.upload("/find_faces", {"limit": "x"})) == (400, "400 Bad Request: No file is attached")
    assert message(served.upload("/find_faces", {}, [("file", "", photo)])) == (
        400,
        "400 Bad Request: No file is selected",
    )
    assert message(find(served, b"text", det_prob_threshold=7)) == (
        400,
        "400 Bad Request: Image has incorrect format or is broken",
    )
    for threshold in ("-0.1", "1.1", "nan"):
        assert message(find(served, photo, det_prob_threshold=threshold)) == (
            400,
            "400 Bad Request: Detection threshold incorrect (0 <= det_prob_threshold <= 1)",
        )
    assert message(find(served, photo, det_prob_threshold="abc"))[0] == 500
    assert message(find(served, empty, limit="x")) == NO_FACE
    assert message(find(served, photo, limit="x")) == (400, "400 Bad Request: Limit format is invalid (limit >= 0)")
    assert message(find(served, photo, limit="-1")) == (400, "400 Bad Request: Limit value is invalid (limit >= 0)")
    for path in ("/find_faces", "/scan_faces"):
        assert message(find(served, empty, path)) == NO_FACE


def test_no_face_is_above_a_threshold_of_one(served, photo):
    assert message(find(served, photo, det_prob_threshold=1)) == NO_FACE


def test_errors_of_the_base64_endpoint(served):
    reply = served.request("POST", "/find_faces_base64", b"{}", {"Content-Type": "text/plain"})
    assert message(reply) == (500, "TypeError: 'NoneType' object is not subscriptable")
    assert message(served.post("/find_faces_base64", {})) == (500, "KeyError: 'file'")
    reply = served.request("POST", "/find_faces_base64", b"{", {"Content-Type": "application/json"})
    assert message(reply)[0] == 400
    assert message(served.post("/find_faces_base64", {"file": "a"}))[0] == 500


def test_headers_and_body_arrive_in_one_piece(served, photo):
    """ApacheBench, which CompreFace's benchmark.sh uses, looks at the first read only."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENT_S)
    connection.request("GET", "/status")
    first = connection.sock.recv(65536)
    connection.close()
    head, _, body = first.partition(b"\r\n\r\n")
    length = int(next(line.split(b":")[1] for line in head.splitlines() if line.lower().startswith(b"content-length")))
    assert len(body) == length > 0


def test_environment_variables_choose_models_and_plugins():
    from app.service.compreface_core.plugins import available_plugins, with_compreface_variables

    chosen = with_compreface_variables(
        Settings(),
        {
            "FACE_DETECTION_PLUGIN": "insightface.FaceDetector@scrfd_500m",
            "CALCULATION_PLUGIN": "insightface.Calculator@arcface_mobilefacenet",
            "EXTRA_PLUGINS": "insightface.LandmarksDetector,agegender.AgeDetector,facenet.facemask.MaskDetector",
            "IMG_LENGTH_LIMIT": "960",
        },
    )
    assert chosen.models.detector == "scrfd_500m"
    assert chosen.models.embedder == Settings().models.embedder
    assert chosen.detection.input_size == 960
    slugs = [plugin.slug for plugin in available_plugins(chosen, predicts_masks=False)]
    assert slugs == ["calculator", "landmarks", "pose", "age", "gender", "mask"]
    assert with_compreface_variables(Settings(), {}) == Settings()
    with pytest.raises(SettingsError, match="IMG_LENGTH_LIMIT"):
        with_compreface_variables(Settings(), {"IMG_LENGTH_LIMIT": "big"})


def test_age_gender_and_mask_have_compreface_s_form(tmp_path, built_in_models, photo):
    from http_client import serving

    from app.settings import AttributeSettings, GallerySettings

    (tmp_path / "gallery").mkdir()
    settings = Settings(
        models=built_in_models,
        gallery=GallerySettings(folder=tmp_path / "gallery"),
        attributes=AttributeSettings(gender_age="genderage_utk", mask="mask_drawn"),
    )
    with serving(settings, tokens=tmp_path / "tokens.json") as client:
        (face,) = find(client, photo, face_plugins="gender_age,mask").json["result"]
    assert face["gender"]["value"] == "female"
    assert 0.5 < face["gender"]["probability"] <= 1
    assert face["age"]["low"] <= face["age"]["high"]
    assert set(face["age"]) == {"low", "high", "probability"}
    assert face["mask"]["value"] == "without_mask"
    assert 0 <= face["mask"]["probability"] <= 1


def test_the_query_counts_before_the_form(served, group):
    assert len(find(served, group, "/find_faces?limit=1", limit="2").json["result"]) == 1


def test_a_form_without_its_boundary_in_the_header_is_read(served, photo):
    body = (
        b'--abc\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + photo + b"\r\n--abc--\r\n"
    )
    reply = served.request("POST", "/find_faces", body, {"Content-Type": "multipart/form-data"})
    assert len(reply.json["result"]) == 1
    assert served.request("POST", "/find_faces", b"", {"Content-Type": "multipart/form-data"}).json == {
        "message": "400 Bad Request: No file is attached"
    }


def test_the_core_is_also_where_compreface_s_web_server_has_it(served, photo):
    assert served.get("/core/status").json == served.get("/status").json
    assert len(find(served, photo, "/core/scan_faces").json["result"]) == 1


def test_sizes_of_environment_variables():
    from app.service.compreface_core.plugins import size_variable, with_compreface_variables

    sizes = {"5MB": 5 << 20, "10M": 10 << 20, "100kb": 100 << 10, "500000": 500000}
    assert {text: size_variable("MAX_FILE_SIZE", {"MAX_FILE_SIZE": text}) for text in sizes} == sizes
    assert size_variable("MAX_FILE_SIZE", {}) is None
    assert with_compreface_variables(Settings(), {"MAX_REQUEST_SIZE": "1000000"}).serve.max_body_mb == 1
    with pytest.raises(SettingsError, match="MAX_FILE_SIZE"):
        size_variable("MAX_FILE_SIZE", {"MAX_FILE_SIZE": "5 apples"})


def test_the_core_is_healthy_while_the_networks_are_busy(served, group):
    with ThreadPoolExecutor(4) as clients:
        busy = [clients.submit(find, served, group, "/scan_faces") for _ in range(12)]
        healthy = [served.get("/healthcheck") for _ in range(5)]
        assert {reply.status for reply in healthy} == {200}
        assert {len(reply.result().json["result"]) for reply in busy} == {3}
