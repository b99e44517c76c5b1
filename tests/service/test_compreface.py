"""The dialect of CompreFace's own API: subjects, faces, recognition, verification, and its codes of errors."""

import base64
import uuid
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from http_client import Client, serving

KEY = str(uuid.UUID(int=7))
RECOGNITION = "/api/v1/recognition"


@pytest.fixture(scope="module")
def known(served):
    """The server that knows Collins and Hopper. Without tokens, any key is taken."""
    return Client(served.port, x_api_key=KEY)


@pytest.fixture
def api(own):
    client = Client(own.port, x_api_key=KEY)
    client.gallery = own.gallery
    return client


def upload(client, path, data, filename="a.jpg", **fields):
    return client.upload(path, fields, [("file", filename, data)])


def failure(reply):
    assert set(reply.json) == {"message", "code"}
    return reply.status, reply.json["code"]


def test_everyone_gets_the_nearest_person_and_strangers_a_low_similarity(known, group):
    faces = upload(known, f"{RECOGNITION}/recognize", group).json["result"]
    assert len(faces) == 3
    by_place = sorted(faces, key=lambda face: face["box"]["x_min"])
    for face in by_place:
        assert set(face) == {"box", "subjects"}
        assert len(face["subjects"]) == 1
    collins, hopper, stranger = (face["subjects"][0] for face in by_place)
    assert (collins["subject"], hopper["subject"]) == ("Eileen Collins", "Grace Hopper")
    assert min(collins["similarity"], hopper["similarity"]) > 0.9
    assert stranger["similarity"] < 0.5


def test_several_predictions_are_different_people(known, photo):
    query = f"{RECOGNITION}/recognize?prediction_count=5&limit=1"
    (face,) = upload(known, query, photo).json["result"]
    names = [subject["subject"] for subject in face["subjects"]]
    assert names == ["Eileen Collins", "Grace Hopper"]
    similarities = [subject["similarity"] for subject in face["subjects"]]
    assert similarities == sorted(similarities, reverse=True)


def test_plugins_times_and_versions_come_if_asked_for(known, photo):
    query = f"{RECOGNITION}/recognize?face_plugins=calculator,landmarks&status=true"
    reply = upload(known, query, photo).json
    (face,) = reply["result"]
    assert len(face["embedding"]) == 128
    assert len(face["landmarks"]) == 5
    assert set(face["execution_time"]) == {"detector", "calculator", "landmarks"}
    assert set(reply["plugins_versions"]) == {"detector", "calculator", "landmarks"}
    plain = upload(known, f"{RECOGNITION}/recognize", photo).json
    assert set(plain) == {"result"}
    assert set(plain["result"][0]) == {"box", "subjects"}


def test_detection(known, group):
    reply = upload(known, "/api/v1/detection/detect?limit=2", group)
    assert [set(face) for face in reply.json["result"]] == [{"box"}, {"box"}]


def test_json_with_base64_instead_of_a_form(known, photo):
    reply = known.post(f"{RECOGNITION}/recognize", {"file": base64.b64encode(photo).decode()})
    assert reply.json["result"][0]["subjects"][0]["subject"] == "Eileen Collins"
    assert failure(known.post(f"{RECOGNITION}/recognize", {"file": "no base64!"})) == (400, 21)


def test_two_pictures_are_verified(known, photos, group):
    def verify(source, target, **fields):
        files = [("source_image", "a.jpg", source), ("target_image", "b.jpg", target)]
        return known.upload("/api/v1/verification/verify", fields, files)

    (result,) = verify(photos[0][0], group).json["result"]
    assert set(result) == {"source_image_face", "face_matches"}
    assert set(result["source_image_face"]) == {"box"}
    assert {key for face in result["face_matches"] for key in face} == {"box", "similarity"}
    (full,) = verify(photos[0][0], group, status="true").json["result"]
    assert set(full["plugins_versions"]) == {"detector"}
    assert all("execution_time" in face for face in (full["source_image_face"], *full["face_matches"]))
    matches = sorted(result["face_matches"], key=lambda face: face["box"]["x_min"])
    assert matches[0]["similarity"] > 0.9
    assert max(face["similarity"] for face in matches[1:]) < 0.5
    assert failure(verify(group, photos[0][0])) == (400, 31)
    assert failure(known.upload("/api/v1/verification/verify", {}, [("source_image", "a.jpg", photos[0][0])])) == (
        400,
        34,
    )


