"""A camera belongs to one run: claimed for real by other processes, which are killed."""

import subprocess
import sys

import pytest
from shipped import ROOT

from app.capture import claims
from app.errors import SourceError

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
