"""Client packages of CompreFace and DeepStack, as they are on PyPI, against a real server.

`make test-clients` installs them into a folder of their own (clients.txt says why), and runs these tests.
"""

import uuid

import pytest

MISSING = "the client package is not here; make test-clients gets it"


@pytest.fixture
def files(photos, tmp_path):
    """Two photos of Collins and one of Hopper, as files."""
    found = []
    for name, data in (("first", photos[0][0]), ("second", photos[0][1]), ("other", photos[1][0])):
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(data)
        found.append(str(path))
    return found


def test_compreface_sdk(own, files):
    compreface = pytest.importorskip("compreface", reason=MISSING)
    first, second, other = files
    options = {"limit": 0, "det_prob_threshold": 0.8, "prediction_count": 2, "status": "true"}
    client = compreface.CompreFace("http://127.0.0.1", str(own.port), options)
    key = str(uuid.uuid4())
    recognition = client.init_face_recognition(key)
    faces, subjects = recognition.get_face_collection(), recognition.get_subjects()

    assert subjects.add("Hopper") == {"subject": "Hopper"}
    image_id = faces.add(first, "Zo\u00eb Collins")["image_id"]
    faces.add(other, "Hopper")
    assert subjects.list() == {"subjects": ["Hopper", "Zo\u00eb Collins"]}
    assert {face["subject"] for face in faces.list()["faces"]} == {"Hopper", "Zo\u00eb Collins"}

    (face,) = recognition.recognize(second)["result"]
    best, next_best = face["subjects"]
    assert (best["subject"], next_best["subject"]) == ("Zo\u00eb Collins", "Hopper")
    assert best["similarity"] > 0.8 > 0.5 > next_best["similarity"]
    assert faces.verify(second, image_id)["result"][0]["similarity"] == best["similarity"]
    assert client.init_face_detection(key).detect(second)["result"][0]["box"]["probability"] > 0.8
    (verified,) = client.init_face_verification(key).verify(first, other)["result"]
    assert verified["face_matches"][0]["similarity"] < 0.5

    assert subjects.update("Zo\u00eb Collins", "Collins") == {"updated": True}
    assert faces.delete_all("Collins") == {"deleted": 1}
    assert faces.delete(image_id)["code"] == 44
    assert subjects.delete("Hopper") == {"subject": "Hopper"}
    assert subjects.list() == {"subjects": []}


def test_deepstack_sdk(own, files):
    deepstack = pytest.importorskip("deepstack_sdk", reason=MISSING)
    first, second, other = files
    client = deepstack.Face(deepstack.ServerConfig(f"http://127.0.0.1:{own.port}"))
    for _ in range(2):
        assert client.registerFace(images=[first], userid="Collins")
    assert client.listFaces().list == ["Collins"]
    assert [face.userid for face in client.recognizeFace(second)] == ["Collins"]
    assert [face.userid for face in client.recognizeFace(other)] == ["unknown"]
    assert len(list(client.detectFace(first))) == 1
    assert client.deleteFace("Collins")
    assert client.listFaces().list == []