def test_embeddings_are_recognised_and_compared(known, photos):
    def embedding(data):
        reply = upload(known, f"{RECOGNITION}/recognize?face_plugins=calculator", data)
        return reply.json["result"][0]["embedding"]

    collins, hopper = embedding(photos[0][1]), embedding(photos[1][1])
    result = known.post(f"{RECOGNITION}/embeddings/recognize?prediction_count=2", {"embeddings": [collins, hopper]})
    assert [entry["similarities"][0]["subject"] for entry in result.json["result"]] == [
        "Eileen Collins", "Grace Hopper",
    ]  # fmt: skip
    assert [len(entry["similarities"]) for entry in result.json["result"]] == [2, 2]
    reply = known.post("/api/v1/verification/embeddings/verify", {"source": collins, "targets": [collins, hopper]})
    same, other = (entry["similarity"] for entry in reply.json["result"])
    assert other < 0.5 < same
    (image_id,) = [
        face["image_id"] for face in known.get(f"{RECOGNITION}/faces?subject=Grace%20Hopper&size=1").json["faces"]
    ]
    reply = known.post(f"{RECOGNITION}/embeddings/faces/{image_id}/verify", {"embeddings": [collins, hopper]})
    assert reply.json["result"][0]["similarity"] < 0.5 < reply.json["result"][1]["similarity"]
    for wrong in ([[1.0, 2.0]], "x", [[0.0] * 128], None, [[1e300] * 128]):
        reply = known.post(f"{RECOGNITION}/embeddings/recognize", {"embeddings": wrong})
        assert failure(reply) == (400, 26)


def test_faces_are_added_listed_shown_verified_and_deleted(api, photos):
    added = upload(api, f"{RECOGNITION}/faces?subject=Eileen", photos[0][0])
    assert added.status == 201
    image_id = added.json["image_id"]
    assert added.json == {"image_id": str(uuid.UUID(image_id)), "subject": "Eileen"}
    assert upload(api, f"{RECOGNITION}/faces?subject=Eileen", photos[0][0]).json == added.json
    assert upload(api, f"{RECOGNITION}/faces?subject=Eileen", photos[0][1]).status == 201
    listed = api.get(f"{RECOGNITION}/faces?size=1&page=1").json
    assert (listed["page_number"], listed["page_size"], listed["total_pages"], listed["total_elements"]) == (1, 1, 2, 2)
    assert len(listed["faces"]) == 1
    image = api.get(f"{RECOGNITION}/faces/{image_id}/img")
    assert image.headers["content-type"] == "application/octet-stream"
    assert cv2.imdecode(np.frombuffer(image.body, np.uint8), cv2.IMREAD_COLOR) is not None
    (face,) = upload(api, f"{RECOGNITION}/faces/{image_id}/verify", photos[0][1]).json["result"]
    assert (face["subject"], face["similarity"] > 0.9) == ("Eileen", True)
    assert api.request("DELETE", f"{RECOGNITION}/faces/{image_id}").json == added.json
    assert failure(api.request("DELETE", f"{RECOGNITION}/faces/{image_id}")) == (404, 44)
    assert failure(api.get(f"{RECOGNITION}/faces/{image_id}/img")) == (404, 44)
    (left,) = api.get(f"{RECOGNITION}/faces").json["faces"]
    assert api.post(f"{RECOGNITION}/faces/delete", [left["image_id"], "unknown"]).json == [left]
    assert api.request("DELETE", f"{RECOGNITION}/faces").json == {"deleted": 0}


def test_subjects_are_made_renamed_merged_and_deleted(api, photos):
    subjects = f"{RECOGNITION}/subjects"
    assert (api.post(subjects, {"subject": "Ann"}).status, api.get(subjects).json) == (201, {"subjects": ["Ann"]})
    assert failure(api.post(subjects, {"subject": "Ann"})) == (400, 43)
    upload(api, f"{RECOGNITION}/faces?subject=Ann", photos[0][0])
    upload(api, f"{RECOGNITION}/faces?subject=Eileen", photos[0][1])
    assert api.request("PUT", f"{subjects}/Ann", b'{"subject": "Eileen"}').json == {"updated": True}
    assert api.get(subjects).json == {"subjects": ["Eileen"]}
    assert api.get(f"{RECOGNITION}/faces?subject=Eileen").json["total_elements"] == 2
    assert api.request("DELETE", f"{subjects}/Eileen").json == {"subject": "Eileen"}
    assert failure(api.request("DELETE", f"{subjects}/Eileen")) == (404, 42)
    assert failure(api.request("PUT", f"{subjects}/Eileen", b'{"subject": "Bob"}')) == (404, 42)
    api.post(subjects, {"subject": "Bob"})
    assert api.request("DELETE", subjects).json == {"deleted": 1}
    assert list(api.gallery.iterdir()) == [] or {path.name[0] for path in api.gallery.iterdir()} == {"."}


