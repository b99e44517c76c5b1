"""The Open Inference Protocol v2 of the server, as its clients speak it."""

import json

import numpy as np
import pytest

from app.models.remote import known_pictures

MODEL = "/v2/models/mobilefacenet"
CROPS = known_pictures((112, 112))
LENGTH = "Inference-Header-Content-Length"


def tensor(crops=CROPS, **more):
    return {"name": "crops", "shape": list(crops.shape), "datatype": "UINT8", **more}


def send(client, content, binary=b"", length=None):
    text = json.dumps(content).encode()
    return client.request("POST", f"{MODEL}/infer", text + binary, {LENGTH: str(length or len(text))})


def binary(crops=CROPS, **more):
    header = {"id": "7", "inputs": [tensor(crops, parameters={"binary_data_size": crops.nbytes})]}
    return {**header, "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}], **more}


def test_it_says_that_it_is_ready_and_what_it_has(served):
    assert served.get("/v2/health/live").status == served.get("/v2/health/ready").status == 200
    assert "binary_tensor_data" in served.get("/v2").json["extensions"]
    assert served.get(f"{MODEL}/ready").json["ready"] is True
    described = served.get(MODEL).json
    assert described["inputs"] == [{"name": "crops", "datatype": "UINT8", "shape": [-1, 112, 112, 3]}]
    assert described["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 128]}]


def test_tensors_in_binary_and_in_json_give_the_embeddings_as_the_network_does(served, recognizer):
    vectors, lengths = recognizer.embed_crops_with_norms(CROPS)
    expected = vectors * lengths[:, None]
    reply = send(served, binary(), CROPS.tobytes())
    length = int(reply.headers[LENGTH.lower()])
    content = json.loads(reply.body[:length])
    assert content["id"] == "7" and content["model_name"] == "mobilefacenet"
    (output,) = content["outputs"]
    assert output["shape"] == [4, 128] and output["parameters"] == {"binary_data_size": 4 * 128 * 4}
    found = np.frombuffer(reply.body[length:], "<f4").reshape(4, 128)
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-3)
    for data in (CROPS.tolist(), CROPS.ravel().tolist()):
        reply = served.post(f"{MODEL}/infer", {"inputs": [tensor(data=data)]}).json
        assert "id" not in reply and reply["outputs"][0]["shape"] == [4, 128]
        assert np.allclose(reply["outputs"][0]["data"], expected.ravel(), rtol=1e-3, atol=1e-3)


WRONG = {
    "no JSON": lambda: (b"{", b"", 1),
    "a header that is longer than the body": lambda: (binary(), b"", 9999999),
    "a header that is no number": lambda: (binary(), b"", "\u00b2"),
    "no input": lambda: ({"inputs": []}, b"", None),
    "another name": lambda: ({"inputs": [{**tensor(data=[]), "name": "input"}]}, b"", None),
    "another type": lambda: ({"inputs": [{**tensor(data=[]), "datatype": "FP32"}]}, b"", None),
    "another size": lambda: ({"inputs": [{**tensor(data=[]), "shape": [1, 64, 64, 3]}]}, b"", None),
    "no pictures": lambda: ({"inputs": [{**tensor(data=[]), "shape": [0, 112, 112, 3]}]}, b"", None),
    "a huge number of pictures": lambda: ({"inputs": [{**tensor(data=[]), "shape": [10**15, 112, 112, 3]}]}, b"", None),
    "a number of pictures that overflows": lambda: (
        {"inputs": [tensor(parameters={"binary_data_size": 0}, shape=[1 << 56, 112, 112, 3])]},
        b"",
        None,
    ),
    "a shape of words": lambda: ({"inputs": [{**tensor(data=[]), "shape": "many"}]}, b"", None),
    "too few bytes": lambda: (binary(), CROPS.tobytes()[:-1], None),
    "too many bytes": lambda: (binary(), CROPS.tobytes() + b"0", None),
    "numbers above 255": lambda: ({"inputs": [tensor(CROPS[:1], data=[256] * CROPS[0].size)]}, b"", None),
    "too few numbers": lambda: ({"inputs": [tensor(CROPS[:1], data=[1, 2])]}, b"", None),
    "words as numbers": lambda: ({"inputs": [tensor(CROPS[:1], data=["a"] * CROPS[0].size)]}, b"", None),
    "an unknown output": lambda: (binary(outputs=[{"name": "age"}]), CROPS.tobytes(), None),
    "outputs of the wrong kind": lambda: (binary(outputs=[1]), CROPS.tobytes(), None),
    "more pictures than allowed": lambda: (
        binary(np.zeros((129, 112, 112, 3), np.uint8)),
        bytes(129 * 112 * 112 * 3),
        None,
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_refused(served, case):
    content, more, length = WRONG[case]()
    reply = send(served, content, more, length) if isinstance(content, dict) else send(served, [], b"", length)
    assert reply.status == 400 and reply.json["error"]


def test_another_model_is_not_found(served):
    for path in ("/v2/models/other", "/v2/models/other/ready"):
        assert served.get(path).status == 404
    assert served.post("/v2/models/other/infer", {}).status == 404
