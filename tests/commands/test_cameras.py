"""`python -m app cameras` prints addresses that can be pasted into the settings, and no password."""

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from onvif_camera import OnvifCamera
from shipped import ROOT

from app.credentials import with_secrets
from app.settings.reader import read_file

SCRIPT = Path(__file__).parent.parent / "onvif_camera.py"
NAMESPACE = ["unshare", "--net", "--map-root-user"]
CAN_SEPARATE = (
    shutil.which("unshare") is not None
    and shutil.which("ip") is not None
    and subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode == 0
)


@pytest.fixture
def camera():
    with contextlib.closing(OnvifCamera(user=("admin", "s3cret pass"))) as camera:
        yield camera


def login(tmp_path):
    (tmp_path / "word").write_text("s3cret pass", encoding="utf-8")
    return ["--user", "admin", "--password", f"file:{tmp_path / 'word'}"]


def test_what_is_printed_can_be_used_as_settings(answered, camera, tmp_path):
    code, out, err = answered("cameras", camera.service, *login(tmp_path))
    assert (code, err) == (0, "")
    assert "s3cret" not in out
    (tmp_path / "pasted.yaml").write_text(out, encoding="utf-8")
    ((name, address),) = read_file(tmp_path / "pasted.yaml").sources
    assert name == "camera-127-0-0-1"
    assert with_secrets(address, "test") == "rtsp://admin:s3cret%20pass@127.0.0.1:554/main?profile=1"
    uncommented = out.replace("#   channels", "channels").splitlines()
    (line,) = [line for line in uncommented if "substream" in line]
    assert yaml.safe_load(line)["channels"][name]["capture"]["substream"].endswith("@127.0.0.1:554/sub?profile=1")


def test_a_password_that_the_camera_puts_into_an_address_is_hidden(answered, camera, tmp_path):
    camera.stream = "rtsp://{host}/{name}?user=admin&amp;password=hunter2"
    for words in ([], ["--json"]):
        code, out, _ = answered("cameras", camera.service, *login(tmp_path), *words)
        assert code == 0 and "hunter2" not in out and "password=***" in out


def test_a_camera_that_does_not_answer_is_named_and_the_others_are_listed(answered, camera, tmp_path):
    words = [f"127.0.0.1:{camera.port}", "127.0.0.1:1", *login(tmp_path)]
    code, out, _ = answered("cameras", *words, "--json")
    first, second = map(json.loads, out.splitlines())
    assert code == 1
    assert [stream["width"] for stream in first["streams"]] == [1920, 640, 320] and first["error"] is None
    assert second["streams"] == [] and second["error"]
    code, out, _ = answered("cameras", *words)
    assert code == 1 and len(yaml.safe_load(out)["sources"]) == 1


def test_without_a_user_it_says_what_is_missing(answered, camera):
    code, out, _ = answered("cameras", camera.service)
    assert code == 1 and "--user" in out and yaml.safe_load(out) is None


@pytest.mark.parametrize(
    "words",
    [
        ["--user", "admin"],
        ["--user", "admin", "--password", "plain"],
        ["a b"],
        ["file:///etc/passwd"],
        ["--wait", "0"],
    ],
)
def test_wrong_options(answered, words):
    code, _, err = answered("cameras", *words)
    assert code == 2 and "plain" not in err


@pytest.mark.skipif(not CAN_SEPARATE, reason="needs a network namespace (unshare, ip)")
def test_cameras_are_found_by_multicast(tmp_path):
    command = [sys.executable, str(SCRIPT), "--json", "--wait", "3", *login(tmp_path)]
    (tmp_path / "word").write_text("secret", encoding="utf-8")
    done = subprocess.run(
        [*NAMESPACE, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": "tests", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    cameras = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(camera["host"], camera["name"], len(camera["streams"])) for camera in cameras] == [
        ("127.0.0.1", "Front Door", 3),
        ("127.0.0.2", "Front Door", 3),
    ], done.stderr
    assert done.returncode == 0