@pytest.mark.parametrize("name", ["", " ", "x" * 51, "a/b", "a;b", "a\\b", "..", 5, None])
def test_names_that_no_one_can_have(api, name):
    reply = api.post(f"{RECOGNITION}/subjects", {"subject": name})
    assert reply.status == 400


def test_a_photo_without_one_clear_face_is_refused(api, group):
    empty = cv2.imencode(".png", np.zeros((90, 120, 3), np.uint8))[1].tobytes()
    faces = f"{RECOGNITION}/faces?subject=A"
    assert failure(upload(api, faces, group)) == (400, 31)
    assert failure(upload(api, faces, empty)) == (400, 28)
    assert failure(upload(api, faces, b"text")) == (400, 21)
    assert failure(upload(api, f"{RECOGNITION}/faces", empty)) == (400, 33)
    assert api.get(f"{RECOGNITION}/subjects").json == {"subjects": []}


def test_errors_have_compreface_s_codes(known, served, photo):
    recognize = f"{RECOGNITION}/recognize"
    empty = cv2.imencode(".png", np.zeros((90, 120, 3), np.uint8))[1].tobytes()
    assert failure(upload(served, recognize, photo)) == (400, 20)
    assert failure(upload(Client(served.port, x_api_key="secret"), recognize, photo)) == (400, 26)
    assert failure(known.upload(recognize, {})) == (400, 34)
    assert failure(upload(known, recognize, photo, filename="a.txt")) == (400, 21)
    assert failure(upload(known, recognize, empty)) == (400, 28)
    assert failure(upload(known, f"{recognize}?limit=-1", photo)) == (400, 26)
    assert failure(upload(known, f"{recognize}?prediction_count=0", photo)) == (400, 26)
    assert failure(upload(known, f"{recognize}?det_prob_threshold=2", photo)) == (400, 26)
    assert served.get("/api/v1/config").json["clientMaxFileSize"] == 32_000_000


def test_the_options_that_the_javascript_sdk_writes_after_a_subject_are_no_part_of_it(api, photos):
    added = upload(api, f"{RECOGNITION}/faces?subject=Eileen?det_prob_threshold=0.8", photos[0][0])
    assert (added.status, added.json["subject"]) == (201, "Eileen")


def test_a_photo_of_someone_else_and_one_that_is_there_already(api, photos):
    faces = f"{RECOGNITION}/faces?subject="
    first = upload(api, f"{faces}Zo%C3%AB", photos[0][0])
    again = upload(api, f"{faces}Zo%C3%AB", photos[0][0])
    assert (again.status, again.json) == (first.status, first.json) == (201, {**first.json, "subject": "Zo\u00eb"})
    assert failure(upload(api, f"{faces}Bob", photos[0][0])) == (400, 26)
    assert api.get(f"{RECOGNITION}/subjects").json == {"subjects": ["Zo\u00eb"]}


def test_enrolling_deleting_and_recognising_at_the_same_time(api, photos, group):
    """Each request gets an answer of its own, and in the end the gallery holds what the last ones left."""
    upload(api, f"{RECOGNITION}/faces?subject=Stays", photos[0][0])

    def enrol_and_delete(person):
        added = upload(api, f"{RECOGNITION}/faces?subject={person}", photos[1][0])
        deleted = api.request("DELETE", f"{RECOGNITION}/subjects/{person}")
        return added.status, deleted.status

    with ThreadPoolExecutor(4) as clients:
        changing = [clients.submit(enrol_and_delete, person) for person in ("Hopper", "Grace")]
        recognising = [clients.submit(upload, api, f"{RECOGNITION}/recognize", group) for _ in range(8)]
        assert {reply.result().status for reply in recognising} == {200}
        # The same photo of two people at once: one of them may be refused, and then there is no one to delete.
        assert {change.result() for change in changing} <= {(201, 200), (400, 404)}
    assert api.get(f"{RECOGNITION}/subjects").json == {"subjects": ["Stays"]}


def test_pictures_are_limited_as_in_compreface(photo, monkeypatch, settings, tmp_path):
    monkeypatch.setenv("MAX_FILE_SIZE", "1KB")
    with serving(settings, tokens=tmp_path / "other.json") as limited:
        client = Client(limited.port, x_api_key=KEY)
        assert client.get("/api/v1/config").json == {"clientMaxFileSize": 1024, "clientMaxBodySize": 32_000_000}
        assert failure(upload(client, f"{RECOGNITION}/recognize", photo)) == (413, 21)
