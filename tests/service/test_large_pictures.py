"""A large JPEG is decoded at a part of its size where that is enough; clients cannot tell."""

import base64

import cv2
import numpy as np
import pytest

from app.service.self_test import self_test_picture


def picture(width, height, *faces):
    """The portrait on a grey wall, at (left, top, side)."""
    portrait = cv2.imdecode(np.frombuffer(self_test_picture(), np.uint8), cv2.IMREAD_COLOR)
    wall = np.full((height, width, 3), 110, np.uint8)
    for left, top, side in faces:
        wall[top : top + side, left : left + side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    return wall


def encoded(image, extension):
    return cv2.imencode(extension, image)[1].tobytes()


def extracted(client, data, **options):
    content = {
        "images": {"data": [base64.b64encode(data).decode()]},
        "threshold": 0.5,
        "return_landmarks": True,
        **options,
    }
    return client.post("/extract", content).json["data"][0]["faces"]


@pytest.mark.parametrize(
    "faces", [[(2000, 900, 1500)], [(500, 700, 700), (2600, 300, 1400)]], ids=["large", "one needs all pixels"]
)
def test_faces_of_a_large_jpeg_are_those_of_the_whole_picture(served, faces):
    image = picture(4400, 2800, *faces)
    shrunk, whole = (extracted(served, encoded(image, extension)) for extension in (".jpg", ".png"))
    assert len(shrunk) == len(whole) == len(faces)
    for found, expected in zip(shrunk, whole):
        np.testing.assert_allclose(found["bbox"], expected["bbox"], atol=12)
        np.testing.assert_allclose(found["landmarks"], expected["landmarks"], atol=12)
        assert (
            np.dot(found["vec"], expected["vec"]) > 0.9
        )  # the detector sees other pixels, so the crop is a little different
        assert found["scale"] == expected["scale"]


def test_an_upright_picture_is_described_as_it_is_shown(served):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    upright = picture(2800, 4400, (700, 1500, 1500))
    lying = encoded(cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE), ".jpg")
    turned = lying[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + lying[2:]
    (found,), (expected,) = extracted(served, turned), extracted(served, encoded(upright, ".png"))
    np.testing.assert_allclose(found["bbox"], expected["bbox"], atol=12)


def test_detection_alone_needs_no_more_pixels(served):
    image = picture(4400, 2800, (500, 700, 700))
    (found,) = extracted(served, encoded(image, ".jpg"), extract_embedding=False)
    assert found["vec"] is None and 500 < found["bbox"][0] < found["bbox"][2] < 1200
