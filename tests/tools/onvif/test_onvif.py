"""Cameras are found and asked; what they answer is not trusted."""

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onvif_camera import SOAP, OnvifCamera
from waiting import until

from app.errors import AccessDeniedError, SourceError
from app.tools.onvif.device import OnvifDevice, Stream
from app.tools.onvif.discovery import Device, at_host, discover, read_answer
from app.tools.onvif.markup import MarkupError, parse

LOGIN = ("admin", "s3<cret")


@pytest.fixture
def camera():
    with contextlib.closing(OnvifCamera(user=LOGIN)) as camera:
        yield camera


def asked(camera, login=LOGIN):
    return OnvifDevice(camera.service, login, timeout_s=20).streams()


def test_a_camera_that_is_asked_alone_is_found_at_its_own_address(camera):
    camera.given_addresses = f"https://192.0.2.7/x http://192.0.2.7:{camera.port}/onvif/device_service"
    until(lambda: discover(0.3, camera.searched.getsockname()) == [Device(camera.service, "Front Door", "X100")])


def test_streams_with_their_sizes_the_largest_first(camera):
    streams = asked(camera)
    assert streams[0] == Stream("MainStream", "rtsp://127.0.0.1:554/main?profile=1", 1920, 1080, "H264", 25)
    assert [stream.width for stream in streams] == [1920, 640, 320]
    assert LOGIN[1] not in "".join(camera.bodies)


def test_a_clock_that_is_wrong_by_days_does_not_matter():
    with contextlib.closing(OnvifCamera(user=LOGIN, clock_ahead_s=-3 * 86400)) as camera:
        assert len(asked(camera)) == 3


def test_a_wrong_and_a_missing_password_are_told_apart(camera):
    with pytest.raises(AccessDeniedError, match="refused"):
        asked(camera, ("admin", "wrong"))
    with pytest.raises(AccessDeniedError, match="--user"):
        asked(camera, None)


@pytest.mark.parametrize("challenge", ["MD5", "SHA-256", "old"])
def test_a_camera_that_takes_only_the_digest_of_http(camera, challenge):
    camera.challenge = challenge
    assert len(asked(camera)) == 3
    with pytest.raises(AccessDeniedError, match="refused"):
        asked(camera, ("admin", "wrong"))


def test_the_password_is_not_sent_to_a_camera_that_wants_it_itself(camera):
    camera.challenge = "unheard-of"
    with pytest.raises(AccessDeniedError):
        asked(camera)
    assert camera.asked == ["GetSystemDateAndTime"]


@pytest.mark.parametrize("address", ["http://192.0.2.1/", "rtsp://a b", "rtsp://a/\u2028x", "javascript:alert(1)", ""])
def test_a_stream_that_is_none_is_an_error(camera, address):
    camera.stream = address
    with pytest.raises(SourceError):
        asked(camera)


def test_user_and_password_in_the_address_of_a_stream_are_left_out(camera):
    camera.stream = "rtsp://admin:other@{host}/{name}"
    assert asked(camera)[0].address == "rtsp://127.0.0.1/main"


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>"""
FILE = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>"""


@pytest.mark.parametrize(
    "data",
    [
        LAUGHS,
        FILE,
        b"",
        b"<x>",
        b"<x/><x/>",
        b"<a>" * 100 + b"</a>" * 100,
        b"<x>" + b"<a/>" * 30_000 + b"</x>",
        b"<x>&a;</x>",
    ],
    ids=["entities", "file", "empty", "open", "two", "deep", "wide", "unknown entity"],
)
def test_what_is_no_simple_xml_is_refused(data, camera):
    with pytest.raises(MarkupError):
        parse(data)
    camera.replaced["GetProfiles"] = data
    with pytest.raises(SourceError):
        asked(camera)
    assert read_answer(data, "192.0.2.1", "urn:uuid:a") is None


def test_an_answer_without_end_is_cut_off(camera):
    camera.replaced["GetCapabilities"] = b"<x>" + b"y" * 2_000_000 + b"</x>"
    with pytest.raises(SourceError, match="larger"):
        asked(camera)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_datagram_is_survived(data):
    assert read_answer(data, "192.0.2.1", "urn:uuid:a") is None
    wrapped = SOAP.format("<s:Body><ProbeMatch><XAddrs>{}</XAddrs></ProbeMatch></s:Body>").encode()
    read_answer(wrapped.replace(b"{}", data), "192.0.2.1", "")


def test_an_answer_to_another_search_is_left_alone(camera):
    answer = camera.found("urn:uuid:a")
    assert read_answer(answer, camera.host, "urn:uuid:a") == Device(camera.service, "Front Door", "X100")
    assert read_answer(answer, camera.host, "urn:uuid:b") is None


@pytest.mark.parametrize(
    "given_address, expected",
    [
        ("http://192.0.2.9/onvif/x", "http://10.0.0.1/onvif/x"),
        ("https://a@192.0.2.9:8443", "https://10.0.0.1:8443/"),
        ("http://h/x?a=1", "http://10.0.0.1/x?a=1"),
        ("file:///etc/passwd", None),
        ("http://h:port/", None),
        ("http://h/\u00e4", None),
        ("", None),
    ],
)
def test_a_device_is_asked_where_it_answered(given_address, expected):
    assert at_host(given_address, "10.0.0.1") == expected


def test_a_device_that_says_nothing_about_its_streams(camera):
    camera.replaced["GetProfiles"] = SOAP.format("<s:Body/>").encode()
    assert asked(camera) == []
    camera.replaced["GetCapabilities"] = SOAP.format("<s:Body/>").encode()
    with pytest.raises(SourceError):
        asked(camera)


def test_sizes_that_are_no_numbers_are_unknown(camera):
    size = "<Resolution><Width>-1e9</Width></Resolution>"
    profile = f"<Profiles token='a'><VideoEncoderConfiguration>{size}</VideoEncoderConfiguration></Profiles>"
    camera.replaced["GetProfiles"] = SOAP.format(f"<s:Body>{profile}</s:Body>").encode()
    (stream,) = asked(camera)
    assert dataclasses.astuple(stream)[2:] == (0, 0, "", None)
