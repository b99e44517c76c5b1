"""Addresses and names of sources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.capture.uri import Source, SourceKind, name_sources, parse_named, parse_source
from app.errors import SettingsError, SourceError


@pytest.mark.parametrize(
    ("address", "kind", "rest", "name"),
    [
        ("rtsp://admin:x@10.0.0.7:554/cam", SourceKind.RTSP, "rtsp://admin:x@10.0.0.7:554/cam", "10.0.0.7"),
        ("RTSPS://door.local/a", SourceKind.RTSP, "RTSPS://door.local/a", "door.local"),
        ("rtsp://[fe80::1]:554/a", SourceKind.RTSP, "rtsp://[fe80::1]:554/a", "fe80-1"),
        ("camera:2", SourceKind.CAMERA, "2", "camera2"),
        ("/dev/video3", SourceKind.CAMERA, "3", "camera3"),
        ("/dev/v4l/by-id/usb-cam", SourceKind.CAMERA, "/dev/v4l/by-id/usb-cam", "usb-cam"),
        ("csi:0", SourceKind.CSI, "0", "csi0"),
        ("images:photos/*.jpg", SourceKind.IMAGES, "photos/*.jpg", "photos"),
        ("photo.JPG", SourceKind.IMAGES, "photo.JPG", "photo"),
        ("videos/party.mp4", SourceKind.VIDEO, "videos/party.mp4", "party"),
        ("file:///videos/party.mp4", SourceKind.VIDEO, "/videos/party.mp4", "party"),
        ("https://h.org/v/clip.mp4?x=1", SourceKind.VIDEO, "https://h.org/v/clip.mp4?x=1", "clip"),
        ("http://10.0.0.9:8080/", SourceKind.VIDEO, "http://10.0.0.9:8080/", "10.0.0.9"),
    ],
)
def test_addresses(address, kind, rest, name):
    assert parse_source(address) == Source(name=name, kind=kind, address=rest)


def test_a_folder_is_pictures(tmp_path):
    source = parse_source(str(tmp_path))
    assert (source.kind, source.name) == (SourceKind.IMAGES, tmp_path.name)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("", "empty address"),
        ("camera:front", "'front'.* camera:0"),
        ("rtsp://", "missing"),
        ("csi:", "csi:0"),
        ("images:", "images:photos"),
        ("rtmp://u:secret@h/x", "rtmp://"),
        ("0", "write camera:0"),
    ],
)
def test_invalid_addresses_say_what_to_write(address, hint):
    with pytest.raises(SourceError, match=hint) as caught:
        parse_source(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("door=rtsp://h/x", ("door", "rtsp://h/x")),
        ("front door = camera:0", ("front door", "camera:0")),
        ("张伟=a.mp4", ("张伟", "a.mp4")),
        ("rtsp://h/x?a=b", (None, "rtsp://h/x?a=b")),
        ("gate=rtsp://h/x?a=b", ("gate", "rtsp://h/x?a=b")),
        ("http://h/x?a=b=c", (None, "http://h/x?a=b=c")),
        ("camera:0", (None, "camera:0")),
        ("=a.mp4", (None, "=a.mp4")),
    ],
)
def test_names(text, expected):
    assert parse_named(text) == expected


def test_an_equals_sign_in_the_name_of_a_file_is_no_separator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").touch()
    assert parse_named("a=b.mp4") == (None, "a=b.mp4")
    assert parse_named("c=b.mp4") == ("c", "b.mp4")


@given(
    st.from_regex(r"[\w-][\w .-]{0,20}[\w-]", fullmatch=True),
    st.sampled_from(["rtsp://h/x?y=z", "camera:0", "a b.mp4"]),
)
def test_every_name_is_kept(name, address):
    assert parse_named(f"{name}={address}") == (name, address)


@given(st.text(max_size=60))
def test_any_text_is_either_an_address_or_a_source_error(text):
    try:
        source = parse_source(parse_named(text)[1])
    except SourceError:
        return
    assert source.name


def test_generated_names_are_numbered_and_leave_given_ones_alone():
    sources = name_sources([(None, "a/x.mp4"), (None, "b/x.mp4"), ("x-2", "camera:0"), (None, "c/x.mp4")])
    assert [source.name for source in sources] == ["x", "x-3", "x-2", "x-4"]


def test_a_duplicate_name_is_refused_without_showing_the_password():
    with pytest.raises(SettingsError, match="'door'") as caught:
        name_sources([("door", "camera:0"), ("door", "rtsp://u:secret@h/x")])
    assert "secret" not in str(caught.value)


def test_no_form_of_a_source_shows_its_password():
    source = parse_source("rtsp://admin:s3cret@h/x?token=s3cret")
    for written in (str(source), repr(source), source.masked_address, f"{source}", "%s" % (source,)):  # noqa: UP031
        assert "s3cret" not in written
    assert str(parse_source("camera:0")) == "camera0 (camera:0)"


def test_what_is_known_to_be_live_before_it_is_open():
    live = {kind: Source("x", kind, "0").live for kind in SourceKind}
    assert live == {
        SourceKind.RTSP: True,
        SourceKind.CAMERA: True,
        SourceKind.CSI: True,
        SourceKind.VIDEO: False,
        SourceKind.IMAGES: False,
    }
