"""Pictures as cameras, phones and attackers make them, over HTTP."""

import base64
import io
import json
import struct
import zlib

import cv2
import numpy as np
import pytest
from http_client import serving

Image = pytest.importorskip("PIL.Image")


def saved(picture, kind, **more):
    file = io.BytesIO()
    picture.save(file, kind, **more)
    return file.getvalue()


def found(client, data):
    (entry,) = client.post("/extract", {"images": {"data": [base64.b64encode(data).decode()]}}).json["data"]
    return entry


def test_a_face_is_found_in_every_kind_of_picture(served, photo):
    picture = Image.open(io.BytesIO(photo)).convert("RGB")
    decoded = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    kinds = {
        "CMYK": saved(picture.convert("CMYK"), "JPEG", quality=95),
        "gray": saved(picture.convert("L"), "JPEG", quality=95),
        "16 bits": cv2.imencode(".png", decoded.astype(np.uint16) * 257)[1].tobytes(),
        "transparent": saved(picture.convert("RGBA"), "PNG"),
        "palette": saved(picture.quantize(256), "PNG"),
    }
    assert {kind: len(found(served, data)["faces"]) for kind, data in kinds.items()} == dict.fromkeys(kinds, 1)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_only_the_first_picture_counts_or_none(served, photo, kind):
    face = Image.open(io.BytesIO(photo)).convert("RGB")
    empty = Image.new("RGB", face.size, (90, 120, 90))
    entry = found(served, saved(face, kind, save_all=True, append_images=[empty] * 3, duration=50))
    # Versions of OpenCV that cannot read it say so.
    assert (entry["status"], len(entry["faces"])) in (("ok", 1), ("failed", 0))
    assert found(served, saved(empty, kind, save_all=True, append_images=[face] * 3, duration=50))["faces"] == []


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_png_is_not_inflated_beyond_the_size_that_it_states(served):
    """Its header states 64 x 64 pixels; its data are 300 MB of zeros, which 300 kB are enough for."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
    bomb = zlib.compress(bytes(300_000_000), 1)
    text = chunk(b"zTXt", b"Comment\0\0" + bomb)
    end = chunk(b"IDAT", bomb) + chunk(b"IEND", b"")
    before = peak_mb()
    for data in (head + end, head + text + end):
        assert found(served, b"\x89PNG\r\n\x1a\n" + data)["faces"] == []
    assert peak_mb() - before < 150


def peak_mb():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_where_a_photo_was_taken_is_not_kept(own, photo):
    picture = Image.open(io.BytesIO(photo))
    exif = Image.Exif()
    exif[0x010F], exif[0x9286] = "SecretCamera", "SecretComment"
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 11.0), 3: "E", 4: (8.0, 32.0, 33.0)})
    tagged = saved(picture, "JPEG", exif=exif, comment=b"SecretNote", quality=95) + b"<script>SecretEnd</script>"
    assert b"SecretCamera" in tagged and b"GPS" not in photo
    reply = own.upload("/api/v1/people/Ann/photos", files=[("file", "a.jpg", tagged)])
    assert reply.status in (200, 201), reply.body
    (kept,) = [path for path in own.gallery.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png")]
    assert b"Secret" not in kept.read_bytes()
    assert dict(Image.open(kept).getexif()) == {}


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deeply_nested_json_is_refused(settings, opening):
    body = (opening * 1_000_000).encode()
    with serving(settings) as client:
        for path in ("/extract", "/api/v1/tickets", "/find_faces_base64", "/api/v1/recognition/subjects"):
            for sent in (body, b'{"images": {"data": ' + body):
                headers = {"Content-Type": "application/json", "x-api-key": "00000000-0000-0000-0000-000000000000"}
                assert client.request("POST", path, sent, headers).status in (400, 422), path
        assert json.loads(client.get("/health").body)["status"] == "ok"
