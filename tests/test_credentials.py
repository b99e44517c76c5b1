"""Passwords: accepted however they are typed, and never shown."""

from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.credentials import (
    credentials,
    for_opening,
    has_secret,
    masked,
    references_from,
    with_secrets,
    without_credentials,
    without_secrets,
)
from app.errors import SettingsError

PRINTABLE = st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc"))
PASSWORDS = st.text(PRINTABLE, min_size=1, max_size=20) | st.text("@:/#?%&=! ab1\"'\\", min_size=1, max_size=12)
USERS = st.text(PRINTABLE, min_size=1, max_size=12).filter(lambda user: ":" not in user)
HOSTS = st.sampled_from(["10.0.0.7", "cam.example.org:8554", "[fe80::1]:554", "localhost"])


def reads_as_host_and_port(user, password):
    """The one form that does not count as a password: `10.0.0.7:554/path@...`."""
    authority = f"{user}:{password}".replace("?", "/").replace("#", "/").partition("/")[0]
    return "@" not in authority and authority.rpartition(":")[2].isdigit()


@given(USERS, PASSWORDS, HOSTS)
def test_a_literal_password_is_decoded(user, password, host):
    assume("%" not in user + password and not reads_as_host_and_port(user, password))
    address = f"rtsp://{user}:{password}@{host}/cam?channel=1"
    assert credentials(address) == (user, password)
    opened = urlsplit(for_opening(address))
    assert (unquote(opened.username), unquote(opened.password)) == (user, password)
    assert opened.netloc.rpartition("@")[2] == host
    assert without_credentials(address) == f"rtsp://{host}/cam?channel=1"


@given(USERS, PASSWORDS, HOSTS)
def test_an_encoded_password_is_decoded(user, password, host):
    address = f"rtsp://{quote(user, safe='')}:{quote(password, safe='')}@{host}/cam"
    assert credentials(address) == (user, password)
    assert for_opening(for_opening(address)) == for_opening(address)
    assert unquote(urlsplit(for_opening(address)).password) == password


@given(USERS, PASSWORDS, PASSWORDS, HOSTS)
def test_a_masked_address_does_not_depend_on_the_password(user, one, other, host):
    assert masked(f"rtsp://{user}:{one}@{host}/cam") == masked(f"rtsp://{user}:{other}@{host}/cam")


@given(st.text("@:/#?%&=!ab1\"'\\", min_size=1, max_size=12), st.text("@:/#?%&=!ab1\"'\\", min_size=1, max_size=12))
def test_nor_does_a_masked_line_of_a_log(one, other):
    line = "cannot open rtsp://admin:{}@10.0.0.7/cam: timed out; http://b:{}@h/x too"
    assert masked(line.format(one, one)) == masked(line.format(other, other))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("rtsp://admin:p@s/w:d@10.0.0.7:554/cam", "rtsp://admin:***@10.0.0.7:554/cam"),
        ("rtsp://me@mail.org:secret@host/cam", "rtsp://me@mail.org:***@host/cam"),
        ("rtsp://:secret@host/cam", "rtsp://:***@host/cam"),
        ("rtsp://admin@host/cam", "rtsp://admin@host/cam"),
        ("rtsp://host:554/cam", "rtsp://host:554/cam"),
        ("rtsp://h/user=admin&password=abc&channel=1", "rtsp://h/user=admin&password=***&channel=1"),
        ("http://h/v.mjpg?usr=a&pwd=abc#x", "http://h/v.mjpg?usr=a&pwd=***#x"),
        ("http://h/v?psw=abc&auth=x&x=1", "http://h/v?psw=***&auth=***&x=1"),
        ("http://h/v?key=abc&session=d&p=e", "http://h/v?key=***&session=***&p=***"),
        ("http://h/monkey=1", "http://h/monkey=1"),
        ("rtsp://eyJhbGciOiJIUzI1NiJ9@host/cam", "rtsp://***@host/cam"),
        ("videos/party.mp4", "videos/party.mp4"),
        ("", ""),
    ],
)
def test_masked_addresses(address, expected):
    assert masked(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://10.0.0.7:554/live@2",
        "http://cam.example.org/list?mail=a@b.c",
        "rtsp://host/cam",
        "camera:0",
        "videos/a@b.mp4",
        "rtsp://[fe80::1]:554/live@2",
    ],
)
def test_an_at_sign_in_the_path_is_no_password(address):
    assert credentials(address) is None
    assert for_opening(address) == without_credentials(address) == address


def test_a_user_without_a_password():
    assert credentials("rtsp://admin@host:554/a") == ("admin", "")
    assert for_opening("rtsp://admin@host:554/a") == "rtsp://admin@host:554/a"


@given(USERS, PASSWORDS, st.sampled_from(["${CAM}", "${file:secret.txt}"]))
def test_a_reference_stands_for_a_password_of_any_characters(tmp_path_factory, user, password, reference):
    assume("%" not in user and "\0" not in password and password == password.strip() and "$" not in user)
    folder = tmp_path_factory.getbasetemp()
    (folder / "secret.txt").write_text(password, encoding="utf-8")
    address = references_from(folder, f"rtsp://{user}:{reference}@10.0.0.7:554/cam?key={reference}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAM", password)
        opened = for_opening(with_secrets(address, "door"))
        assert credentials(opened) == (user, password)
        assert urlsplit(opened).query == f"key={quote(password, safe='')}"
        assert urlsplit(opened).hostname == "10.0.0.7"
        assert without_secrets(f"moved to {opened}", address, "door").count("***") >= 1


def test_references_are_shown_only_as_such(monkeypatch):
    monkeypatch.setenv("CAM", "s3cret")
    address = "rtsp://admin:${CAM}@10.0.0.7/${CAM}/live"
    assert masked(address) == "rtsp://admin:***@10.0.0.7/${CAM}/live"
    assert with_secrets(address, "") == "rtsp://admin:s3cret@10.0.0.7/s3cret/live"


@pytest.mark.parametrize(
    ("reference", "said"),
    [("${MISSING}", "MISSING"), ("${file:/nowhere/secret}", "/nowhere/secret"), ("${}", "env:NAME")],
)
def test_a_reference_to_nothing_is_an_error(monkeypatch, reference, said):
    monkeypatch.delenv("MISSING", raising=False)
    with pytest.raises(SettingsError) as caught:
        with_secrets(f"rtsp://admin:{reference}@10.0.0.7/", "door")
    assert "door" in str(caught.value) and said in str(caught.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("rtsp://admin:s3cret@10.0.0.7/", True),
        ("rtsp://admin:pre${CAM}@10.0.0.7/", True),
        ("rtsp://10.0.0.7/?token=abc", True),
        ("rtsp://0123456789abcdef@10.0.0.7/", True),
        ("rtsp://admin:${CAM}@10.0.0.7/", False),
        ("postgresql://faces_device@10.0.0.7/faces", False),
        ("postgresql://faces_device:s3cret@10.0.0.7/faces", True),
        ("rtsp://admin:${file:/run/secrets/cam}@10.0.0.7/", False),
        ("rtsp://10.0.0.7/?token=${CAM}", False),
        ("rtsp://10.0.0.7/", False),
        ("camera:0", False),
        ("clip.mp4", False),
    ],
)
def test_whether_an_address_itself_has_a_secret(address, expected):
    assert has_secret(address) is expected
