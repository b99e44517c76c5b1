"""A camera belongs to one run: claimed for real by other processes, which are killed."""

import contextlib
import socket
import subprocess
import sys

import pytest
from shipped import ROOT

from app.capture import claims
from app.capture.reader_process import start_reader
from app.capture.readers import ReaderDiedError
from app.capture.uri import Source, SourceKind
from app.errors import SourceError
from app.settings import CaptureSettings

HOLD = """
import sys
from app.capture.claims import {claim}

{claim}(sys.argv[1], "cam")
print("held", flush=True)
input()
"""


@pytest.fixture(params=["claim_device", "claim_name"])
def claim(request, tmp_path, monkeypatch):
    """The function, and what it claims."""
    monkeypatch.setattr(claims, "_held", {})
    device = tmp_path / "video0"
    device.touch()
    return getattr(claims, request.param), str(device) if request.param == "claim_device" else f"csi {tmp_path.name}"


def test_a_camera_of_another_run_is_refused_until_that_one_is_killed(claim):
    function, camera = claim
    code = HOLD.format(claim=function.__name__)
    other = subprocess.Popen(
        [sys.executable, "-c", code, camera], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SourceError, match=r"door .* another run"):
            function(camera, "door")
        other.kill()
        other.wait()
        function(camera, "door")
    function(camera, "door")  # a camera that is opened again


def test_a_device_that_is_gone_is_a_source_that_cannot_be_opened(tmp_path):
    """The device file of an unplugged camera stays in a container; opening it fails, as it does with a socket."""
    device = tmp_path / "video0"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(device))
        reader = start_reader(Source("cam", SourceKind.CAMERA, str(device)), CaptureSettings())
        with contextlib.closing(reader), pytest.raises(SourceError, match=r"cam .* cannot be opened") as raised:
            reader.finish_opening()
    assert not isinstance(raised.value, ReaderDiedError)
