"""Bytes from outside: judged before they are decoded."""

import json
import struct
import zlib
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from app.service.http import HttpError, from_base64, parse_multipart
from app.service.pictures import BadPictureError, decode, picture_header, read_below


def png(width, height):
    """A PNG that claims this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", png(30_000, 30_000), png(40_000, 10), png(0, 5)],
    ids=["empty", "text", "svg", "bomb", "ribbon", "none"],
)
def test_what_is_not_to_be_decoded_is_refused_by_its_header(data):
    with pytest.raises(BadPictureError):
        picture_header(data, 50)


def test_a_jpeg_with_too_many_scans_is_refused(photo):
    assert picture_header(photo, 50).format == "JPEG"
    with pytest.raises(BadPictureError, match="scans"):
        picture_header(photo[:-2] + b"\xff\xda\x00\x02" * 101 + photo[-2:], 50)


def test_a_cut_off_picture_is_refused(photo):
    with pytest.raises(BadPictureError):
        decode(photo[: len(photo) // 2])


def test_files_are_read_below_the_folder_only(tmp_path):
    root = tmp_path / "images"
    (root / "inner").mkdir(parents=True)
    picture = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    (root / "inner" / "a.png").write_bytes(picture)
    (tmp_path / "secret.png").write_bytes(picture)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    for path in ("inner/a.png", "/inner/a.png", "inner/../inner/a.png"):
        assert read_below(root, path, 10_000) == picture
    for path in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "inner", "missing.png", "."):
        with pytest.raises(BadPictureError):
            read_below(root, path, 10_000)
    with pytest.raises(BadPictureError):
        read_below(root, "inner/a.png", 10)


def test_a_multipart_body_is_read_into_its_parts():
    body = (
        b'--x\r\nContent-Disposition: form-data; name="limit"\r\n\r\n3\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a b.jpg"\r\nContent-Type: image/jpeg\r\n'
        b"\r\n\x00\r\n\xff\r\n--x--\r\n"
    )
    limit, file = parse_multipart(body, "x")
    assert (limit.name, limit.data, limit.filename) == ("limit", b"3", None)
    assert (file.name, file.data, file.filename) == ("file", b"\x00\r\n\xff", "a b.jpg")


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        (b'filename="a;b.jpg"', "a;b.jpg"),
        (b'filename="a\\"b.jpg"', 'a"b.jpg'),
        (b"filename=a.jpg", "a.jpg"),
        ('filename="\u674e.jpg"'.encode(), "\u674e.jpg"),
        (b"filename*=utf-8''%E6%9D%8E.jpg", "\u674e.jpg"),
        (b"filename=x.jpg; filename*=UTF-8'en'%E6%9D%8E.jpg", "\u674e.jpg"),
        (b'filename=""', ""),
    ],
)
def test_file_names_may_be_written_in_each_way_that_clients_have(parameters, filename):
    (part,) = parse_multipart(
        b'--x\r\nContent-Disposition: form-data; name="file"; ' + parameters + b"\r\n\r\nhello\r\n--x--\r\n", "x"
    )
    assert (part.name, part.filename, part.data) == ("file", filename, b"hello")


def test_a_part_that_is_base64_is_decoded():
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\naGVs\r\nbG8=\r\n--x--\r\n"
    )
    assert parse_multipart(body, "x")[0].data == b"hello"


@pytest.mark.parametrize("body", [b"--y\r\n", b"no boundary", b"--x\r\nbroken header\r\n\r\n"])
def test_a_broken_multipart_body_is_refused(body):
    with pytest.raises(HttpError) as refused:
        parse_multipart(body, "x")
    assert refused.value.status == 400


def test_too_many_parts_are_refused():
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    with pytest.raises(HttpError, match="parts"):
        parse_multipart(part * 200 + b"--x--\r\n", "x")


def test_base64_with_line_breaks_and_data_urls():
    assert from_base64("aGVs\nbG8=") == from_base64("data:image/png;base64,aGVsbG8=") == b"hello"
    with pytest.raises(ValueError, match="base64"):
        from_base64("a*b")


@pytest.mark.parametrize("name", ["CON", "lpt1.x", "stranger-7", "people.yaml", "a/b", ".hidden", "x" * 51, " "])
def test_a_name_that_no_one_can_have_is_refused(own, photo, name):
    reply = own.upload(f"/api/v1/people/{quote(name, safe='')}/photos", files=[("photos", "a.jpg", photo)])
    assert reply.status in (400, 404), reply.body
    assert list(own.gallery.rglob("*.jpg")) == []


def test_names_are_composed_and_differ_by_more_than_capital_letters(own, photo, photos):
    composed, divided = "Jos\u00e9", "Jose\u0301"
    own.upload(f"/api/v1/people/{quote(divided)}/photos", files=[("photos", "a.jpg", photo)])
    assert [one["name"] for one in own.get("/api/v1/people").json["people"]] == [composed]
    other = [("photos", "b.jpg", photos[1][0])]
    assert own.upload("/api/v1/people/JOS%C3%89/photos", files=other).status == 400
    own.upload("/api/v1/people/Grace/photos", files=other)
    taken = own.request("PATCH", "/api/v1/people/Grace", json.dumps({"name": "jos\u00e9", "merge": True}).encode())
    assert taken.status == 400
    # A person may be written differently than before.
    renamed = own.request("PATCH", "/api/v1/people/Grace", json.dumps({"name": "GRACE"}).encode())
    assert (renamed.status, renamed.json["name"]) == (200, "GRACE")
