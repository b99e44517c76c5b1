"""A disk to fill."""

import shutil
import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no rights to mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
